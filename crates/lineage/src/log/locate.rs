//! Where in a stream is the record with a key? Its side files say in which segment; the place is
//! counted there.

use std::sync::PoisonError;

use super::{Log, LogRecord};
use crate::LineageError;

impl Log {
    /// The oldest record with this key and its place. Reads the segment that holds it.
    ///
    /// # Errors
    /// When a stored record is damaged or cannot be read.
    pub fn locate(&self, key: &[u8; 16]) -> Result<Option<LogRecord>, LineageError> {
        let base = {
            let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
            let mut base = None;
            for sealed in &view.sealed {
                if !sealed.find(key)?.is_empty() {
                    base = Some(sealed.base);
                    break;
                }
            }
            base.or_else(|| view.open.by_key.contains_key(key).then_some(view.open.base))
        };
        let Some(base) = base else { return Ok(None) };
        let mut found = None;
        let scanned = self.scan(base, &mut |sequence, known, payload| {
            if known == *key {
                found = Some(LogRecord { sequence, key: known, payload: payload.to_vec() });
            }
            found.is_none()
        });
        match scanned {
            // The segment was forgotten meanwhile: it held nothing that is still looked for.
            Err(LineageError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            scanned => scanned.map(|()| found),
        }
    }
}
