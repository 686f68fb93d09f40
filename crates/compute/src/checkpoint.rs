//! Where does a job go on after kill -9? From the newest checkpoint that is whole.
//!
//! A checkpoint is a folder `step-<n>` that appears by one rename: its files are written into a
//! temporary folder, each is fsynced and hashed, the manifest with all digests comes last, then the
//! folder is fsynced and renamed, and the parent is fsynced. A folder whose manifest does not verify
//! is torn: it is ignored and removed. Temporary folders of dead attempts are removed when the store
//! is opened, so one job must have one writer (the executor sees to that).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sextant_core::{Digest, Failure, canonical_json};

use crate::{
    ComputeError,
    files::{FileFact, file_facts, remove_folder, sync_file, sync_folder, write_synced},
};

const MANIFEST: &str = "manifest.json";
const TEMPORARY: &str = ".writing-";
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// The version of the manifest's form.
const FORMAT: u32 = 1;

/// What a checkpoint holds: the body of the `checkpoint` artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// Version of this form.
    pub format: u32,
    /// Steps done when it was written.
    pub step: u64,
    /// The digest of the recipe and inputs that it belongs to.
    pub job: Digest,
    /// Its files.
    pub files: BTreeMap<String, FileFact>,
}

impl CheckpointManifest {
    /// The digest of the artifact with this body.
    pub fn digest(&self) -> Digest {
        Digest::of(canonical_json(self).unwrap_or_default())
    }
}

/// A checkpoint that verified when it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its folder.
    pub dir: PathBuf,
    /// What it holds.
    pub manifest: CheckpointManifest,
}

impl Checkpoint {
    /// Steps done when it was written.
    pub fn step(&self) -> u64 {
        self.manifest.step
    }
}

/// The checkpoints of one job.
#[derive(Debug)]
pub struct CheckpointStore {
    dir: PathBuf,
    job: Digest,
    keep: usize,
}

impl CheckpointStore {
    /// Opens the folder and clears what a dead attempt left. `keep` checkpoints stay (at least 1).
    ///
    /// # Errors
    /// When the folder cannot be made, read or cleared.
    pub fn open(dir: &Path, job: Digest, keep: usize) -> Result<Self, ComputeError> {
        std::fs::create_dir_all(dir).map_err(ComputeError::io("make", dir))?;
        let store = Self { dir: dir.to_owned(), job, keep: keep.max(1) };
        for (name, path) in store.entries()? {
            if name.starts_with(TEMPORARY) {
                remove_folder(&path)?;
            }
        }
        Ok(store)
    }

    /// Writes a checkpoint. `write` fills an empty folder with plain files; nothing is visible
    /// before all of them are on the disk. Another checkpoint of the same step is replaced.
    ///
    /// # Errors
    /// What `write` says, or any error of the file system; older checkpoints stay as they are.
    pub fn save(
        &self,
        step: u64,
        write: &mut dyn FnMut(&Path) -> Result<(), Failure>,
    ) -> Result<Checkpoint, Failure> {
        let temporary = self.dir.join(format!("{TEMPORARY}{step}"));
        remove_folder(&temporary)?;
        std::fs::create_dir(&temporary).map_err(ComputeError::io("make", &temporary))?;
        write(&temporary)?;
        let files = file_facts(&temporary)?;
        for name in files.keys() {
            sync_file(&temporary.join(name))?;
        }
        let manifest = CheckpointManifest { format: FORMAT, step, job: self.job, files };
        let bytes = canonical_json(&manifest).map_err(|error| ComputeError::Checkpoint {
            path: temporary.clone(),
            reason: error.to_string(),
        })?;
        write_synced(&temporary.join(MANIFEST), &bytes)?;
        sync_folder(&temporary)?;
        let dir = self.folder(step);
        if self.verify(step).is_ok_and(|there| there.manifest == manifest) {
            // Never without it, not even for a moment.
            remove_folder(&temporary)?;
            sync_folder(&self.dir)?;
            return Ok(Checkpoint { dir, manifest });
        }
        remove_folder(&dir)?;
        std::fs::rename(&temporary, &dir).map_err(ComputeError::io("rename", &temporary))?;
        sync_folder(&self.dir)?;
        self.forget_old(step)?;
        Ok(Checkpoint { dir, manifest })
    }

