//! Which files does a source have right now? Walks the folder without following a link, in a fixed
//! order, and refuses a link that leads out of the folder.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use globset::{Glob, GlobSet, GlobSetBuilder};
use sextant_core::{Digest, DigestHasher, limits};
use walkdir::{DirEntry, WalkDir};

use crate::{
    catalog::FileRow,
    error::{DataError, Result},
};

/// A file written within one tick of the file system's clock before we read it may be written again
/// without a new time: it is read again next time. A time without a fraction of a second betrays a
/// clock that ticks in seconds.
const TICK_NS: i64 = 20_000_000;
const COARSE_TICK_NS: i64 = 2_000_000_000;
/// Which paths are read.
#[derive(Debug, Clone)]
pub struct Rules {
    include: GlobSet,
    exclude: GlobSet,
    max_file_bytes: u64,
}

impl Rules {
    /// From globs relative to the folder.
    ///
    /// # Errors
    /// When one is not a glob.
    pub fn new(
        include: &[String],
        exclude: &[String],
        max_file_bytes: u64,
    ) -> Result<Self, globset::Error> {
        let set = |globs: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                builder.add(Glob::new(glob)?);
            }
            builder.build()
        };
        Ok(Self { include: set(include)?, exclude: set(exclude)?, max_file_bytes })
    }

    /// Whether this path is read.
    pub fn takes(&self, path: &str) -> bool {
        self.include.is_match(path) && !self.exclude.is_match(path)
    }
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Relative to the source folder, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: i64,
    /// When it was written, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Its inode.
    pub inode: i64,
}

/// The files of a source, sorted by path.
///
/// # Errors
/// When a file cannot be read, is too large, or a link leads out of the folder.
pub fn scan(folder: &Path, rules: &Rules) -> Result<Vec<Found>> {
    let unreadable = |source| DataError::SourceFile { path: folder.to_owned(), source };
    let root = fs::canonicalize(folder).map_err(unreadable)?;
    if !root.is_dir() {
        return Err(unreadable(std::io::Error::other("it is not a folder")));
    }
    let mut found = Vec::new();
    for entry in WalkDir::new(&root).follow_links(false).sort_by_file_name() {
        let entry = entry.map_err(|error| DataError::SourceFile {
            path: error.path().unwrap_or(&root).to_owned(),
            source: error.into(),
        })?;
        if let Some(file) = look_at(&root, &entry, rules)? {
            found.push(file);
        }
        if found.len() > limits::SOURCE_FILES_MAX {
            return Err(DataError::TooLarge {
                what: folder.display().to_string(),
                size: format!("more than {} files", limits::SOURCE_FILES_MAX),
                limit: format!("{} files", limits::SOURCE_FILES_MAX),
            });
        }
    }
    // Sorted by the whole path: a folder walk sorts `a/b` and `a.md` by their parts.
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

fn look_at(root: &Path, entry: &DirEntry, rules: &Rules) -> Result<Option<Found>> {
    let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
    if relative.as_os_str().is_empty() || entry.file_type().is_dir() {
        return Ok(None);
    }
    let Some(path) = relative.to_str() else {
        return Err(DataError::SourceFile {
            path: entry.path().to_owned(),
            source: std::io::Error::other("its name is not UTF-8"),
        });
    };
    if entry.file_type().is_symlink() {
        return look_at_link(root, entry.path(), path, rules).map(|()| None);
    }
    if !entry.file_type().is_file() || !rules.takes(path) {
        return Ok(None);
    }
    let meta = entry.metadata().map_err(|error| DataError::SourceFile {
        path: entry.path().to_owned(),
        source: error.into(),
    })?;
    if meta.len() > rules.max_file_bytes {
        return Err(DataError::TooLarge {
            what: entry.path().display().to_string(),
            size: format!("{} bytes", meta.len()),
            limit: format!("{} bytes", rules.max_file_bytes),
        });
    }
    Ok(Some(Found {
        path: path.to_owned(),
        bytes: meta.len().cast_signed(),
        mtime_ns: nanos(&meta),
        inode: meta.ino().cast_signed(),
    }))
}

/// A link inside the folder names a file that is read under its own path; a link out of it is
/// refused, and so is a wanted link that leads nowhere.
fn look_at_link(root: &Path, link: &Path, path: &str, rules: &Rules) -> Result<()> {
    if rules.exclude.is_match(path) {
        return Ok(());
    }
    let escape = |target: String| DataError::SymlinkEscape { path: link.to_owned(), target };
    match fs::canonicalize(link) {
        Ok(target) if target.starts_with(root) => Ok(()),
        Ok(target) if target.is_dir() || rules.takes(path) => {
            Err(escape(target.display().to_string()))
        }
        Err(_) if rules.takes(path) => Err(escape("nowhere".to_owned())),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn nanos(meta: &fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

/// A digest that changes when a file is added, removed, written or replaced.
pub fn fingerprint(found: &[Found]) -> Digest {
    let mut hasher = DigestHasher::new();
    for file in found {
        hasher.update(&file.path).update([0]);
        for number in [file.bytes, file.mtime_ns, file.inode] {
            hasher.update(number.to_le_bytes());
        }
    }
    hasher.finish()
}

/// Whether a file is surely as it was when it was read.
pub fn is_settled(row: &FileRow, file: &Found) -> bool {
    let tick = if row.mtime_ns % 1_000_000_000 == 0 { COARSE_TICK_NS } else { TICK_NS };
    row.bytes == file.bytes
        && row.mtime_ns == file.mtime_ns
        && row.inode == file.inode
        && row.mtime_ns < row.read_ns.saturating_sub(tick)
}

/// Reads a found file whole, as text. It is opened without following a link, so that a file
/// swapped for one after the walk is not followed either.
///
/// # Errors
/// When a file cannot be read, is too large, or a link leads out of the folder.
pub fn read_text(folder: &Path, file: &Found, max_bytes: u64) -> Result<String> {
    let bytes = read(folder, file, max_bytes)?;
    let path = folder.join(&file.path);
    String::from_utf8(bytes)
        .map_err(|error| DataError::NotText { path, offset: error.utf8_error().valid_up_to() })
}

/// As [`read_text`], whatever the file holds.
///
/// # Errors
/// When a file cannot be read, is too large, or a link leads out of the folder.
pub fn read(folder: &Path, file: &Found, max_bytes: u64) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let path: PathBuf = folder.join(&file.path);
    let unreadable = |source| DataError::SourceFile { path: path.clone(), source };
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(&path);
    let mut bytes = Vec::new();
    opened.and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > max_bytes {
        return Err(DataError::TooLarge {
            what: path.display().to_string(),
            size: format!("more than {max_bytes} bytes"),
            limit: format!("{max_bytes} bytes"),
        });
    }
    Ok(bytes)
}
