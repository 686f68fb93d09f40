//! Tables in a bucket: all that holds on a disk holds there, a lost answer neither doubles nor loses a
//! commit, and a store that cannot keep writers apart is refused.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use deltalake_core::{
    ObjectMeta, Path,
    logstore::object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStore,
        PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    },
};
use futures::stream::BoxStream;
use serde_json::json;
use sextant_core::{Cancel, Explain as _};

use super::{
    Bench, in_bucket, models, open,
    tables::{self, ALL, ORDERS},
};
use crate::TablesAt;

const URL: &str = "s3://test/tables";

/// What happens to a request that makes a commit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It is done, and the answer is lost.
    Lost,
    /// It is done, the answer is lost, and the client asks again: the file is there.
    AskedAgain,
    /// It is not done.
    Failed,
    /// Another writer was first.
    Overtaken,
    /// It is done, and nobody answers anything from then on.
    Gone,
}

/// A bucket in memory that fails as it is told.
#[derive(Debug, Default)]
struct Faulty {
    store: InMemory,
    faults: Mutex<VecDeque<Fault>>,
    ignores_conditions: bool,
    is_gone: Mutex<bool>,
}

impl Faulty {
    fn next(&self, faults: &[Fault]) {
        *self.is_gone.lock().unwrap() = false;
        *self.faults.lock().unwrap() = faults.iter().copied().collect();
    }

    fn answer(&self) -> Result<()> {
        let gone = *self.is_gone.lock().unwrap();
        if gone { Err(broken("nobody answers")) } else { Ok(()) }
    }
}

