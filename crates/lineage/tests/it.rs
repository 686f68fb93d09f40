//! The spine as a layer sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use serde_json::json;
use sextant_core::{ActivityKind, ArtifactKind, Digest, EdgeKind, Explain as _, Name, Timestamp};
use sextant_lineage::{Expect, LineageError, NewArtifact, OpenOptions, Outcome, Store};

fn open(dir: &std::path::Path) -> Store {
    Store::open(dir, OpenOptions::default()).unwrap()
}

fn ingest(store: &Store, body: &str) -> Digest {
    let mut act = store.begin(ActivityKind::Ingest, "sources/test");
    let digest = act.manifest(ArtifactKind::SourceBatch, &json!({ "body": body }), &[]).unwrap();
    act.commit().unwrap();
    digest
}

#[test]
fn a_committed_act_is_whole_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let name: Name = "asset/models/x@latest".parse().unwrap();
    let (source, table, id);
    {
        let store = open(folder.path());
        store.migrate("layer", &["CREATE TABLE layer_rows (n INTEGER)"]).unwrap();
        source = ingest(&store, "one");
        let mut act = store.begin(ActivityKind::Transform, "models/x");
        act.used(source);
        act.note("rows", 3);
        table = act.manifest(ArtifactKind::TableVersion, &json!({ "t": 1 }), &[source]).unwrap();
        act.execute("INSERT INTO layer_rows VALUES (?1)", vec![7.into()]);
        act.point(&name, table, Expect::Absent);
        id = act.commit().unwrap();
    }
    let store = open(folder.path());
    let reader = store.read().unwrap();
    assert_eq!(reader.name(&name).unwrap(), Some(table));
    assert_eq!(reader.used_by(&id).unwrap(), [source]);
    assert_eq!(reader.generator_of(&table).unwrap(), Some(id));
    assert_eq!(reader.query("SELECT n FROM layer_rows", &[]).unwrap()[0].int(0).unwrap(), 7);
    assert_eq!(store.blob(&table).unwrap(), br#"{"t":1}"#);
    let kinds: Vec<_> =
        reader.edges_from(&table.to_string()).unwrap().iter().map(|edge| edge.kind).collect();
    assert_eq!(kinds, [EdgeKind::DerivedFrom]);
    let report = store.fsck(false).unwrap();
    assert_eq!((report.problems.len(), report.audit_records, report.orphans), (0, 2, 0));
}

#[test]
fn outputs_without_inputs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut act = store.begin(ActivityKind::Train, "train/x");
    act.manifest(ArtifactKind::ModelVersion, &json!({}), &[]).unwrap();
    assert!(matches!(act.commit(), Err(LineageError::NoInputs { .. })));
    let mut act = store.begin(ActivityKind::Train, "train/x");
    act.used(Digest::of("nobody knows this"));
    act.manifest(ArtifactKind::ModelVersion, &json!({}), &[]).unwrap();
    assert!(matches!(act.commit(), Err(LineageError::UnknownInput { .. })));
    let reader = store.read().unwrap();
    assert!(reader.artifacts_of(ArtifactKind::ModelVersion, 9).unwrap().is_empty());
}

#[test]
fn a_refused_act_leaves_nothing_but_an_orphan_blob() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let source = ingest(&store, "one");
    let mut act = store.begin(ActivityKind::Transform, "models/x");
    act.used(source);
    let digest = act.manifest(ArtifactKind::TableVersion, &json!({ "t": 2 }), &[]).unwrap();
    act.require("SELECT 1 WHERE 1 = 2", vec![], "somebody was faster");
    let error = act.commit().unwrap_err();
    assert_eq!((error.to_string().as_str(), error.code().number), ("somebody was faster", 1008));
    assert_eq!(store.read().unwrap().artifact(&digest).unwrap(), None);
    let report = store.fsck(true).unwrap();
    assert_eq!((report.orphans, report.orphans_removed), (1, 0), "work may still be under way");
    let orphan = fs::File::options().write(true).open(store.blob_path(&digest)).unwrap();
    orphan.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.fsck(true).unwrap().orphans_removed, 1);
    assert_eq!(store.fsck(false).unwrap().orphans, 0);
}

