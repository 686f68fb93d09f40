//! Which records of a topic come next? Those behind the table's marks, up to where each partition
//! ended when the build began.

use std::{collections::BTreeMap, sync::Arc};

use krafka::ConsumerRecord;
use sextant_core::Cancel;

use super::{
    OnLost,
    client::{Offsets, Reader, Topic},
    envelope,
    fault::KafkaFault,
};
use crate::{
    Ingest,
    arrival::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Feed, Format, Marks, Record},
    error::{DataError, Result},
};

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
        self.handed.clone_from(marks);
        Ok(reader)
    }

    fn record(&self, record: &ConsumerRecord) -> Result<Record> {
        let known = self.names.get(&record.partition).cloned();
        Ok(Record {
            partition: known.unwrap_or_else(|| name_of(&self.topic.name, record.partition)),
            offset: record.offset,
            arrived_at: record.timestamp.max(0).saturating_mul(1000),
            format: Format::Kafka,
            text: envelope::text(record).map_err(DataError::engine)?,
        })
    }
}

impl Feed for TopicFeed {
    fn next(&mut self, marks: &Marks) -> Result<Vec<Record>> {
        let reader = self.reader(marks)?;
        let ends = self.ends.clone();
        let found = self.engine.block(Some(&self.cancel), async move {
            reader.read(&ends, BATCH_RECORDS_MAX, BATCH_BYTES_MAX).await
        })?;
        let mut records = Vec::with_capacity(found.len());
        for record in &found {
            let record = self.record(record)?;
            // What is at or below a mark has landed.
            if self.handed.get(&*record.partition).is_none_or(|mark| record.offset > *mark) {
                records.push(record);
            }
        }
        for record in &records {
            self.handed.insert(record.partition.to_string(), record.offset);
        }
        Ok(records)
    }
}
