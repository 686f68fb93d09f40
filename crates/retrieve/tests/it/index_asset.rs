//! An index as the graph sees it: read from a file, built through an act, walked by its lineage.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde_json::json;
use sextant_core::{
    ActivityKind, ArtifactKind, Cancel, Digest, EdgeKind, ExitKind, Failure, Silent,
};
use sextant_lineage::{OpenOptions, Store};
use sextant_project::{Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, InputVersion};
use sextant_retrieve::{
    ChunkRow, IndexKind, Mode, Query, SnapshotCache, TextEmbedder, chunk_digest,
    memory::{HashEmbedder, OneEmbedder, RowsInMemory},
    verify,
};

struct Home {
    folder: tempfile::TempDir,
    store: Store,
    embedder: Arc<HashEmbedder>,
    table: Digest,
    model: Digest,
    documents: Vec<Digest>,
}

const BODIES: &[&str] = &["apples grow on trees", "rollback moves the pointer", "a release pins"];

impl Home {
    /// A store in which a table, a model and three document versions exist.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".sextant"), OpenOptions::default()).unwrap();
        let mut act = store.begin(ActivityKind::Ingest, "fixture");
        let documents: Vec<Digest> = BODIES
            .iter()
            .map(|body| act.manifest(ArtifactKind::DocVersion, &json!({ "b": body }), &[]).unwrap())
            .collect();
        let table = act.manifest(ArtifactKind::TableVersion, &json!({ "t": 1 }), &[]).unwrap();
        let model = act.manifest(ArtifactKind::Checkpoint, &json!({ "m": 1 }), &[]).unwrap();
        act.commit().unwrap();
        let embedder = Arc::new(HashEmbedder::new("asset", 32));
        Self { folder, store, embedder, table, model, documents }
    }

    fn rows(&self, count: usize) -> Vec<ChunkRow> {
        let row = |(doc_version, body): (&Digest, &&str)| ChunkRow {
            chunk: chunk_digest(doc_version, 0, body.len() as u64),
            doc_version: *doc_version,
            path: format!("{}.md", doc_version.short()),
            ordinal: 0,
            heading: "H".into(),
            breadcrumb: "T > H".into(),
            body: (*body).to_owned(),
            byte_start: 0,
            byte_end: body.len() as u64,
        };
        self.documents.iter().zip(BODIES).take(count).map(row).collect()
    }

    fn load(&self, rows: Vec<ChunkRow>, text: &str) -> Result<Arc<dyn Asset>, Failure> {
        let kind = IndexKind::new(
            Arc::new(RowsInMemory(rows)),
            Arc::new(OneEmbedder(Arc::clone(&self.embedder) as Arc<dyn TextEmbedder>)),
        );
        let file = AssetFile {
            root: self.folder.path().to_owned(),
            path: PathBuf::from("indexes/manual.toml"),
            text: text.to_owned(),
        };
        Ok(Arc::clone(&kind.load(&file)?[0]))
    }

    fn build(
        &self,
        asset: &dyn Asset,
        previous: Option<&Built>,
        cancel: &Cancel,
    ) -> Result<Built, Failure> {
        let input = |name: &str, version: Digest| {
            let asset: AssetId = name.parse().unwrap();
            (asset.clone(), InputVersion { asset, version, meta: json!({}) })
        };
        let inputs: BTreeMap<_, _> =
            [input("models/sections", self.table), input("train/embedder", self.model)].into();
        let context = BuildContext {
            store: &self.store,
            root: self.folder.path(),
            asset: asset.id(),
            inputs: &inputs,
            previous: previous.map(|built| InputVersion {
                asset: asset.id().clone(),
                version: built.version,
                meta: built.meta.clone(),
            }),
            events: &Silent,
            cancel,
        };
        let mut act = self.store.begin(ActivityKind::Embed, asset.id().as_str());
        act.used(self.table);
        act.used(self.model);
        let built = asset.build(&context, &mut act)?;
        act.commit().unwrap();
        Ok(built)
    }
}

const DEFINITION: &str = "from = \"sections\"\nembedder = \"embedder\"\ntags = [\"docs\"]\n";