#[test]
fn a_repair_leaves_an_orphan_that_an_act_under_way_refers_to() {
    let folder = tempfile::tempdir().unwrap();
    let digest = {
        let store = open(folder.path());
        let mut act = store.begin(ActivityKind::Ingest, "cut short");
        act.blob(b"left behind").unwrap()
    };
    let store = open(folder.path());
    let orphan = fs::File::options().write(true).open(store.blob_path(&digest)).unwrap();
    orphan.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let mut act = store.begin(ActivityKind::Ingest, "again");
    act.manifest(ArtifactKind::SourceBatch, &json!({ "again": 1 }), &[]).unwrap();
    assert_eq!(act.blob(b"left behind").unwrap(), digest);
    assert_eq!(store.fsck(true).unwrap().orphans_removed, 0);
    act.commit().unwrap();
    assert_eq!(store.blob(&digest).unwrap(), b"left behind");
    assert!(store.fsck(false).unwrap().problems.is_empty());
}

#[test]
fn pointers_move_only_from_where_they_were_seen() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let name: Name = "release/a@live".parse().unwrap();
    let (one, two) = (ingest(&store, "one"), ingest(&store, "two"));
    for (to, expect, fits) in [
        (one, Expect::Is(two), false),
        (one, Expect::Absent, true),
        (two, Expect::Absent, false),
        (two, Expect::Is(one), true),
        (one, Expect::Is(one), false),
        (one, Expect::Any, true),
    ] {
        let mut act = store.begin(ActivityKind::Deploy, "release/a");
        act.used(to);
        act.point(&name, to, expect);
        assert_eq!(act.commit().is_ok(), fits, "{expect:?}");
    }
    let history = store.read().unwrap().name_history(&name).unwrap();
    let targets: Vec<_> = history.iter().map(|change| (change.seq, change.target)).collect();
    assert_eq!(targets, [(1, one), (2, two), (3, one)]);
}

#[test]
fn concurrent_acts_share_commits_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let store = store.clone();
            std::thread::spawn(move || {
                for number in 0..20 {
                    ingest(&store, &format!("{thread}/{number}"));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let report = store.fsck(false).unwrap();
    assert_eq!((report.problems, report.artifacts, report.audit_records), (vec![], 160, 160));
}

#[test]
fn a_second_opener_and_a_newer_format_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let error = Store::open(folder.path(), OpenOptions::default()).unwrap_err();
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(store);
    fs::write(folder.path().join("FORMAT"), "sextant-data 2\n").unwrap();
    let error = Store::open(folder.path(), OpenOptions::default()).unwrap_err();
    assert!(matches!(error, LineageError::FormatTooNew { found: 2, .. }));
    fs::write(folder.path().join("FORMAT"), "something else").unwrap();
    assert!(Store::open(folder.path(), OpenOptions::default()).is_err());
}

#[test]
fn damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let digest = ingest(&store, "one");
    store.log("answers").unwrap().append([1; 16], b"answer").unwrap();
    fs::write(store.blob_path(&digest), "tampered").unwrap();
    assert!(matches!(store.blob(&digest), Err(LineageError::Corrupt { .. })));
    let mut act = store.begin(ActivityKind::Author, "attack");
    act.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 1", vec![]);
    act.execute("INSERT INTO edges VALUES ('sha256:x', 'used', 'sha256:y', 'a', 0)", vec![]);
    act.commit().unwrap();
    let parts: Vec<_> =
        store.fsck(false).unwrap().problems.into_iter().map(|problem| problem.part).collect();
    for part in ["blob", "audit", "edge"] {
        assert!(parts.iter().any(|found| found == part), "{part} not in {parts:?}");
    }
}

#[test]
fn holes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut act = store.begin(ActivityKind::Transform, "models/x");
    act.opaque("a table somebody copied by hand");
    act.artifact(NewArtifact {
        kind: ArtifactKind::TableVersion,
        digest: Digest::of("t"),
        bytes: 1,
        meta: json!({}),
        derived_from: vec![],
    });
    act.commit().unwrap();
    let holes = store.read().unwrap().holes().unwrap();
    assert_eq!((holes.len(), holes[0].used_by.as_slice()), (1, &["models/x".to_owned()][..]));
}

/// A store whose layer keeps blobs while its rows name them.
fn open_keeping(dir: &std::path::Path) -> Store {
    let store = open(dir);
    let table = "CREATE TABLE layer_kept (name TEXT PRIMARY KEY, digest TEXT, bytes INTEGER);
                 INSERT INTO blob_tables (name) VALUES ('layer_kept')";
    store.migrate("layer", &[table]).unwrap();
    store
}

fn keep(store: &Store, name: &str, pieces: &[&[u8]]) -> Digest {
    let mut incoming = store.incoming().unwrap();
    pieces.iter().for_each(|piece| incoming.write(piece).unwrap());
    let bytes = i64::try_from(incoming.bytes()).unwrap();
    let mut act = store.begin(ActivityKind::Author, "keep");
    let digest = act.keep(incoming).unwrap();
    let row = "INSERT INTO layer_kept VALUES (?1, ?2, ?3)
               ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, bytes = excluded.bytes";
    act.execute(row, vec![name.into(), digest.into(), bytes.into()]);
    act.commit().unwrap();
    digest
}

