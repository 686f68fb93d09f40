//! How is a data folder opened? By one process at a time, with its format checked first.
//!
//! ```text
//! .sextant/FORMAT      "sextant-data 1"
//! .sextant/LOCK        held while a process has the folder open; holds its id
//! .sextant/catalog.db  the catalog
//! .sextant/blobs/      immutable bytes by digest
//! .sextant/log/NAME/   durable streams
//! .sextant/tmp/        unfinished blobs, cleared at opening
//! .sextant/LAYER/      bulk folders that a layer owns (tables, indexes, jobs)
//! ```

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::fs::{FlockOperation, flock};
use sextant_core::{ActivityKind, Clock, Digest, SystemClock, Timestamp};

use crate::{
    Act, BlobReader, Incoming, LineageError, Log, Reader, blobs::Blobs, catalog::Catalog,
    sqlite::SqliteCatalog, write_atomically,
};

/// The newest format of a data folder that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// How often and how far apart the folder's lock is tried.
const LOCK_TRIES: u32 = 8;
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_millis(15);

/// How to open a store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock) }
    }
}

/// An open data folder. Clones share it; the folder is released when the last one is dropped.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    opened_at: std::time::SystemTime,
    blobs: Blobs,
    catalog: Box<dyn Catalog>,
    logs: Mutex<BTreeMap<String, Log>>,
    /// Last, so that the lock is released after everything else is closed.
    _lock: fs::File,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a data folder, making it when it is not there.
    ///
    /// # Errors
    /// When another process has it open, its format is newer, or it cannot be read or written.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<Self, LineageError> {
        // What people asked is in there: nobody but this user looks inside.
        std::os::unix::fs::DirBuilderExt::mode(fs::DirBuilder::new().recursive(true), 0o700)
            .create(dir)
            .map_err(LineageError::io("create", dir))?;
        let lock = lock(dir)?;
        check_format(dir)?;
        let blobs = Blobs::open(&dir.join("blobs"), &dir.join("tmp"))?;
        let catalog = SqliteCatalog::open(&dir.join("catalog.db"))?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            clock: options.clock,
            opened_at: std::time::SystemTime::now(),
            blobs,
            catalog: Box::new(catalog),
            logs: Mutex::default(),
            _lock: lock,
        })))
    }

    /// The data folder.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The current time, by this store's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// A folder below the data folder that a layer owns; made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn area(&self, layer: &str) -> Result<PathBuf, LineageError> {
        let path = self.0.dir.join(layer);
        fs::create_dir_all(&path).map_err(LineageError::io("create", &path))?;
        Ok(path)
    }

    /// Runs a layer's migration steps that have not run yet, each once and in order. A layer's
    /// tables carry its name as a prefix.
    ///
    /// # Errors
    /// When a step fails, or a step that ran before was changed.
    pub fn migrate(&self, layer: &'static str, steps: &[&str]) -> Result<(), LineageError> {
        self.0.catalog.migrate(layer, steps)
    }

    /// Begins an activity.
    pub fn begin(&self, kind: ActivityKind, label: impl Into<String>) -> Act {
        Act::new(self.clone(), kind, label.into())
    }

    /// Opens a consistent view for reading.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn read(&self) -> Result<Reader, LineageError> {
        self.0.catalog.snapshot().map(Reader::new)
    }

    /// Reads a blob and checks its bytes.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, LineageError> {
        self.0.blobs.get(digest)
    }

    /// Opens a blob that may be large, to be read piece by piece.
    ///
    /// # Errors
    /// When it is missing or cannot be opened.
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobReader, LineageError> {
        BlobReader::new(self.0.blobs.open_file(digest)?, *digest)
    }

    /// Makes room for bytes that come in piece by piece; see [`Act::keep`].
    ///
    /// # Errors
    /// When no file can be made.
    pub fn incoming(&self) -> Result<Incoming, LineageError> {
        self.0.blobs.temporary().map(Incoming::new)
    }

    /// Where a blob's file is. Its bytes are immutable and must not be changed.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.0.blobs.path(digest)
    }

    /// Opens a durable stream, making it when it is not there.
    ///
    /// # Errors
    /// When its name is not plain, or it is damaged.
    pub fn log(&self, stream: &str) -> Result<Log, LineageError> {
        let plain = stream.starts_with(|c: char| c.is_ascii_lowercase())
            && stream
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
        if !plain {
            return Err(LineageError::NotFound { what: "stream", id: stream.to_owned() });
        }
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get(stream) {
            return Ok(log.clone());
        }
        let log = Log::open(&self.0.dir.join("log").join(stream))?;
        logs.insert(stream.to_owned(), log.clone());
        Ok(log)
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    pub(crate) fn catalog(&self) -> &dyn Catalog {
        &*self.0.catalog
    }

    pub(crate) fn opened_at(&self) -> std::time::SystemTime {
        self.0.opened_at
    }
}

/// Whether a process has this data folder open. A process that ends, however it ends, has not.
pub fn is_held(dir: &Path) -> bool {
    fs::File::open(dir.join("LOCK"))
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// Takes the folder's lock and writes our process id into it, for the message of the next one.
fn lock(dir: &Path) -> Result<fs::File, LineageError> {
    let path = dir.join("LOCK");
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(LineageError::io("open", &path))?;
    let mut tries = 0;
    // Whoever only looks whether the folder is held, or is ending right now, is gone in a moment.
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        tries += 1;
        if tries < LOCK_TRIES {
            std::thread::sleep(LOCK_WAIT);
            continue;
        }
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() }.to_owned();
        return Err(LineageError::Locked { dir: dir.to_owned(), pid });
    }
    let mut write = || -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(std::process::id().to_string().as_bytes())
    };
    // The id is a courtesy for messages: a full disk must not keep readers out.
    let _ = write();
    Ok(file)
}

fn check_format(dir: &Path) -> Result<(), LineageError> {
    let path = dir.join("FORMAT");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if dir.join("catalog.db").exists() {
                let detail = "the folder has a catalog but no FORMAT file".to_owned();
                return Err(LineageError::Corrupt { what: path.display().to_string(), detail });
            }
            let line = format!("sextant-data {FORMAT_VERSION}\n");
            return write_atomically(&path, line.as_bytes())
                .map_err(LineageError::io("write", &path));
        }
        Err(source) => return Err(LineageError::Io { action: "read", path, source }),
    };
    let found = text.trim().strip_prefix("sextant-data ").and_then(|number| number.parse().ok());
    match found {
        Some(found) if found > FORMAT_VERSION => {
            Err(LineageError::FormatTooNew { dir: dir.to_owned(), found, known: FORMAT_VERSION })
        }
        Some(_) => Ok(()),
        None => Err(LineageError::Corrupt {
            what: path.display().to_string(),
            detail: "it does not say `sextant-data` and a number".to_owned(),
        }),
    }
}
