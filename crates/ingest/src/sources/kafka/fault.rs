//! What can go wrong between a topic and us? Each fault with what the user can do about it.

use sextant_core::{Code, ExitKind};

/// Why a topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFault {
    /// No broker answers.
    #[error("no broker of Kafka answers at {brokers}: {reason}")]
    Unreachable {
        /// The addresses.
        brokers: String,
        /// What was tried last.
        reason: String,
    },
    /// There is no such topic.
    #[error("Kafka has no topic `{topic}`")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// The broker does not let us in, or not to this topic.
    #[error("Kafka refuses us: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
    /// The broker has deleted records that were not read yet.
    #[error(
        "records of {partition} are gone before they were read: offsets {wanted} to {}",
        first - 1
    )]
    Lost {
        /// The partition, as `orders-0`.
        partition: String,
        /// The first offset that is missing.
        wanted: i64,
        /// The first offset that is there.
        first: i64,
    },
    /// The partition ends before what has landed of it.
    #[error("{partition} ends at offset {end}, but offset {landed} has landed from it")]
    Shorter {
        /// The partition, as `orders-0`.
        partition: String,
        /// Where it ends.
        end: i64,
        /// The last offset that has landed.
        landed: i64,
    },
    /// The schema registry does not answer as one.
    #[error("the schema registry at {url} cannot be asked: {reason}")]
    Registry {
        /// Its address.
        url: String,
        /// What was tried last.
        reason: String,
    },
    /// The schema registry does not let us in.
    #[error("the schema registry at {url} refuses us: {reason}")]
    RegistryRefused {
        /// Its address.
        url: String,
        /// In its words.
        reason: String,
    },
    /// Anything else that Kafka or its client says.
    #[error("Kafka failed: {reason}")]
    Failed {
        /// In its words.
        reason: String,
    },
}

static UNREACHABLE: Code = Code {
    number: 3040,
    kind: ExitKind::Unavailable,
    title: "Kafka cannot be reached",
    help: "No broker answered in time, or the partitions have no leader. Nothing was lost: what has \
           landed stays, and the next build goes on behind it. Check `brokers` in the source's file \
           and that the addresses which the brokers advertise can be reached from here.",
};
static NO_TOPIC: Code = Code {
    number: 3041,
    kind: ExitKind::NotFound,
    title: "no such topic in Kafka",
    help: "The brokers know no topic of this name, or this user may not see it. Sextant never makes \
           a topic.",
};
static REFUSED: Code = Code {
    number: 3042,
    kind: ExitKind::Auth,
    title: "Kafka refuses the user",
    help: "The name or the password is wrong, the mechanism is not the one the broker wants, the \
           certificate is not trusted, or the user may not read the topic. Check [security] in the \
           source's file and the variables that it names.",
};
static LOST: Code = Code {
    number: 3043,
    kind: ExitKind::Conflict,
    title: "records of Kafka are gone before they were read",
    help: "The broker deletes records after the topic's retention, and it has deleted some that no \
           build had read; or the topic was deleted and made again, and is shorter than what has \
           landed. This is a loss of data, so the build stops. Build more often or keep records \
           longer. `on_lost = \"skip\"` goes on with the first record that is there and notes the \
           gap; a topic that was made again needs a source of another name.",
};
static FAILED: Code = Code {
    number: 3044,
    kind: ExitKind::Failure,
    title: "Kafka failed",
    help: "The broker or the client reported a fault that has no code of its own. What has landed \
           stays, and the next build goes on behind it.",
};

static REGISTRY: Code = Code {
    number: 3045,
    kind: ExitKind::Unavailable,
    title: "the schema registry cannot be reached",
    help: "A record names a schema that is not kept here, and the registry did not give it: it is \
           down, slow, or no schema registry. No record was set aside for this. What has landed \
           stays, and the next build goes on behind it. Check `registry` in the source's file.",
};
static REGISTRY_REFUSED: Code = Code {
    number: 3046,
    kind: ExitKind::Auth,
    title: "the schema registry refuses the user",
    help: "The name, the password or the token is wrong, a variable that the file names is not set, \
           or the user may not read the schema. Check [registry_auth] in the source's file.",
};

/// The codes of this source.
pub(crate) const CODES: [&Code; 7] =
    [&UNREACHABLE, &NO_TOPIC, &REFUSED, &LOST, &FAILED, &REGISTRY, &REGISTRY_REFUSED];

impl KafkaFault {
    pub(crate) fn code(&self) -> &'static Code {
        match self {
            Self::Unreachable { .. } => &UNREACHABLE,
            Self::NoTopic { .. } => &NO_TOPIC,
            Self::Refused { .. } => &REFUSED,
            Self::Lost { .. } | Self::Shorter { .. } => &LOST,
            Self::Registry { .. } => &REGISTRY,
            Self::RegistryRefused { .. } => &REGISTRY_REFUSED,
            Self::Failed { .. } => &FAILED,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Lost { .. } => "write on_lost = \"skip\" to go on with what is there",
            Self::Shorter { .. } => {
                "the topic was made again or cut off: give the source another name"
            }
            Self::NoTopic { .. } => "make the topic, or repair `topic` in the source's file",
            Self::Refused { .. } => "check [security] and the variables that it names",
            Self::RegistryRefused { .. } => "check [registry_auth] and the variables that it names",
            Self::Unreachable { .. } | Self::Registry { .. } | Self::Failed { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
