//! Which records has a key? Where they are is looked up under the lock that every append takes; they are
//! read outside of it, so that a key with very many records holds nobody up.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use super::{
    Log, open_read,
    segment::{self, Sealed},
};
use crate::LineageError;

/// Where the records of one key are, at one moment.
pub(super) struct Seen {
    pub(super) sealed: Vec<Arc<Sealed>>,
    file: Arc<fs::File>,
    path: PathBuf,
    /// In the open segment.
    offsets: Vec<u64>,
}

impl Log {
    /// All records with this key, oldest first.
    ///
    /// # Errors
    /// When a stored record is damaged or cannot be read.
    pub fn get_all(&self, key: &[u8; 16]) -> Result<Vec<Vec<u8>>, LineageError> {
        self.read_all(key, &self.seen(key))
    }

    /// What there is of a key now, to be read while writers go on.
    pub(super) fn seen(&self, key: &[u8; 16]) -> Seen {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        let open = &view.open;
        Seen {
            sealed: view.sealed.clone(),
            file: open.file.clone(),
            path: open.path.clone(),
            offsets: open.by_key.get(key).cloned().unwrap_or_default(),
        }
    }

    pub(super) fn read_all(
        &self,
        key: &[u8; 16],
        seen: &Seen,
    ) -> Result<Vec<Vec<u8>>, LineageError> {
        let mut payloads = Vec::new();
        for sealed in &seen.sealed {
            let offsets = sealed.find(key)?;
            if offsets.is_empty() {
                continue;
            }
            let file = match open_read(&sealed.path) {
                // What was forgotten in between is as if it had been before.
                Err(_) if !self.has_segment(sealed.base) => continue,
                file => file?,
            };
            for offset in offsets {
                payloads.push(segment::read_record(&file, &sealed.path, offset)?.1);
            }
        }
        for offset in &seen.offsets {
            payloads.push(segment::read_record(&seen.file, &seen.path, *offset)?.1);
        }
        Ok(payloads)
    }

    fn has_segment(&self, base: u64) -> bool {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        view.sealed.iter().any(|sealed| sealed.base == base)
    }
}
