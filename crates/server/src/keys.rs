//! Which keys are valid, and what may each do? Keys are shown once and stored as hashes.
//!
//! A key is `sxt_<id>_<secret><checksum>`: 8 hex digits that find its record, 256 random bits, and
//! a CRC-32 by which secret scanners (and typos) are told apart from chance. 256 random bits need
//! no slow hash, so SHA-256 is stored, and compared in constant time.
//!
//! The file is `keys.json` in the data directory, mode 0600, replaced as a whole and fsynced. When
//! there is none, the first start makes one admin key and leaves it in `admin.key`, mode 0600.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rand::{TryRngCore as _, rngs::OsRng};
use serde::{Deserialize, Serialize};
use sextant_core::{Digest, Timestamp};
use subtle::ConstantTimeEq as _;

use crate::{error::ServerError, limits};

/// What a key may do; each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look and ask.
    Read,
    /// Build, release, roll back.
    Write,
    /// Manage keys, repair.
    Admin,
}

impl Role {
    /// The word in files and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// What is stored of a key: never the key itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Finds the record; part of the key, not secret.
    pub id: String,
    /// Whose it is, in words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the whole key.
    pub hash: Digest,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working, if ever.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

#[derive(Default, Serialize, Deserialize)]
struct KeyFile {
    keys: Vec<KeyRecord>,
}

/// All keys of one data directory.
pub struct KeyRing {
    path: PathBuf,
    keys: Mutex<Vec<KeyRecord>>,
}

impl KeyRing {
    /// Reads the keys, and makes the admin key when there are none yet.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is not what we wrote.
    pub fn open(data_dir: &Path, now: Timestamp) -> Result<Self, ServerError> {
        let path = data_dir.join("keys.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let file: KeyFile = serde_json::from_slice(&bytes).map_err(|error| {
                    ServerError::Keys { path: path.clone(), reason: error.to_string() }
                })?;
                Ok(Self { path, keys: Mutex::new(file.keys) })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let ring = Self { path, keys: Mutex::new(Vec::new()) };
                let (key, record) = make("admin", Role::Admin, now)?;
                // The key first: a hash whose key nobody ever saw would lock everyone out.
                let mut line = key.into_bytes();
                line.push(b'\n');
                write_private(&data_dir.join("admin.key"), &line)?;
                ring.insert(record)?;
                Ok(ring)
            }
            Err(error) => Err(ServerError::file(path, "read")(error)),
        }
    }

    /// Makes a key and returns it with its record; it cannot be shown again.
    ///
    /// # Errors
    /// When the file cannot be written or there are too many keys.
    pub fn issue(
        &self,
        name: &str,
        role: Role,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<(String, KeyRecord), ServerError> {
        let (key, record) = make(name, role, now)?;
        let record = KeyRecord { expires_at, ..record };
        self.insert(record.clone())?;
        Ok((key, record))
    }

    /// Ends a key; whether there was one with this id.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<bool, ServerError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: Vec<_> = keys.iter().filter(|key| key.id != id).cloned().collect();
        if kept.len() == keys.len() {
            return Ok(false);
        }
        self.save(&kept)?;
        *keys = kept;
        Ok(true)
    }

    /// Every record, without secrets.
    pub fn list(&self) -> Vec<KeyRecord> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The record of this key, when it is whole, known, right and not expired.
    pub fn verify(&self, key: &str, now: Timestamp) -> Option<KeyRecord> {
        let id = parse(key)?;
        let hash = Digest::of(key);
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let record = keys.iter().find(|record| record.id == id)?;
        let right: bool = record.hash.as_raw().ct_eq(hash.as_raw()).into();
        let alive = record.expires_at.is_none_or(|end| now < end);
        (right && alive).then(|| record.clone())
    }

    fn insert(&self, record: KeyRecord) -> Result<(), ServerError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= limits::KEYS_MAX {
            let reason = format!("there are {} keys already; revoke one first", keys.len());
            return Err(ServerError::BadRequest { field: None, reason });
        }
        let mut grown = keys.clone();
        grown.push(record);
        self.save(&grown)?;
        *keys = grown;
        Ok(())
    }

    fn save(&self, keys: &[KeyRecord]) -> Result<(), ServerError> {
        let file = KeyFile { keys: keys.to_vec() };
        let bytes = serde_json::to_vec_pretty(&file).map_err(|error| ServerError::Keys {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        write_private(&self.path, &bytes)
    }
}

/// Random bytes of the operating system, in hexadecimal.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, ServerError> {
    let mut raw = [0_u8; BYTES];
    OsRng.try_fill_bytes(&mut raw).map_err(|error| ServerError::Internal {
        what: format!("the system gave no random bytes: {error}"),
    })?;
    Ok(hex::encode(raw))
}

