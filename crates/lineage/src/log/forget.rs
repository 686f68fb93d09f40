//! When may a part of a stream go? When whoever owns the stream says that nobody needs its records any
//! more. Whole sealed segments are removed, oldest first, so that a crash leaves a stream that begins
//! later and has no gap. Sequence numbers stay what they were.

use std::{fs, sync::PoisonError, time::SystemTime};

use super::Log;
use crate::{LineageError, sync_folder};

impl Log {
    /// Removes the sealed segments at the beginning whose records are all before `sequence` and were
    /// written before `written`; how many records that were.
    ///
    /// # Errors
    /// When a file cannot be removed: what is left is a whole stream.
    pub fn forget_before(&self, sequence: u64, written: SystemTime) -> Result<u64, LineageError> {
        let _alone = self.0.trimming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = 0;
        loop {
            let oldest = {
                let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
                view.sealed.first().map(|oldest| (oldest.base, oldest.records, oldest.path.clone()))
            };
            let Some((base, records, path)) = oldest else { break };
            let io = |action| LineageError::io(action, &path);
            let modified = fs::metadata(&path).and_then(|meta| meta.modified());
            if base + records > sequence || modified.map_err(io("read"))? >= written {
                break;
            }
            // First from the sight of readers. Without its segment a side file says nothing: it
            // goes last.
            self.0.view.write().unwrap_or_else(PoisonError::into_inner).sealed.remove(0);
            fs::remove_file(&path).map_err(io("remove"))?;
            fs::remove_file(path.with_extension("idx")).map_err(io("remove the index of"))?;
            forgotten += records;
        }
        if forgotten > 0 {
            let folder = &self.0.folder;
            sync_folder(folder).map_err(LineageError::io("sync", folder))?;
        }
        Ok(forgotten)
    }
}
