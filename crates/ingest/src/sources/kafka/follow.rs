//! Has a topic anything new, and how far behind is its table? A running server keeps one connection
//! for this between two landings, and makes a new one after any fault and every few minutes, which
//! is also when partitions that were added are seen.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sextant_core::Cancel;

use super::{
    KafkaAsset,
    client::{Offsets, Topic},
    fault::KafkaFault,
    feed::name_of,
};
use crate::{
    catalog,
    error::{DataError, Result},
    sources::Partition,
};

/// How long a connection is kept.
const KEEP_FOR: Duration = Duration::from_secs(300);

/// How long a list or a page waits for the brokers.
const TELL_WITHIN: Duration = Duration::from_secs(5);

/// A topic that a running server lands.
pub(crate) struct TopicFollower {
    asset: KafkaAsset,
    pause: Duration,
    topic: Option<(Arc<Topic>, Instant)>,
    /// Where the partitions ended when they were last landed.
    landed: Option<Offsets>,
}

impl KafkaAsset {
    /// What a running server lands it with; nothing when only builds do.
    pub(crate) fn follower(&self) -> Option<TopicFollower> {
        let pause = self.pause()?;
        Some(TopicFollower { asset: self.clone(), pause, topic: None, landed: None })
    }
}

impl TopicFollower {
    /// How long to wait before the next look.
    pub(crate) const fn pause(&self) -> Duration {
        self.pause
    }

    /// Lands what is new; how many commits that were.
    ///
    /// # Errors
    /// When the brokers cannot be asked or a table cannot be written; what was landed before stays.
    pub(crate) fn land(&mut self, cancel: &Cancel) -> Result<u64> {
        let outcome = self.land_new(cancel);
        if outcome.is_err() {
            self.topic = None;
            self.landed = None;
        }
        outcome
    }

    fn land_new(&mut self, cancel: &Cancel) -> Result<u64> {
        let topic = self.topic(cancel)?;
        let asked = Arc::clone(&topic);
        let ends = self.asset.engine().block(Some(cancel), async move { asked.ends().await })?;
        if self.landed.as_ref() == Some(&ends) {
            return Ok(0);
        }
        let (commits, ends) = self.asset.land_from(topic, cancel)?;
        self.landed = Some(ends);
        Ok(commits)
    }

    fn topic(&mut self, cancel: &Cancel) -> Result<Arc<Topic>> {
        if let Some((topic, since)) = &self.topic
            && since.elapsed() < KEEP_FOR
        {
            return Ok(Arc::clone(topic));
        }
        let topic = self.asset.topic(Some(cancel))?;
        self.topic = Some((Arc::clone(&topic), Instant::now()));
        Ok(topic)
    }
}

impl KafkaAsset {
    /// How far each partition is. What was read to its end in this process is not behind, also when
    /// its last offsets hold no record that anybody is shown.
    pub(crate) fn partitions(&self, cancel: &Cancel) -> Result<Vec<Partition>> {
        let open = self.opening()?;
        let brokers = self.config.brokers.join(",");
        let (topic, firsts, ends) = self.engine().block(Some(cancel), async move {
            let asked = async {
                let topic = open.await?;
                let ends = (topic.firsts().await?, topic.ends().await?);
                Ok::<_, DataError>((topic.name, ends.0, ends.1))
            };
            tokio::time::timeout(TELL_WITHIN, asked).await.unwrap_or_else(|_| {
                let reason = format!("nothing came for {} s", TELL_WITHIN.as_secs());
                Err(KafkaFault::Unreachable { brokers, reason }.into())
            })
        })?;
        let reader = self.engine().store().read()?;
        let known = catalog::arrival(&reader, self.common.id.as_str())?;
        let marks = known.map(|known| known.state.marks).unwrap_or_default();
        let read = self.engine().read_ends(&self.common.id);
        let partition = |(partition, end): (&i32, &i64)| {
            let name = name_of(&topic, *partition).to_string();
            let landed = marks.get(&name).copied();
            let first = firsts.get(partition).copied().unwrap_or(0);
            let next = landed.map_or(first, |mark| mark + 1).max(first);
            let next = read.get(&name).map_or(next, |read| next.max(*read));
            let lag = u64::try_from(end - next).unwrap_or(0);
            Partition { partition: name, landed, end: *end, lag }
        };
        Ok(ends.iter().map(partition).collect())
    }
}
