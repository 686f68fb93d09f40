//! Who looks after the sources in which records arrive? Requests find their source here, and the
//! operations on quarantine pass through.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde_json::{Value, json};
use sextant_core::{Cancel, Events, Failure};
use sextant_ingest::{PushBody, PushReply, Source, SourceKind};
use sextant_project::{
    Project,
    config::{process_environment, read_project_file},
};

use crate::{
    App, AppError,
    landing::{Recorded, Trouble},
};

/// The sources as their files were when they were last read.
pub(crate) struct Arrivals {
    kind: SourceKind,
    known: Mutex<Known>,
    /// The last trouble of each source, since this process began.
    troubles: Mutex<BTreeMap<String, Trouble>>,
}

#[derive(Default)]
struct Known {
    folder: Option<Stamp>,
    sources: BTreeMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    path: PathBuf,
    stamp: Option<Stamp>,
    source: Source,
}

/// Changes when a file is written or replaced.
pub(crate) type Stamp = (SystemTime, u64);

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

impl Arrivals {
    pub(crate) fn new(kind: SourceKind) -> Self {
        Self { kind, known: Mutex::default(), troubles: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sources by name, each with the stamp of its file.
    pub(crate) fn stamped(&self) -> BTreeMap<String, (Option<Stamp>, Source)> {
        let entry =
            |(name, entry): (&String, &Entry)| (name.clone(), (entry.stamp, entry.source.clone()));
        self.known().sources.iter().map(entry).collect()
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last time that this source could not be landed.
    pub(crate) fn trouble(&self, name: &str) -> Option<Trouble> {
        self.troubles().get(name).cloned()
    }

    /// A source could not be landed.
    pub(crate) fn troubled(&self, name: &str, trouble: Trouble) {
        self.troubles().insert(name.to_owned(), trouble);
    }

    /// A source was landed.
    pub(crate) fn well(&self, name: &str) {
        if let Some(trouble) = self.troubles().get_mut(name) {
            trouble.over = true;
        }
    }

    /// Figures of each source that is pushed to.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point by convention")]
    pub(crate) fn metrics(&self, gauge: &mut dyn FnMut(&str, &str, f64)) {
        let sources: Vec<(String, Source)> = self
            .known()
            .sources
            .iter()
            .map(|(name, entry)| (name.clone(), entry.source.clone()))
            .collect();
        let waiting = sources.into_iter().filter_map(|(name, source)| {
            source.push()?;
            Some((name, source.waiting().ok()?))
        });
        let waiting: Vec<_> = waiting.collect();
        let mut each =
            |metric: &str, help: &str, value: &dyn Fn(&sextant_ingest::Waiting) -> f64| {
                for (name, waiting) in &waiting {
                    gauge(&format!("{metric}{{source=\"{name}\"}}"), help, value(waiting));
                }
            };
        each("ingest_accepted_total", "Records taken.", &|w| w.accepted as f64);
        each("ingest_landed_total", "Records landed in tables.", &|w| w.landed as f64);
        each("ingest_quarantined_total", "Records put into quarantine.", &|w| w.quarantined as f64);
        each("ingest_waiting_bytes", "Bytes taken and not landed.", &|w| w.bytes as f64);
        each("ingest_lag_seconds", "How long the oldest record has waited to land.", &|w| {
            w.oldest_us as f64 / 1e6
        });
    }
}

impl App {
    /// Takes what was sent to a source; it is durable when this returns.
    ///
    /// # Errors
    /// When there is no such source, or the body cannot be understood or made durable.
    pub fn ingest(&self, source: &str, body: &PushBody<'_>) -> Result<PushReply, Failure> {
        Ok(self.pushed_to(source)?.accept(body)?)
    }

    /// A source that is pushed to, by its name in the address.
    fn pushed_to(&self, name: &str) -> Result<Source, Failure> {
        let entry = self.arrivals.known().sources.get(name).cloned();
        let fresh = |entry: &Entry| stamp(&self.root.join(&entry.path)) == entry.stamp;
        let found = match entry.filter(fresh) {
            Some(entry) => Some(entry.source),
            None => {
                self.read_sources(&self.project()?)?;
                self.arrivals.known().sources.get(name).map(|entry| entry.source.clone())
            }
        };
        found.filter(|source| source.push().is_some()).ok_or_else(|| {
            let hint = "add sources/NAME.toml with `type = \"push\"`";
            AppError::not_found("source to push to", name, hint).into()
        })
    }

    /// Reads all sources in which records arrive.
    pub(crate) fn read_sources(&self, project: &Project) -> Result<(), Failure> {
        let folder = stamp(&self.root.join("sources"));
        let mut sources = BTreeMap::new();
        for (id, node) in project.graph.nodes().filter(|(id, _)| id.folder() == "sources") {
            let path = node.asset.file().to_owned();
            let at = stamp(&self.root.join(&path));
            let file = read_project_file(&self.root, &path, &process_environment)?;
            if let Some(source) = self.arrivals.kind.open(&file)? {
                sources.insert(id.stem().to_owned(), Entry { path, stamp: at, source });
            }
        }
        *self.arrivals.known() = Known { folder, sources };
        Ok(())
    }

    /// The source that a person means by this text.
    pub(crate) fn arrival(&self, text: &str) -> Result<Source, Failure> {
        let project = self.project()?;
        let id = project.graph.find(text)?.clone();
        self.read_sources(&project)?;
        let entry = self.arrivals.known().sources.get(id.stem()).cloned();
        let found = entry.map(|entry| entry.source).filter(|source| *source.asset() == id);
        found.ok_or_else(|| {
            let hint = "sources of text files have no quarantine: a bad file stops their build";
            AppError::not_found("source of records", id.as_str(), hint).into()
        })
    }

    /// The account of every source in which records arrive: how many there are, and what is wrong
    /// with them.
    pub(crate) fn uneven_accounts(&self) -> Result<(usize, Vec<String>), Failure> {
        self.read_sources(&self.project()?)?;
        let sources: Vec<Source> =
            self.arrivals.known().sources.values().map(|entry| entry.source.clone()).collect();
        let wrong = sources.iter().filter_map(|source| {
            let id = source.asset();
            match source.balance(&Cancel::new()) {
                Ok(balance) if balance.is_even() => None,
                Ok(balance) => Some(format!("{id} does not add up: {}", json!(balance))),
                Err(error) => Some(format!("{id}: {}", Failure::from(error).chain())),
            }
        });
        let wrong: Vec<String> = wrong.collect();
        Ok((sources.len(), wrong))
    }

    pub(crate) fn data_schema(&self, source: &str) -> Result<Value, Failure> {
        let source = self.arrival(source)?;
        let columns: Vec<Value> = source
            .columns()?
            .into_iter()
            .map(|(column, origin)| {
                json!({ "name": column.name, "type": column.data_type, "origin": origin })
            })
            .collect();
        Ok(json!({ "source": source.asset(), "columns": columns }))
    }

    pub(crate) fn data_quarantine(
        &self,
        source: &str,
        limit: u32,
        skip: u32,
        cancel: &Cancel,
    ) -> Result<Value, Failure> {
        let source = self.arrival(source)?;
        let page = source.quarantine(skip as usize, limit as usize, cancel)?;
        let mut result = json!(page);
        result["source"] = json!(source.asset());
        Ok(result)
    }

    /// Puts rows through again and records what came of it.
    pub(crate) fn data_replay(
        &self,
        source: &str,
        limit: Option<u32>,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Value, Failure> {
        let source = self.arrival(source)?;
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let replayed = source.replay(limit, cancel)?;
        let mut result = json!(replayed);
        result["source"] = json!(source.asset());
        if replayed.passed + replayed.finished > 0 {
            match self.record(source.asset(), events, cancel)? {
                Recorded::As(version) => result["version"] = json!(version),
                // The rows are in the table; the next build records them.
                Recorded::Later => events.warn("not recorded yet: another build is running"),
                Recorded::Failed { message, .. } => {
                    events.warn(format!("{}: {message}", source.asset()));
                }
            }
        }
        Ok(result)
    }

    /// Reads the sources again when one of their files changed.
    pub(crate) fn look_again(&self) -> Result<(), Failure> {
        let folder = stamp(&self.root.join("sources"));
        let same = {
            let known = self.arrivals.known();
            known.folder == folder
                && known
                    .sources
                    .values()
                    .all(|entry| stamp(&self.root.join(&entry.path)) == entry.stamp)
        };
        if same { Ok(()) } else { self.read_sources(&self.project()?) }
    }
}
