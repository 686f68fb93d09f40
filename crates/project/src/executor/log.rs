//! Where can a build be followed and read afterwards? Each try has a log file,
//! `<data>/logs/<asset>/<activity>.log`, written line by line while it runs.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sextant_core::{ActivityId, Event, Events, Level, Timestamp};
use sextant_lineage::Store;

use crate::{AssetId, ProjectError};

/// Most bytes of one log; later lines are only shown.
const LOG_BYTES_MAX: usize = 16 << 20;
/// How many logs of an asset are kept.
const LOGS_KEPT: usize = 20;

/// Writes every event to the log and passes it on.
pub(super) struct LoggedEvents<'a> {
    next: &'a dyn Events,
    store: &'a Store,
    file: Mutex<(File, usize)>,
}

/// Where the log of one try is.
pub(super) fn log_path(
    store: &Store,
    asset: &AssetId,
    activity: ActivityId,
) -> Result<PathBuf, sextant_core::Failure> {
    let folder = store.area("logs")?.join(asset.folder()).join(asset.stem());
    Ok(folder.join(format!("{activity}.log")))
}

impl<'a> LoggedEvents<'a> {
    pub(super) fn open(
        store: &'a Store,
        path: &Path,
        next: &'a dyn Events,
    ) -> Result<Self, ProjectError> {
        let failed = |source| ProjectError::LogFile { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
            prune(folder);
        }
        let file = File::create(path).map_err(failed)?;
        Ok(Self { next, store, file: Mutex::new((file, 0)) })
    }

    /// Adds a line to the log alone.
    pub(super) fn note(&self, text: &str) {
        let now: Timestamp = self.store.now();
        let line = format!("{now} {text}\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.1 + line.len() > LOG_BYTES_MAX {
            return;
        }
        // Telling is never in the way of work: a full disk is reported by the work itself.
        if file.0.write_all(line.as_bytes()).is_ok() {
            file.1 += line.len();
        }
    }
}

impl Events for LoggedEvents<'_> {
    fn emit(&self, event: Event) {
        match &event {
            Event::StepStarted { step, why } => self.note(&format!("{step} started: {why}")),
            Event::Progress { done, total: Some(total), detail, .. } => {
                self.note(&format!("{done}/{total} {detail}"));
            }
            Event::Progress { done, total: None, detail, .. } => {
                self.note(&format!("{done} {detail}"));
            }
            Event::StepFinished { step, outcome, detail, seconds } => {
                self.note(&format!("{step} {outcome} in {seconds:.3} s: {detail}"));
            }
            Event::Line { level: Level::Info, text } => self.note(text),
            Event::Line { level: Level::Warn, text } => self.note(&format!("warning: {text}")),
        }
        self.next.emit(event);
    }
}

/// Removes the oldest logs; their names sort by time. What cannot be removed stays.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    let spare = (logs.len() + 1).saturating_sub(LOGS_KEPT);
    for path in &logs[..spare.min(logs.len())] {
        let _ = fs::remove_file(path);
    }
}
