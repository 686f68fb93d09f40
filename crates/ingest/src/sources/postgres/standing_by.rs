//! Has a server anything new for a running Sextant? It is asked where its log is; when that has moved since
//! the last landing, a landing goes as in a build.

use std::time::Duration;

use serde_json::Value;
use sextant_core::Cancel;

use super::{Mode, PostgresAsset};
use crate::error::Result;

/// How often a running server looks, when the source's file does not say.
const POLL_SECONDS: u64 = 5;

/// A table whose changes a running server lands.
pub(crate) struct TableFollower {
    asset: PostgresAsset,
    pause: Duration,
    /// Where the log was before the last landing.
    landed: Option<Value>,
}

impl PostgresAsset {
    /// How long a running server waits between two looks; nothing when only builds land it.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let seconds = self.config.poll_seconds.unwrap_or(POLL_SECONDS);
        (self.config.mode == Mode::Cdc && seconds > 0).then(|| Duration::from_secs(seconds))
    }

    pub(crate) fn follower(&self) -> Option<TableFollower> {
        let pause = self.pause()?;
        Some(TableFollower { asset: self.clone(), pause, landed: None })
    }
}

impl TableFollower {
    pub(crate) const fn pause(&self) -> Duration {
        self.pause
    }

    /// Lands what is new; how many commits that were.
    pub(crate) fn land(&mut self, cancel: &Cancel) -> Result<u64> {
        let job = self.asset.job()?;
        let asked = async move { Ok(job.seen().await?) };
        let now = self.asset.common.engine.block(Some(cancel), asked)?;
        if self.landed.as_ref() == Some(&now) {
            return Ok(0);
        }
        // After a fault it is tried whole.
        self.landed = None;
        let commits = self.asset.land(cancel)?;
        self.landed = Some(now);
        Ok(commits)
    }
}