#[test]
fn a_build_records_chunks_embedding_and_index() {
    let home = Home::new();
    let asset = home.load(home.rows(3), DEFINITION).unwrap();
    assert_eq!(asset.id().as_str(), "indexes/manual");
    let inputs: Vec<String> = asset.inputs().into_iter().map(String::from).collect();
    assert_eq!(inputs, ["models/sections", "train/embedder"]);
    let built = home.build(&*asset, None, &Cancel::new()).unwrap();
    assert_eq!(built.meta["chunks"], 3);
    assert_eq!(built.meta["doc_versions"], 3);
    assert_eq!(built.meta["dim"], 32);
    let path = PathBuf::from(built.meta["path"].as_str().unwrap());
    assert_eq!(verify(&path).unwrap().digest, built.version);

    let reader = home.store.read().unwrap();
    let kind = |digest: &Digest| reader.artifact(digest).unwrap().unwrap().kind;
    assert_eq!(kind(&built.version), ArtifactKind::IndexSnapshot);
    let chunk = home.rows(3)[0].chunk;
    assert_eq!(kind(&chunk), ArtifactKind::Chunk);
    // Backward: index → chunk → document. Forward: document → chunk → index.
    let derived = |from: &Digest| -> Vec<String> {
        let edges = reader.edges_from(&from.to_string()).unwrap();
        let derived = edges.into_iter().filter(|edge| edge.kind == EdgeKind::DerivedFrom);
        derived.map(|edge| edge.to).collect()
    };
    assert!(derived(&built.version).contains(&chunk.to_string()));
    assert!(derived(&built.version).contains(&home.table.to_string()));
    assert_eq!(derived(&chunk), [home.documents[0].to_string()]);
    let spec: Digest = built.meta["embed_spec"].as_str().unwrap().parse().unwrap();
    assert_eq!(kind(&spec), ArtifactKind::EmbedSpec);
    assert_eq!(derived(&spec), [home.model.to_string()]);

    let open = SnapshotCache::new().get(&path).unwrap();
    let query =
        Query { text: "rollback", mode: Mode::Hybrid, k: 1, embedder: Some(&*home.embedder) };
    assert_eq!(open.search(&query).unwrap()[0].body, BODIES[1]);
}

#[test]
fn the_next_build_embeds_only_what_changed_and_a_repeated_one_nothing() {
    let home = Home::new();
    let first = home.load(home.rows(2), DEFINITION).unwrap();
    let built = home.build(&*first, None, &Cancel::new()).unwrap();
    assert_eq!(home.embedder.embedded(), 2);
    let second = home.load(home.rows(3), DEFINITION).unwrap();
    let next = home.build(&*second, Some(&built), &Cancel::new()).unwrap();
    assert_eq!(home.embedder.embedded(), 3);
    assert_ne!(next.version, built.version);
    // As after a crash between the rename and the commit: everything is found again.
    let again = home.build(&*second, Some(&built), &Cancel::new()).unwrap();
    assert_eq!((again.version, home.embedder.embedded()), (next.version, 3));
    assert_eq!(first.recipe().unwrap(), second.recipe().unwrap());
}

#[test]
fn a_cancelled_build_and_a_bad_row_leave_nothing_visible() {
    let home = Home::new();
    let asset = home.load(home.rows(3), DEFINITION).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(home.build(&*asset, None, &cancel).is_err());
    let mut rows = home.rows(3);
    rows[1].chunk = Digest::of("another");
    let error =
        home.build(&*home.load(rows, DEFINITION).unwrap(), None, &Cancel::new()).unwrap_err();
    assert_eq!(error.code().number, 5007);
    let area = home.store.area("indexes").unwrap();
    assert_eq!(std::fs::read_dir(area).unwrap().count(), 0);
}

#[test]
fn a_definition_without_an_embedder_is_text_alone_and_a_wrong_one_is_refused() {
    let home = Home::new();
    let asset = home.load(home.rows(3), "from = \"sections\"\n").unwrap();
    assert_eq!(asset.inputs().len(), 1);
    let built = home.build(&*asset, None, &Cancel::new()).unwrap();
    assert!(built.meta["embedder"].is_null());
    for bad in ["", "from = 3", "from = \"a b\"", "from = \"x\"\nembeder = \"y\""] {
        let error = home.load(Vec::new(), bad).err().unwrap();
        assert_eq!(error.code().kind, ExitKind::Usage, "{bad}: {error}");
        assert!(error.place().is_some(), "{bad}");
    }
}
