//! Which records of a topic come next? Those behind the table's marks, up to where each partition
//! ended when the build began.

use std::{collections::BTreeMap, sync::Arc};

use krafka::ConsumerRecord;
use sextant_core::Cancel;

use super::{
    OnLost,
    client::{Offsets, Reader, Topic},
    fault::KafkaFault,
};
use crate::{
    Ingest,
    arrival::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Feed, Format, Marks, Parts, Payload, Record},
    error::Result,
};
use sextant_data::Started;

/// The name of a partition, as Kafka writes it: `orders-0`.
pub(super) fn name_of(topic: &str, partition: i32) -> Arc<str> {
    format!("{topic}-{partition}").into()
}

/// The records of a topic that a build lands.
pub(crate) struct TopicFeed {
    engine: Ingest,
    topic: Arc<Topic>,
    cancel: Cancel,
    on_lost: OnLost,
    names: BTreeMap<i32, Arc<str>>,
    /// The first offset that is there.
    firsts: Offsets,
    /// Where a partition ended when the build began.
    ends: Offsets,
    reader: Option<Arc<Reader>>,
    /// The batch behind those that were handed over, which is being read while they are landed.
    ahead: Option<Started<Vec<ConsumerRecord>>>,
    /// The marks behind which the reader stands.
    handed: Marks,
    lost: BTreeMap<String, (i64, i64)>,
}

impl TopicFeed {
    pub(crate) fn open(
        engine: &Ingest,
        topic: Arc<Topic>,
        on_lost: OnLost,
        cancel: &Cancel,
    ) -> Result<Self> {
        let asked = Arc::clone(&topic);
        let (firsts, ends) = engine.block(Some(cancel), async move {
            let ends = asked.ends().await?;
            Ok((asked.firsts().await?, ends))
        })?;
        let names = ends.keys().map(|partition| (*partition, name_of(&topic.name, *partition)));
        Ok(Self {
            engine: engine.clone(),
            names: names.collect(),
            topic,
            cancel: cancel.clone(),
            on_lost,
            firsts,
            ends,
            reader: None,
            ahead: None,
            handed: Marks::new(),
            lost: BTreeMap::new(),
        })
    }

    /// The names of all partitions.
    pub(crate) fn partitions(&self) -> Vec<String> {
        self.names.values().map(ToString::to_string).collect()
    }

    /// Where the partitions ended when this was made.
    pub(crate) fn ends(&self) -> &Offsets {
        &self.ends
    }

    /// The same by the names of the partitions.
    pub(crate) fn named_ends(&self) -> BTreeMap<String, i64> {
        let named = |(partition, name): (&i32, &Arc<str>)| {
            Some((name.to_string(), *self.ends.get(partition)?))
        };
        self.names.iter().filter_map(named).collect()
    }

    /// Per partition, the first and the last offset that were gone before they were read.
    pub(crate) fn lost(&self) -> &BTreeMap<String, (i64, i64)> {
        &self.lost
    }

    /// Tells Kafka how far a group is.
    pub(crate) fn report(&self, group: &str) -> Result<()> {
        let landed = |(partition, name): (&i32, &Arc<str>)| {
            self.handed.get(&**name).map(|mark| (*partition, mark + 1))
        };
        let next: Offsets = self.names.iter().filter_map(landed).collect();
        if next.is_empty() {
            return Ok(());
        }
        let (topic, group) = (Arc::clone(&self.topic), group.to_owned());
        self.engine.block(Some(&self.cancel), async move { topic.report(&group, next).await })
    }

    /// Where to begin behind these marks.
    fn starts(&mut self, marks: &Marks) -> Result<Offsets> {
        let mut starts = Offsets::new();
        for (partition, name) in &self.names {
            let first = self.firsts.get(partition).copied().unwrap_or(0);
            let end = self.ends.get(partition).copied().unwrap_or(0);
            let Some(mark) = marks.get(&**name).copied() else {
                starts.insert(*partition, first);
                continue;
            };
            let wanted = mark + 1;
            let partition_name = name.to_string();
            if wanted > end {
                let fault = KafkaFault::Shorter { partition: partition_name, end, landed: mark };
                return Err(fault.into());
            }
            if wanted < first {
                if self.on_lost == OnLost::Fail {
                    let fault = KafkaFault::Lost { partition: partition_name, wanted, first };
                    return Err(fault.into());
                }
                self.lost.insert(partition_name, (wanted, first - 1));
            }
            starts.insert(*partition, wanted.max(first));
        }
        Ok(starts)
    }

    /// The reader, standing behind these marks.
    fn reader(&mut self, marks: &Marks) -> Result<Arc<Reader>> {
        if let Some(reader) = &self.reader
            && *marks == self.handed
        {
            return Ok(Arc::clone(reader));
        }
        let starts = self.starts(marks)?;
        let topic = Arc::clone(&self.topic);
        let open = async move { topic.reader(&starts).await };
        let reader = Arc::new(self.engine.block(Some(&self.cancel), open)?);
        self.reader = Some(Arc::clone(&reader));
        self.ahead = None;
        self.handed.clone_from(marks);
        Ok(reader)
    }

    fn record(&self, record: ConsumerRecord) -> Record {
        let known = self.names.get(&record.partition).cloned();
        let ConsumerRecord { key, headers, value, .. } = record;
        Record {
            partition: known.unwrap_or_else(|| name_of(&self.topic.name, record.partition)),
            offset: record.offset,
            arrived_at: record.timestamp.max(0).saturating_mul(1000),
            format: Format::Kafka,
            payload: Payload::Parts(Parts { key, headers, value }),
        }
    }

    /// Begins to read a batch.
    fn start(&self, reader: Arc<Reader>) -> Result<Started<Vec<ConsumerRecord>>> {
        let ends = self.ends.clone();
        self.engine
            .start(async move { reader.read(&ends, BATCH_RECORDS_MAX, BATCH_BYTES_MAX).await })
    }
}

impl Feed for TopicFeed {
    fn next(&mut self, marks: &Marks) -> Result<Vec<Record>> {
        let reader = self.reader(marks)?;
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.start(Arc::clone(&reader))?,
        };
        let outcome = ahead.wait(Some(&self.cancel));
        if outcome.is_err() {
            // It may have moved past records that nobody has seen.
            self.reader = None;
        }
        let found = outcome?;
        if !found.is_empty() {
            self.ahead = Some(self.start(reader)?);
        }
        // What is at or below a mark has landed.
        let records = found.into_iter().map(|record| self.record(record)).filter(|record| {
            self.handed.get(&*record.partition).is_none_or(|mark| record.offset > *mark)
        });
        let records: Vec<Record> = records.collect();
        for record in &records {
            match self.handed.get_mut(&*record.partition) {
                Some(mark) => *mark = record.offset,
                None => drop(self.handed.insert(record.partition.to_string(), record.offset)),
            }
        }
        Ok(records)
    }
}
