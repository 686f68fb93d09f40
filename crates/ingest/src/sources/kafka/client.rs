//! What do we ask of a client of Kafka? Which partitions a topic has, where they begin and end, and
//! their committed records from an offset on. This is the only file that knows the client's calls.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use krafka::{
    ConsumerRecord, Kafka, KrafkaError,
    admin::{AlterConsumerGroupOffsetsOptions, ListOffsetsOptions, OffsetSpec, TopicPartition},
    auth::AuthConfig,
    consumer::{AutoOffsetReset, Consumer, IsolationLevel},
    error::ErrorCode,
};

use super::fault::KafkaFault;
use crate::error::{DataError, Result};

/// How long a broker may take to take up a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How long one poll waits for records.
const POLL: Duration = Duration::from_millis(500);
/// How long a partition may give nothing before its end: a broker restarts in less.
const STALL: Duration = Duration::from_secs(60);
/// Most records that one poll gives.
const POLL_RECORDS_MAX: usize = 25_000;
/// Most records that the client holds. What an answer has beyond this is thrown away and asked for
/// again, so it is more than an answer of small, compressed records has.
const HELD_RECORDS_MAX: usize = 100_000;
/// Most bytes of one answer, and of one partition in it.
const FETCH_BYTES_MAX: i32 = 4 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;

/// A position in each partition.
pub(crate) type Offsets = BTreeMap<i32, i64>;

/// A topic, connected.
pub(crate) struct Topic {
    kafka: Kafka,
    pub(crate) name: String,
    brokers: String,
    partitions: Vec<i32>,
}

impl Topic {
    /// Connects and looks up the partitions.
    pub(crate) async fn open(
        brokers: &[String],
        name: &str,
        auth: Option<AuthConfig>,
    ) -> Result<Self> {
        let brokers = brokers.join(",");
        let fault = |error| fault(&error, name, &brokers);
        let mut builder = Kafka::builder(brokers.clone())
            .client_id("sextant")
            .connect_timeout(CONNECT)
            .request_timeout(ANSWER)
            .allow_auto_create_topics(false);
        if let Some(auth) = auth {
            builder = builder.security(auth);
        }
        let kafka = builder.connect().await.map_err(fault)?;
        let consumer = kafka.consumer_without_group().build().await.map_err(fault)?;
        let found = consumer.fetch_metadata(Some(name)).await.map_err(fault);
        // Nothing was read with it: an error here has nothing to say.
        consumer.close().await.ok();
        let topic = found?.topics.into_iter().find(|topic| topic.name == name);
        let mut partitions: Vec<i32> =
            topic.map(|topic| topic.partitions.into_keys().collect()).unwrap_or_default();
        partitions.sort_unstable();
        if partitions.is_empty() {
            return Err(KafkaFault::NoTopic { topic: name.to_owned() }.into());
        }
        Ok(Self { kafka, name: name.to_owned(), brokers, partitions })
    }

    /// The first offset that is there, of each partition.
    pub(crate) async fn firsts(&self) -> Result<Offsets> {
        self.offsets(OffsetSpec::Earliest).await
    }

    /// The offset behind the last record that no open transaction stands before.
    pub(crate) async fn ends(&self) -> Result<Offsets> {
        self.offsets(OffsetSpec::Latest).await
    }

    async fn offsets(&self, which: OffsetSpec) -> Result<Offsets> {
        let wanted = self.partitions.iter().map(|partition| (self.place(*partition), which));
        let options = ListOffsetsOptions::default().timeout(ANSWER).read_committed(true);
        let found = self.kafka.admin().list_offsets(wanted, options).await;
        let found = found.map_err(|error| self.fault(&error))?;
        let mut offsets = Offsets::new();
        for (place, offset) in found {
            let offset = offset.map_err(|error| self.fault(&error))?;
            offsets.insert(place.partition, offset.offset);
        }
        match self.partitions.iter().find(|partition| !offsets.contains_key(partition)) {
            None => Ok(offsets),
            Some(partition) => {
                let reason = format!("it told no offset of partition {partition}");
                Err(KafkaFault::Failed { reason }.into())
            }
        }
    }