fn make(name: &str, role: Role, now: Timestamp) -> Result<(String, KeyRecord), ServerError> {
    let id = random_hex::<4>()?;
    let body = format!("{id}_{}", random_hex::<32>()?);
    let key = format!("sxt_{body}{:08x}", crc32fast::hash(body.as_bytes()));
    let record = KeyRecord {
        id,
        name: name.to_owned(),
        role,
        hash: Digest::of(&key),
        created_at: now,
        expires_at: None,
    };
    Ok((key, record))
}

/// The id inside a key whose form and checksum are right.
fn parse(key: &str) -> Option<&str> {
    const BODY_BYTES: usize = 8 + 1 + 64;
    let rest = key.strip_prefix("sxt_")?;
    if rest.len() != BODY_BYTES + 8 || !rest.is_ascii() {
        return None;
    }
    let (body, checksum) = rest.split_at(BODY_BYTES);
    let expected = format!("{:08x}", crc32fast::hash(body.as_bytes()));
    if checksum == expected { body.split_once('_').map(|(id, _)| id) } else { None }
}

/// Replaces a file that only its owner may read: wholly or not at all, also through power loss.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ServerError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(ServerError::file(path, "write"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    #[test]
    fn the_first_start_makes_one_admin_key_that_outlives_restarts() {
        let folder = tempfile::tempdir().unwrap();
        KeyRing::open(folder.path(), NOW).unwrap();
        let key = fs::read_to_string(folder.path().join("admin.key")).unwrap();
        let again = KeyRing::open(folder.path(), NOW).unwrap();
        assert_eq!(again.verify(key.trim(), NOW).unwrap().role, Role::Admin);
        assert_eq!(again.list().len(), 1);
        let stored = fs::read_to_string(folder.path().join("keys.json")).unwrap();
        assert!(!stored.contains(key.trim()), "only the hash is stored");
        #[cfg(unix)]
        for file in ["admin.key", "keys.json"] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn only_whole_known_living_keys_are_valid() {
        let folder = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(folder.path(), NOW).unwrap();
        let end = Timestamp::from_micros(2_000_000);
        let (key, record) = ring.issue("ci", Role::Read, NOW, Some(end)).unwrap();
        assert_eq!(ring.verify(&key, NOW).unwrap().name, "ci");
        assert!(ring.verify(&key, end).is_none(), "expired");
        let mut typo = key.clone();
        typo.replace_range(20..21, if &key[20..21] == "0" { "1" } else { "0" });
        for bad in [typo.as_str(), &key[..key.len() - 1], "", "sxt_", "sk-abc", &"é".repeat(40)] {
            assert!(ring.verify(bad, NOW).is_none(), "{bad}");
        }
        assert!(ring.revoke(&record.id).unwrap());
        assert!(!ring.revoke(&record.id).unwrap());
        assert!(ring.verify(&key, NOW).is_none(), "revoked");
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("keys.json"), "{").unwrap();
        let error = KeyRing::open(folder.path(), NOW).err().unwrap();
        assert!(error.to_string().contains("keys.json"), "{error}");
    }
}
