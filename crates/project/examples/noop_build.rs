//! How long does a build of 1,000 assets take when nothing is stale? Prints the figures; the aim is
//! under 0.5 s. Run with `cargo run --release -p sextant-project --example noop_build [ASSETS]`.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{error::Error, fs, path::Path, sync::Arc, time::Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::{ArtifactKind, Cancel, Digest, Failure, Silent};
use sextant_lineage::{Act, OpenOptions, Store};
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, BuildOptions, Built, ConfigError,
    Project, Refresh, State, build, parse_asset_toml, recipe_digest, state,
};

struct NoteKind;

#[derive(Deserialize)]
struct NoteFile {
    inputs: Vec<AssetId>,
}

struct Note {
    id: AssetId,
    about: About,
    file: AssetFile,
    inputs: Vec<AssetId>,
}

impl AssetKind for NoteKind {
    fn noun(&self) -> &'static str {
        "note"
    }

    fn folder(&self) -> &'static str {
        "notes"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        None
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let NoteFile { inputs } = parse_asset_toml(file)?;
        let id = AssetId::of("notes", &file.stem())
            .map_err(|message| ConfigError::BadValue { place: file.place(None, None), message })?;
        Ok(vec![Arc::new(Note { id, about: About::default(), file: file.clone(), inputs })])
    }
}

impl Asset for Note {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        if self.inputs.is_empty() { "source" } else { "note" }
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file.path
    }

    fn inputs(&self) -> Vec<AssetId> {
        self.inputs.clone()
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({ "file": self.file.text })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, _: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        let body = json!({ "kind": "note", "id": self.id });
        let version = act.manifest(ArtifactKind::DocVersion, &body, &[])?;
        Ok(Built { version, meta: body, summary: String::new() })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let assets: usize = std::env::args().nth(1).map_or(Ok(1000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("sextant.toml"), "[project]\nname = \"bench\"\n")?;
    fs::create_dir(folder.path().join("notes"))?;
    for number in 0..assets {
        let earlier = |step: usize| number.checked_sub(step).map(|n| format!("\"notes/n{n}\""));
        let inputs: Vec<String> = [1, 10, 100].into_iter().filter_map(earlier).collect();
        let text = format!("inputs = [{}]\n", inputs.join(", "));
        fs::write(folder.path().join(format!("notes/n{number}.toml")), text)?;
    }
    let store = Store::open(&folder.path().join(".sextant"), OpenOptions::default())?;
    let kinds: Vec<Arc<dyn AssetKind>> = vec![Arc::new(NoteKind)];
    let run = |what: &str| -> Result<(), Failure> {
        let began = Instant::now();
        let project = Project::load(folder.path(), &kinds, None, &|_| None)?;
        let loaded = began.elapsed();
        let options = BuildOptions::default();
        let report = build(&project, &store, &options, &Silent, &Cancel::new())?;
        let total = began.elapsed();
        println!(
            "{what}: {} built, {} unchanged; load {:.1} ms, build {:.1} ms, in all {:.1} ms",
            report.built,
            report.unchanged,
            loaded.as_secs_f64() * 1e3,
            (total - loaded).as_secs_f64() * 1e3,
            total.as_secs_f64() * 1e3,
        );
        Ok(())
    };
    let fail = |failure: Failure| failure.to_string();
    run("first build ").map_err(fail)?;
    for _ in 0..5 {
        run("no-op build ").map_err(fail)?;
    }
    let project = Project::load(folder.path(), &kinds, None, &|_| None).map_err(fail)?;
    let began = Instant::now();
    let state = State::load(&store).map_err(fail)?;
    let rows = state::status(&project.graph, &state);
    println!("status of {} assets: {:.1} ms", rows.len(), began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
