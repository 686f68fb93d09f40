//! A layer for tests: an asset is its own text followed by the texts of its inputs.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::{ActivityKind, ArtifactKind, Cancel, Digest, Event, Events, Failure};
use sextant_lineage::{Act, OpenOptions, Store};

use crate::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, BuildOptions, BuildReport, Built,
    ConfigError, Project, ProjectError, Refresh, State, build, config::BuildSettings,
    parse_asset_toml, recipe_digest, state,
};

/// What a build does besides its work.
#[derive(Clone)]
pub enum Step {
    Unavailable,
    Fail,
    Panic,
    Abort,
    WaitForCancel,
    Sleep(u64),
    Opaque,
    Raise(Cancel),
}

/// `texts/*.toml`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TextFile {
    #[serde(default)]
    text: String,
    #[serde(default)]
    inputs: Vec<AssetName>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    manual: bool,
    guards: Option<AssetName>,
    outside: Option<PathBuf>,
    /// Writes only the first word, so that most changes stop here.
    #[serde(default)]
    first_word: bool,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
struct AssetName(String);

impl AssetName {
    fn id(&self) -> AssetId {
        self.0.parse().unwrap()
    }
}

#[derive(Default)]
pub struct Script {
    steps: Mutex<BTreeMap<String, VecDeque<Step>>>,
    pub built: Mutex<Vec<String>>,
}

pub struct TextKind(Arc<Script>);

struct Text {
    id: AssetId,
    about: About,
    file: AssetFile,
    body: TextFile,
    script: Arc<Script>,
}

impl AssetKind for TextKind {
    fn noun(&self) -> &'static str {
        "text"
    }

    fn folder(&self) -> &'static str {
        "texts"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        Some(schema_for!(TextFile).to_value())
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let body: TextFile = parse_asset_toml(file)?;
        let id = AssetId::of("texts", &file.stem()).unwrap();
        let about = About { tags: body.tags.clone(), ..About::default() };
        let (file, script) = (file.clone(), self.0.clone());
        Ok(vec![Arc::new(Text { id, about, file, body, script })])
    }
}

impl Asset for Text {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        if self.body.inputs.is_empty() { "source" } else { "text" }
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file.path
    }

    fn inputs(&self) -> Vec<AssetId> {
        self.body.inputs.iter().map(AssetName::id).collect()
    }

    fn guards(&self) -> Option<AssetId> {
        self.body.guards.as_ref().map(AssetName::id)
    }

    fn refresh(&self) -> Refresh {
        if self.body.manual { Refresh::Manual } else { Refresh::Auto }
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({ "file": self.file.text })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        let Some(path) = &self.body.outside else { return Ok(None) };
        let bytes = fs::read(self.file.root.join(path)).unwrap_or_default();
        Ok(Some(Digest::of(bytes)))
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        self.script.built.lock().unwrap().push(self.id.stem().to_owned());
        let step = {
            let mut steps = self.script.steps.lock().unwrap();
            steps.get_mut(self.id.stem()).and_then(VecDeque::pop_front)
        };
        match step {
            Some(Step::Unavailable) => {
                return Err(ConfigError::SecretMissing { reference: "down".into() }.into());
            }
            Some(Step::Fail) => return Err(ProjectError::Cancelled.into()),
            Some(Step::Panic) => panic!("out of ink"),
            Some(Step::Abort) => std::process::abort(),
            Some(Step::WaitForCancel) => {
                while !context.cancel.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(2));
                }
                return Err(ProjectError::Cancelled.into());
            }
            Some(Step::Sleep(millis)) => std::thread::sleep(Duration::from_millis(millis)),
            Some(Step::Opaque) => {
                act.opaque("a letter without a sender");
            }
            Some(Step::Raise(cancel)) => cancel.cancel(),
            None => {}
        }
        let mut text = self.body.text.clone();
        if let Some(path) = &self.body.outside {
            text.push_str(&fs::read_to_string(context.root.join(path)).unwrap_or_default());
        }
        for input in self.inputs() {
            text.push_str(context.input(&input)?.meta["text"].as_str().unwrap_or_default());
        }
        if self.body.first_word {
            text = text.split(' ').next().unwrap_or_default().to_owned();
        }
        context.progress(1, Some(1), "written");
        if self.body.guards.is_some() {
            act.kind(ActivityKind::Check);
            let passed = !text.contains("bad");
            let report = json!({ "kind": "check", "text": text, "passed": passed });
            let version = act.manifest(ArtifactKind::CheckReport, &report, &[])?;
            let summary = if passed { "passed" } else { "1 row is bad" }.to_owned();
            return Ok(Built { version, meta: json!({ "passed": passed }), summary });
        }
        let body = json!({ "kind": "text", "text": text });
        let version = act.manifest(ArtifactKind::DocVersion, &body, &[])?;
        let summary = format!("{} characters", text.len());
        Ok(Built { version, meta: json!({ "text": text }), summary })
    }
}

