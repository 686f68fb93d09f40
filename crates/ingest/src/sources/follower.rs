//! What does a running server land a source with? With a [`Follower`], which remembers between two looks
//! what it needs to see cheaply whether there is anything new.

use std::time::Duration;

use sextant_core::Cancel;

use super::{Source, kafka::TopicFollower, postgres::TableFollower};
use crate::error::Result;

/// A source that a running server lands.
pub struct Follower(Which);

enum Which {
    Topic(TopicFollower),
    Table(TableFollower),
}

impl Source {
    /// What a running server lands it with; nothing for a source that only builds land, and for
    /// one that is pushed to.
    pub fn follower(&self) -> Option<Follower> {
        let topic = || self.kafka.as_ref()?.follower().map(Which::Topic);
        let table = || self.postgres.as_ref()?.follower().map(Which::Table);
        topic().or_else(table).map(Follower)
    }
}

impl Follower {
    /// How long to wait before the next look.
    pub const fn pause(&self) -> Duration {
        match &self.0 {
            Which::Topic(topic) => topic.pause(),
            Which::Table(table) => table.pause(),
        }
    }

    /// Lands what is new; how many commits that were.
    ///
    /// # Errors
    /// When the outside cannot be asked or a table cannot be written; what was landed before stays.
    pub fn land(&mut self, cancel: &Cancel) -> Result<u64> {
        match &mut self.0 {
            Which::Topic(topic) => topic.land(cancel),
            Which::Table(table) => table.land(cancel),
        }
    }
}