    fn place(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.name.clone(), partition)
    }

    fn fault(&self, error: &KrafkaError) -> DataError {
        fault(error, &self.name, &self.brokers)
    }

    /// Begins to read at these offsets.
    pub(crate) async fn reader(&self, from: &Offsets) -> Result<Reader> {
        let starts = from.iter().map(|(partition, offset)| (self.place(*partition), *offset));
        let fault = |error| self.fault(&error);
        let consumer = self
            .kafka
            .consumer_without_group()
            .isolation_level(IsolationLevel::ReadCommitted)
            .auto_offset_reset(AutoOffsetReset::None)
            .enable_auto_commit(false)
            .metrics_push(false)
            .max_poll_records(i32::try_from(POLL_RECORDS_MAX).unwrap_or(i32::MAX))
            .max_buffered_records(i32::try_from(HELD_RECORDS_MAX).unwrap_or(i32::MAX))
            .fetch_max_bytes(FETCH_BYTES_MAX)
            .max_partition_fetch_bytes(PARTITION_BYTES_MAX)
            .initial_offsets(starts)
            .build()
            .await
            .map_err(fault)?;
        let partitions = from.keys().copied().collect();
        consumer.assign(&self.name, partitions).await.map_err(fault)?;
        let (topic, brokers) = (self.name.clone(), self.brokers.clone());
        Ok(Reader { consumer, topic, brokers, spare: Mutex::default() })
    }

    /// Writes down where a group stands, for those who watch its lag.
    pub(crate) async fn report(&self, group: &str, next: Offsets) -> Result<()> {
        let offsets = next.into_iter().map(|(partition, offset)| (self.place(partition), offset));
        let options = AlterConsumerGroupOffsetsOptions::default().timeout(ANSWER);
        let done = self.kafka.admin().alter_consumer_group_offsets(group, offsets, options).await;
        for outcome in done.map_err(|error| self.fault(&error))?.into_values() {
            outcome.map_err(|error| self.fault(&error))?;
        }
        Ok(())
    }
}

/// Reads committed records.
pub(crate) struct Reader {
    consumer: Consumer,
    topic: String,
    brokers: String,
    /// What the last poll gave beyond the batch.
    spare: Mutex<Vec<ConsumerRecord>>,
}

impl Reader {
    /// Records before `ends`, at most so many or so large, oldest first within a partition; none
    /// when all is read.
    pub(crate) async fn read(
        &self,
        ends: &Offsets,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<ConsumerRecord>> {
        let mut found = std::mem::take(&mut *self.spare());
        let mut bytes = found.iter().map(size).sum::<usize>();
        let mut moved = Instant::now();
        while found.len() < records_max && bytes < bytes_max {
            let open = self.open_partitions(ends).await;
            if open == 0 {
                break;
            }
            match self.consumer.poll(POLL).await {
                Ok(records) => {
                    if !records.is_empty() || self.open_partitions(ends).await < open {
                        moved = Instant::now();
                    }
                    let wanted = |record: &ConsumerRecord| {
                        ends.get(&record.partition).is_some_and(|end| record.offset < *end)
                    };
                    let records = records.into_iter().filter(wanted);
                    found.extend(records.inspect(|record| bytes += size(record)));
                }
                // A broker that restarts is waited for.
                Err(error) if error.is_retriable() && moved.elapsed() < STALL => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => return Err(fault(&error, &self.topic, &self.brokers)),
            }
            if moved.elapsed() > STALL {
                let reason = format!("nothing came for {} s", STALL.as_secs());
                let brokers = self.brokers.clone();
                return Err(KafkaFault::Unreachable { brokers, reason }.into());
            }
        }
        if found.len() > records_max {
            *self.spare() = found.split_off(records_max);
        }
        Ok(found)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<ConsumerRecord>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many partitions are not read to their end. Those that are get no more requests.
    async fn open_partitions(&self, ends: &Offsets) -> usize {
        let mut open = 0;
        for (partition, end) in ends {
            // An offset can end in records that nobody is shown: the position moves past them.
            match self.consumer.position(&self.topic, *partition).await {
                Some(position) if position >= *end => {
                    self.consumer.pause(&self.topic, &[*partition]).await;
                }
                _ => open += 1,
            }
        }
        open
    }
}

/// What a record holds beside its key, value and headers.
const RECORD_BYTES: usize = 100;

fn size(record: &ConsumerRecord) -> usize {
    let part = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + part(value));
    part(&record.key) + part(&record.value) + headers.sum::<usize>() + RECORD_BYTES
}

/// What the client's error means to the user.
fn fault(error: &KrafkaError, topic: &str, brokers: &str) -> DataError {
    let reason = error.to_string();
    let brokers = brokers.to_owned();
    match error {
        KrafkaError::Auth { .. } => KafkaFault::Refused { reason },
        KrafkaError::UnknownTopic { .. } => KafkaFault::NoTopic { topic: topic.to_owned() },
        KrafkaError::Network(_) | KrafkaError::Timeout { .. } => {
            KafkaFault::Unreachable { brokers, reason }
        }
        KrafkaError::Broker { code, .. } => match code {
            ErrorCode::UnknownTopicOrPartition | ErrorCode::InvalidTopic => {
                KafkaFault::NoTopic { topic: topic.to_owned() }
            }
            ErrorCode::TopicAuthorizationFailed
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::UnsupportedSaslMechanism
            | ErrorCode::IllegalSaslState
            | ErrorCode::SaslAuthenticationFailed => KafkaFault::Refused { reason },
            code if code.is_retriable() => KafkaFault::Unreachable { brokers, reason },
            _ => KafkaFault::Failed { reason },
        },
        KrafkaError::NoOffset { .. } => KafkaFault::Failed {
            reason: "records were deleted while they were read; build again".to_owned(),
        },
        _ => KafkaFault::Failed { reason },
    }
    .into()
}