/// A project folder with its store.
pub struct World {
    pub dir: tempfile::TempDir,
    pub script: Arc<Script>,
    pub store: Option<Store>,
    pub settings: BuildSettings,
    pub cancel: Cancel,
    pub events: Recorder,
}

#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<Event>>);

impl Events for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl World {
    /// A project with these files: `(stem, TOML)`.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self::at(dir);
        world.write("sextant.toml", "[project]\nname = \"test\"\n");
        for (stem, body) in files {
            world.asset(stem, body);
        }
        world
    }

    fn at(dir: tempfile::TempDir) -> Self {
        let settings = BuildSettings { backoff_ms: 1, ..BuildSettings::default() };
        let store = Some(open(dir.path()));
        let (script, cancel) = (Arc::default(), Cancel::new());
        Self { dir, script, store, settings, cancel, events: Recorder::default() }
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn asset(&self, stem: &str, body: &str) {
        self.write(&format!("texts/{stem}.toml"), body);
    }

    pub fn kinds(&self) -> Vec<Arc<dyn AssetKind>> {
        vec![Arc::new(TextKind(self.script.clone()))]
    }

    pub fn load(&self) -> Result<Project, Failure> {
        Project::load(self.dir.path(), &self.kinds(), None, &|_| None)
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Closes the store and opens it again.
    pub fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path()));
    }

    pub fn script(&self, stem: &str, steps: &[Step]) {
        let steps = steps.iter().cloned().collect();
        self.script.steps.lock().unwrap().insert(stem.to_owned(), steps);
    }

    pub fn try_build(&self, select: &[&str], full: bool) -> Result<BuildReport, Failure> {
        self.script.built.lock().unwrap().clear();
        let options = BuildOptions {
            select: select.iter().map(|text| (*text).to_owned()).collect(),
            exclude: Vec::new(),
            full,
            settings: self.settings.clone(),
        };
        build(&self.load()?, self.store(), &options, &self.events, &self.cancel)
    }

    pub fn build(&self) -> BuildReport {
        self.try_build(&[], false).unwrap()
    }

    /// Builds everything and compares the outcomes: `a built, b unchanged`.
    pub fn check(&self, expected: &str) -> BuildReport {
        let report = self.build();
        assert_eq!(outcomes(&report), expected);
        report
    }

    /// What the last build ran, sorted.
    pub fn ran(&self) -> String {
        let mut ran = self.script.built.lock().unwrap().clone();
        ran.sort();
        ran.join(" ")
    }

    /// One asset's state and reason.
    pub fn status(&self, stem: &str) -> String {
        let state = State::load(self.store()).unwrap();
        let list = state::status(&self.load().unwrap().graph, &state);
        let row = list.into_iter().find(|row| row.asset.stem() == stem).unwrap();
        let word = serde_json::to_value(row.state).unwrap();
        format!("{}: {}", word.as_str().unwrap(), row.why)
    }
}

fn open(dir: &Path) -> Store {
    Store::open(&dir.join(".sextant"), OpenOptions::default()).unwrap()
}

/// `a built, b unchanged`
pub fn outcomes(report: &BuildReport) -> String {
    let word =
        |asset: &crate::AssetReport| format!("{} {}", asset.asset.stem(), asset.outcome.as_str());
    report.assets.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// A world in a folder that another process made, for the test that kills one.
pub fn build_in(dir: &Path, script: Arc<Script>, store: &Store) -> BuildReport {
    let kinds: Vec<Arc<dyn AssetKind>> = vec![Arc::new(TextKind(script))];
    let project = Project::load(dir, &kinds, None, &|_| None).unwrap();
    let settings = BuildSettings { jobs: 1, ..BuildSettings::default() };
    let options = BuildOptions { settings, ..BuildOptions::default() };
    build(&project, store, &options, &Recorder::default(), &Cancel::new()).unwrap()
}

impl Script {
    pub fn with(stem: &str, step: Step) -> Arc<Self> {
        let script = Self::default();
        script.steps.lock().unwrap().insert(stem.to_owned(), VecDeque::from([step]));
        Arc::new(script)
    }
}
