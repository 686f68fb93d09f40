//! When do files change? `dev` waits here and is called once for each burst of changes.

use std::{
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use notify::{RecursiveMode, Watcher as _};
use sextant_core::{Cancel, Failure};

use crate::{App, AppError};

/// Changes that come closer together than this are one burst.
const QUIET: Duration = Duration::from_millis(300);
/// A burst is answered after this long even when it goes on.
const BURST_MAX: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(200);

impl App {
    /// Calls `changed` once, and again after each burst of changes below the project folder and the
    /// folders of its sources, until `cancel` is raised. A change during a call is not missed.
    ///
    /// # Errors
    /// When the operating system cannot watch the folders; `changed` has been called once then.
    pub fn watch(&self, cancel: &Cancel, changed: &mut dyn FnMut()) -> Result<(), Failure> {
        let (sender, receiver) = mpsc::channel();
        let watcher = self.watcher(sender);
        changed();
        let _watcher = watcher?;
        while !cancel.is_cancelled() {
            if receiver.recv_timeout(POLL).is_err() {
                continue;
            }
            let begun = Instant::now();
            while begun.elapsed() < BURST_MAX && receiver.recv_timeout(QUIET).is_ok() {}
            if !cancel.is_cancelled() {
                changed();
            }
        }
        Ok(())
    }

    /// Sends a word for each change that matters, as long as it is kept.
    fn watcher(&self, sender: mpsc::Sender<()>) -> Result<notify::RecommendedWatcher, Failure> {
        let data_dir = self.store.dir().to_owned();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if let Ok(event) = event
                    && !event.kind.is_access()
                    && event.paths.iter().any(|path| matters(path, &data_dir))
                {
                    let _ = sender.send(());
                }
            })
            .map_err(|error| cannot_watch(&self.root, &error))?;
        for folder in self.watched_folders() {
            watcher
                .watch(&folder, RecursiveMode::Recursive)
                .map_err(|error| cannot_watch(&folder, &error))?;
        }
        Ok(watcher)
    }

    /// The project folder, and the folders outside it that sources read.
    fn watched_folders(&self) -> Vec<std::path::PathBuf> {
        let mut folders = vec![self.root.clone()];
        let Ok(entries) = std::fs::read_dir(self.root.join("sources")) else { return folders };
        for entry in entries.flatten() {
            let path = std::fs::read_to_string(entry.path()).ok().and_then(|text| {
                let line = text
                    .lines()
                    .find(|line| line.split('=').next().is_some_and(|key| key.trim() == "path"))?;
                let value = line.split_once('=')?.1.trim().trim_matches('"').to_owned();
                std::fs::canonicalize(self.root.join(value)).ok()
            });
            if let Some(path) = path.filter(|path| !path.starts_with(&self.root)) {
                folders.push(path);
            }
        }
        folders
    }
}

/// Whether a change can make something stale: not in the data folder, not in hidden folders.
fn matters(path: &Path, data_dir: &Path) -> bool {
    !path.starts_with(data_dir)
        && !path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name.starts_with(".git") || name.ends_with('~') || name.ends_with(".swp")
        })
}

fn cannot_watch(folder: &Path, error: &notify::Error) -> Failure {
    AppError::BadInput(format!("cannot watch {}: {error}", folder.display())).into()
}