    /// The newest checkpoint of this job that verifies. Torn ones are removed on the way.
    ///
    /// # Errors
    /// When the folder cannot be read or a torn checkpoint cannot be removed.
    pub fn latest(&self) -> Result<Option<Checkpoint>, ComputeError> {
        for step in self.steps()?.into_iter().rev() {
            match self.verify(step) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(ComputeError::Checkpoint { .. }) => remove_folder(&self.folder(step))?,
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    /// Every checkpoint that verifies, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> Result<Vec<Checkpoint>, ComputeError> {
        let mut found = Vec::new();
        for step in self.steps()? {
            match self.verify(step) {
                Ok(checkpoint) => found.push(checkpoint),
                Err(ComputeError::Checkpoint { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }

    fn verify(&self, step: u64) -> Result<Checkpoint, ComputeError> {
        let dir = self.folder(step);
        let torn = |reason: String| ComputeError::Checkpoint { path: dir.clone(), reason };
        let path = dir.join(MANIFEST);
        let size = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(torn("it has no manifest".into()));
            }
            Err(error) => return Err(ComputeError::io("read", &path)(error)),
        };
        if size > MANIFEST_BYTES_MAX {
            return Err(torn(format!("its manifest has {size} bytes")));
        }
        let bytes = std::fs::read(&path).map_err(ComputeError::io("read", &path))?;
        let manifest: CheckpointManifest =
            serde_json::from_slice(&bytes).map_err(|error| torn(error.to_string()))?;
        if manifest.format != FORMAT || manifest.step != step || manifest.job != self.job {
            return Err(torn("its manifest belongs to another job, step or version".into()));
        }
        let mut found = file_facts(&dir)?;
        found.remove(MANIFEST);
        if found != manifest.files {
            return Err(torn("its files are not what its manifest says".into()));
        }
        Ok(Checkpoint { dir, manifest })
    }

    fn forget_old(&self, newest: u64) -> Result<(), ComputeError> {
        let steps = self.steps()?;
        let older: Vec<_> = steps.into_iter().filter(|step| *step <= newest).collect();
        let surplus = older.len().saturating_sub(self.keep);
        older[..surplus].iter().try_for_each(|step| remove_folder(&self.folder(*step)))
    }

    fn folder(&self, step: u64) -> PathBuf {
        self.dir.join(format!("step-{step}"))
    }

    /// The steps that have a folder, in order.
    fn steps(&self) -> Result<Vec<u64>, ComputeError> {
        let mut steps: Vec<u64> = self
            .entries()?
            .iter()
            .filter_map(|(name, _)| name.strip_prefix("step-")?.parse().ok())
            .collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>, ComputeError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(ComputeError::io("read", &self.dir))? {
            let entry = entry.map_err(ComputeError::io("read", &self.dir))?;
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn save(store: &CheckpointStore, step: u64) -> Checkpoint {
        store
            .save(step, &mut |dir| {
                std::fs::write(dir.join("weights"), format!("w{step}")).unwrap();
                std::fs::write(dir.join("optimiser"), "o").unwrap();
                Ok(())
            })
            .unwrap()
    }

    fn store(dir: &Path) -> CheckpointStore {
        CheckpointStore::open(dir, Digest::of("job"), 2).unwrap()
    }

    #[test]
    fn the_newest_whole_checkpoint_wins_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = store(dir.path());
        assert_eq!(checkpoints.latest().unwrap(), None);
        for step in [9, 10, 100] {
            save(&checkpoints, step);
        }
        let steps: Vec<_> = checkpoints.all().unwrap().iter().map(Checkpoint::step).collect();
        assert_eq!(steps, [10, 100]);
        let latest = checkpoints.latest().unwrap().unwrap();
        assert_eq!(std::fs::read(latest.dir.join("weights")).unwrap(), b"w100");
    }

    #[test]
    fn a_torn_checkpoint_is_ignored_and_removed() {
        type Harm = fn(&Path);
        let harms: [Harm; 5] = [
            |dir| std::fs::write(dir.join("weights"), "other").unwrap(),
            |dir| std::fs::remove_file(dir.join("optimiser")).unwrap(),
            |dir| std::fs::remove_file(dir.join(MANIFEST)).unwrap(),
            |dir| std::fs::write(dir.join(MANIFEST), "{").unwrap(),
            |dir| std::fs::write(dir.join("extra"), "x").unwrap(),
        ];
        for harm in harms {
            let dir = tempfile::tempdir().unwrap();
            let checkpoints = store(dir.path());
            save(&checkpoints, 1);
            let newest = save(&checkpoints, 2);
            harm(&newest.dir);
            assert_eq!(checkpoints.latest().unwrap().unwrap().step(), 1);
            assert!(!newest.dir.exists());
        }
    }

    #[test]
    fn saving_the_same_checkpoint_again_leaves_it_where_it_is() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = store(dir.path());
        let inode = |made: &Checkpoint| std::fs::metadata(&made.dir).unwrap().ino();
        let before = inode(&save(&checkpoints, 7));
        assert_eq!(inode(&save(&checkpoints, 7)), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = store(dir.path());
        save(&checkpoints, 1);
        let result = checkpoints.save(2, &mut |folder| {
            std::fs::write(folder.join("half"), "x").unwrap();
            Err(ComputeError::Stopped { step: 2 }.into())
        });
        assert!(result.is_err());
        let again = store(dir.path());
        assert_eq!(again.latest().unwrap().unwrap().step(), 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_checkpoint_of_another_job_is_not_resumed() {
        let dir = tempfile::tempdir().unwrap();
        save(&store(dir.path()), 5);
        let other = CheckpointStore::open(dir.path(), Digest::of("other"), 2).unwrap();
        assert_eq!(other.latest().unwrap(), None);
    }

    #[test]
    fn the_same_files_have_the_same_digest() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (save(&store(one.path()), 3), save(&store(two.path()), 3));
        assert_eq!(one.manifest.digest(), two.manifest.digest());
    }
}