#[test]
fn kept_bytes_stay_while_a_row_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_keeping(folder.path());
    let digest = keep(&store, "a", &[b"some", b"", b"thing"]);
    assert_eq!(digest, Digest::of("something"));
    assert_eq!(keep(&store, "b", &[b"something"]), digest, "the same bytes, kept twice");
    let age = |digest: &Digest| {
        let file = fs::File::options().write(true).open(store.blob_path(digest)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    let repaired = || {
        let report = store.fsck(true).unwrap();
        assert_eq!(report.problems, []);
        (report.blobs, report.orphans_removed)
    };
    age(&digest);
    assert_eq!(repaired(), (1, 0));
    let other = keep(&store, "a", &[b"else"]);
    age(&digest);
    assert_eq!(repaired(), (2, 0), "b has it still");
    keep(&store, "b", &[b"else"]);
    age(&digest);
    assert_eq!(repaired(), (1, 1));
    assert!(matches!(store.open_blob(&digest), Err(LineageError::NotFound { .. })));
    assert_eq!(store.blob(&other).unwrap(), b"else");
    fs::write(store.blob_path(&other), "tampered").unwrap();
    assert_eq!(store.fsck(true).unwrap().problems.len(), 1);
}

#[test]
fn what_is_not_kept_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = || fs::read_dir(folder.path().join("tmp")).unwrap().count();
    let store = open_keeping(folder.path());
    let mut whole = store.incoming().unwrap();
    let parts = [b"one".as_slice(), b"two"].map(|bytes| {
        let mut part = store.incoming().unwrap();
        part.write(bytes).unwrap();
        part.put_aside()
    });
    assert_eq!((files(), parts[1].digest(), parts[1].bytes()), (3, Digest::of("two"), 3));
    parts.into_iter().for_each(|part| whole.append(part).unwrap());
    assert_eq!((files(), whole.bytes()), (1, 6));
    drop(whole);
    assert_eq!(files(), 0);
    std::mem::forget(store.incoming().unwrap());
    assert_eq!(files(), 1, "as a crash leaves it");
    drop(store);
    open(folder.path());
    assert_eq!(files(), 0);
}

#[test]
fn the_last_piece_of_a_damaged_blob_is_held_back() {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let folder = tempfile::tempdir().unwrap();
    let store = open_keeping(folder.path());
    let digest = keep(&store, "a", &[b"0123456789"]);
    let mut text = String::new();
    let mut reader = store.open_blob(&digest).unwrap();
    assert_eq!((reader.size(), reader.read_to_string(&mut text).unwrap()), (10, 10));
    let mut reader = store.open_blob(&digest).unwrap();
    reader.seek(SeekFrom::Start(7)).unwrap();
    text.clear();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "789");
    for damaged in ["0123456780", "01234", "", "0123456789x"] {
        fs::write(store.blob_path(&digest), damaged).unwrap();
        let mut reader = store.open_blob(&digest).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 4];
        let broke = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break false,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) => break error.kind() == std::io::ErrorKind::InvalidData,
            }
        };
        assert!(broke && bytes.len() < 10, "{damaged}: {bytes:?}");
    }
}

#[test]
fn an_entry_of_the_outbox_waits_until_it_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let at = Timestamp::from_micros;
    let due = |now: i64| -> Vec<(i64, u32)> {
        let waiting = open(folder.path()).read().unwrap().due("mail", at(now), 10).unwrap();
        waiting.iter().map(|one| (one.payload["n"].as_i64().unwrap(), one.attempts)).collect()
    };
    let change = |work: &dyn Fn(&mut sextant_lineage::Act)| {
        let mut act = open(folder.path()).begin(ActivityKind::Author, "post");
        work(&mut act);
        act.commit().unwrap();
    };
    change(&|act| (1..4).for_each(|n| act.emit("mail", &json!({ "n": n }))));
    assert_eq!(due(0), [(1, 0), (2, 0), (3, 0)]);
    change(&|act| {
        act.settle(1, &Outcome::Again { at: at(50) });
        act.settle(2, &Outcome::Delivered);
        act.settle(3, &Outcome::GivenUp { why: "gone".to_owned() });
    });
    assert_eq!((due(49), due(50)), (vec![], vec![(1, 1)]));
    // What is settled stays so.
    change(&|act| act.settle(2, &Outcome::Again { at: at(0) }));
    assert_eq!(due(49), []);
}