fn broken(text: &'static str) -> Error {
    Error::Generic { store: "faulty", source: text.into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        self.answer()?;
        if self.ignores_conditions {
            options.mode = PutMode::Overwrite;
        }
        let is_commit = location.as_ref().contains("_delta_log/0");
        let fault = if is_commit { self.faults.lock().unwrap().pop_front() } else { None };
        match fault {
            None => return self.store.put_opts(location, payload, options).await,
            Some(Fault::Failed) => {}
            Some(Fault::Overtaken) => {
                let other = b"{\"commitInfo\":{\"operation\":\"WRITE\"}}";
                self.store.put_opts(location, PutPayload::from_static(other), options).await?;
                return Err(Error::AlreadyExists { path: location.to_string(), source: "".into() });
            }
            Some(fault) => {
                self.store.put_opts(location, payload, options).await?;
                if fault == Fault::AskedAgain {
                    let path = location.to_string();
                    return Err(Error::AlreadyExists { path, source: "asked again".into() });
                }
                *self.is_gone.lock().unwrap() = fault == Fault::Gone;
            }
        }
        Err(broken("the answer is lost"))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.answer()?;
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.answer()?;
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.answer()?;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

fn bench() -> (Bench, Arc<Faulty>) {
    let bucket = Arc::new(Faulty::default());
    let at = TablesAt::over(Arc::clone(&bucket) as _, URL.to_owned());
    (Bench::with_tables(&[], Some(at)).unwrap(), bucket)
}

#[test]
fn what_holds_on_a_disk_holds_in_a_bucket() {
    for test in [
        tables::every_statement_that_writes_does_what_it_says,
        tables::merge_inserts_updates_and_deletes_by_key,
        tables::replace_where_takes_only_rows_that_fit,
        tables::older_versions_are_read_by_number_tag_time_and_digest,
        tables::changes_between_versions_are_read,
        tables::a_commit_that_a_crash_left_is_adopted_with_what_it_read,
        tables::gc_removes_only_what_nobody_holds,
        tables::gc_leaves_a_table_of_an_asset_readable,
        tables::thirty_two_writers_lose_nothing,
        tables::a_model_reads_a_table_of_ones_own_and_is_made_again_when_it_changes,
        tables::tables_of_a_tag_are_restored_together_also_after_a_crash,
        models::the_same_rows_have_the_same_id_and_stop_the_build,
        models::an_empty_table_is_a_table,
    ] {
        in_bucket(test);
    }
}

#[test]
fn nothing_of_a_table_is_on_the_disk_and_damage_in_the_bucket_is_seen() {
    let bucket = Arc::new(InMemory::new());
    let at = TablesAt::over(Arc::clone(&bucket) as _, URL.to_owned());
    let bench = Bench::with_tables(&[], Some(at)).unwrap();
    bench.sql(ORDERS);
    assert!(!bench.root().join(".sextant/tables").exists());
    let meta = bench.engine.latest_tables().unwrap().remove(0).meta;
    assert_eq!(meta.path, "s3://test/tables/tables-orders");
    assert!(bench.engine.verify(&meta).unwrap());
    let files = bench.engine.clone();
    let asset = meta.asset.clone();
    bench
        .engine
        .block(None, async move {
            let name = files.home().data_files(&asset).await?.remove(0).name;
            let path = Path::from(format!("tables/tables-orders/{name}"));
            bucket.put_opts(&path, "PAR1".into(), PutOptions::default()).await.unwrap();
            Ok(())
        })
        .unwrap();
    assert!(!bench.engine.verify(&meta).unwrap());
}

#[test]
fn a_lost_answer_neither_doubles_nor_loses_a_commit() {
    let (bench, bucket) = bench();
    bench.sql(ORDERS);
    let mut rows = 3;
    for (id, faults) in [
        &[Fault::Lost][..],
        &[Fault::AskedAgain],
        &[Fault::Failed],
        &[Fault::Failed, Fault::Failed, Fault::Lost],
        &[Fault::Failed, Fault::AskedAgain],
    ]
    .into_iter()
    .enumerate()
    {
        bucket.next(faults);
        bench.sql(&format!("insert into orders values ({}, 'w', 0.0)", 100 + id));
        rows += 1;
        let found = bench.rows("select count(*), count(distinct id) from orders");
        assert_eq!(found, json!([[rows, rows]]), "{faults:?}");
        let (_, history) = bench.engine.history("orders", 100).unwrap();
        assert_eq!(history.len(), rows - 2, "{faults:?}");
    }
    // A commit of somebody else is not taken for ours.
    bucket.next(&[Fault::Overtaken]);
    bench.sql("insert into orders values (999, 'w', 0.0)");
    let (_, history) = bench.engine.history("orders", 100).unwrap();
    assert_eq!((history[0].action.as_str(), history[1].action.as_str()), ("insert into", "write"));
    assert_eq!(bench.rows("select count(*) from orders where id = 999"), json!([[1]]));
}

#[test]
fn a_commit_that_nobody_confirmed_is_there_once_when_the_store_is_back() {
    let (bench, bucket) = bench();
    bench.sql(ORDERS);
    bucket.next(&[Fault::Gone]);
    let (code, message) = bench.refuses("insert into orders values (4, 'oil', 7.5)");
    assert_eq!(code, 3009, "{message}");
    bucket.next(&[]);
    assert_eq!(bench.rows("select count(*) from orders"), json!([[3]]), "no act, not visible");
    bench.sql("insert into orders values (5, 'flour', 1.5)");
    assert_eq!(
        bench.rows("select id, count(*) from orders where id > 3 group by id order by id"),
        json!([[4, 1], [5, 1]])
    );
}

#[test]
fn a_store_that_writes_over_files_is_refused_unless_one_writer_is_all_there_is() {
    let bucket = Faulty { ignores_conditions: true, ..Faulty::default() };
    let mut at = TablesAt::over(Arc::new(bucket), URL.to_owned());
    let refused = Bench::with_tables(&[], Some(at.clone())).err().unwrap();
    assert_eq!(refused.code().number, 3072, "{refused}");
    at.single_writer = true;
    let bench = Bench::with_tables(&[], Some(at)).unwrap();
    bench.sql(ORDERS);
    std::thread::scope(|scope| {
        for id in 10..18 {
            let bench = &bench;
            scope.spawn(move || bench.sql(&format!("insert into orders values ({id}, 'w', 0.0)")));
        }
    });
    assert_eq!(bench.rows("select count(*) from orders"), json!([[11]]));
    assert!(!bench.engine.tables_place().1);
}

#[test]
fn tables_have_one_place_and_a_place_has_one_data_folder() {
    fn code<T>(outcome: std::result::Result<T, crate::DataError>) -> Option<u16> {
        outcome.err().map(|error| error.code().number)
    }
    let bucket = Arc::new(InMemory::new());
    let at = |url: &str| TablesAt::over(Arc::clone(&bucket) as _, url.to_owned());
    let bench = Bench::with_tables(&[], Some(at(URL))).unwrap();
    // Without a table there is nothing that could be left behind.
    assert_eq!(code(open(&bench.store, None)), None);
    assert_eq!(code(open(&bench.store, Some(at("s3://test/other")))), None);
    bench
        .again()
        .sql(ORDERS, &crate::SqlOptions { limit: 1, files: None }, &Cancel::new())
        .unwrap();
    assert_eq!(code(open(&bench.store, None)), Some(3073));
    assert_eq!(code(open(&bench.store, Some(at("s3://test/other")))), Some(3073));
    assert_eq!(code(open(&bench.store, Some(at(URL)))), None);
    assert_eq!(code(Bench::with_tables(&[], Some(at(URL)))), Some(3074));
    assert_eq!(code(Bench::with_tables(&[], Some(at("s3://test/tables/below")))), None);

    let local = Bench::orders();
    assert_eq!(code(open(&local.store, Some(at("s3://test/third")))), Some(3073));
    assert_eq!(tables_of(&local), [[json!(1), json!("tea"), json!(2.5)]]);
}

fn tables_of(bench: &Bench) -> Vec<Vec<serde_json::Value>> {
    bench.query(&ALL.replace("order by", "where id = 1 order by"))
}
