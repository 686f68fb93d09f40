//! What serves a request? The assistant of one release, opened once and shared by the requests that
//! are pinned to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sextant_agent::{Assistant, PassageSearch, Prompt, ServingConfig};
use sextant_core::{Digest, Failure};
use sextant_project::release::{self, ReleaseManifest, Role};

use crate::{App, AppError, plug};

/// Releases that stay open; old ones live on for the requests that hold them.
const OPEN_MAX: usize = 8;

/// The open releases. Opening one keeps no request of another waiting.
#[derive(Default)]
pub struct ServingCache(Mutex<HashMap<Digest, Slot>>);

/// A release that is open or being opened, and when it was last asked for.
struct Slot {
    serving: Arc<Mutex<Option<Arc<Serving>>>>,
    used: Instant,
}

impl ServingCache {
    /// The place of this release. Where all places are taken, the one longest unused goes.
    fn slot(&self, release: &Digest) -> Arc<Mutex<Option<Arc<Serving>>>> {
        let mut slots = locked(&self.0);
        let used = Instant::now();
        if let Some(slot) = slots.get_mut(release) {
            slot.used = used;
            return slot.serving.clone();
        }
        if slots.len() >= OPEN_MAX
            && let Some(oldest) = slots.iter().min_by_key(|(_, slot)| slot.used)
        {
            let oldest = *oldest.0;
            slots.remove(&oldest);
        }
        let serving = Arc::default();
        slots.insert(*release, Slot { serving: Arc::clone(&serving), used });
        serving
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One open release.
pub struct Serving {
    /// The release's digest.
    pub release: Digest,
    /// Its manifest.
    pub manifest: ReleaseManifest,
    /// What answers.
    pub assistant: Assistant,
}

impl App {
    /// The names of the releases that are live.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn live_releases(&self) -> Result<Vec<String>, Failure> {
        let names = self.store.read()?.names("release/")?;
        let live = names.iter().filter_map(|(name, _)| {
            name.strip_prefix("release/")?.strip_suffix("@live").map(str::to_owned)
        });
        Ok(live.collect())
    }

    /// Finds the release that a request names and pins it: its name and digest. Without a name, the
    /// only live release.
    ///
    /// # Errors
    /// When there is no such live release, or several and none was named.
    pub fn pin(&self, model: Option<&str>) -> Result<(String, Digest), Failure> {
        let live = self.live_releases()?;
        let hint = "`sextant release list` shows the releases; `sextant build` makes one";
        let name = match (model, live.as_slice()) {
            (Some(name), _) => name.to_owned(),
            (None, [only]) => only.clone(),
            (None, []) => {
                return Err(AppError::not_found("live release", "(none yet)", hint).into());
            }
            (None, several) => {
                let found = several.to_vec();
                return Err(AppError::Ambiguous { id: "the release".into(), found }.into());
            }
        };
        if live.contains(&name)
            && let Some(digest) = release::live(&self.store, &name)?
        {
            return Ok((name, digest));
        }
        // `NAME@DIGEST` and digests pin a release that need not be live.
        let (prefix, word) = match name.rsplit_once('@') {
            Some((prefix, word)) => (Some(prefix), word),
            None => (None, name.as_str()),
        };
        if word.len() < 6 {
            return Err(AppError::not_found("live release", &name, hint).into());
        }
        let digest = release::resolve(&self.store, word)
            .map_err(|_| AppError::not_found("live release", &name, hint))?;
        let (manifest, _) = ReleaseManifest::read(&self.store.read()?, &digest)?;
        if manifest.name == word || prefix.is_some_and(|prefix| prefix != manifest.name) {
            // A name that exists but is not live does not serve, nor does one release for another.
            return Err(AppError::not_found("live release", &name, hint).into());
        }
        Ok((manifest.name, digest))
    }

    /// The open release with this digest.
    pub(crate) fn serving(&self, release: &Digest) -> Result<Arc<Serving>, Failure> {
        let slot = self.serving.slot(release);
        let mut open = locked(&slot);
        if let Some(serving) = &*open {
            return Ok(serving.clone());
        }
        let serving = Arc::new(self.open_release(release)?);
        *open = Some(serving.clone());
        Ok(serving)
    }

    fn open_release(&self, release: &Digest) -> Result<Serving, Failure> {
        let (manifest, _) = ReleaseManifest::read(&self.store.read()?, release)?;
        let part = |role: Role, missing| {
            manifest
                .parts
                .get(&role)
                .map(|part| part.version)
                .ok_or(AppError::Incomplete { what: format!("release {release}"), missing })
        };
        let prompt = Prompt::from_bytes(&self.store.blob(&part(Role::Prompt, "its prompt")?)?)?;
        let search: Arc<dyn PassageSearch> =
            self.searchers.open_version(&part(Role::Index, "its index")?)?;
        let config = manifest.serving["config"].to_string();
        let config = ServingConfig::from_bytes(config.as_bytes())?;
        let generator = config.generator.as_ref().map(plug::generator).transpose()?;
        let assistant =
            Assistant { search, prompt: Arc::new(prompt), config: Arc::new(config), generator };
        Ok(Serving { release: *release, manifest, assistant })
    }
}
