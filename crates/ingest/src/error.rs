//! What can go wrong while data arrives, and what a user can do about it. Faults that the data layer
//! knows keep its names; the others are here, and travel inside of them.

use sextant_core::{Code, ExitKind, Explain, Failure, Place};
pub(crate) use sextant_data::{DataError, Result};
use sextant_project::AssetId;

use crate::sources::{
    ADBC_CODES, AdbcFault, KAFKA_CODES, KafkaFault, POSTGRES_CODES, PostgresFault,
};

/// An error of a source.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A table in which data should arrive was written by something else.
    #[error("the table of {asset} was not made by a source of this kind")]
    Foreign {
        /// The source.
        asset: AssetId,
    },
    /// A column cannot have the type that the user's schema gives it.
    #[error("the column `{column}` of {asset} has values that are not {wanted}")]
    Retype {
        /// The source.
        asset: AssetId,
        /// The column.
        column: String,
        /// The type wanted.
        wanted: String,
        /// The first value that does not fit.
        reason: String,
    },
    /// What was pushed cannot be understood.
    #[error("{message}")]
    Push {
        /// What is wrong.
        message: String,
    },
    /// An idempotency key came again with another body.
    #[error("the idempotency key was used before, with another body")]
    KeyReused,
    /// A topic of Kafka cannot be read.
    #[error(transparent)]
    Kafka(#[from] KafkaFault),
    /// A table of PostgreSQL cannot be read.
    #[error(transparent)]
    Postgres(#[from] PostgresFault),
    /// A warehouse cannot be read or written.
    #[error(transparent)]
    Adbc(#[from] AdbcFault),
}

static FOREIGN: Code = Code {
    number: 3020,
    kind: ExitKind::Conflict,
    title: "a table that was made in another way",
    help: "A source that adds to its table keeps an account in the table's log, and this table has \
           none: it was made when the source had another type. Give the source another name, or \
           move its folder under `.sextant/tables` away and build again.",
};
static RETYPE: Code = Code {
    number: 3023,
    kind: ExitKind::Usage,
    title: "a column cannot get another type",
    help: "The schema of the source gives a column another type than the table has, and values that \
           have landed do not fit it. The table stays as it was. Write a type that holds them all \
           (`text` holds everything).",
};
static PUSH: Code = Code {
    number: 3021,
    kind: ExitKind::Usage,
    title: "what was pushed cannot be understood",
    help: "POST /ingest/NAME takes JSON, JSON lines and CloudEvents, as the Content-Type says. \
           Nothing of the request was stored.",
};
static KEY_REUSED: Code = Code {
    number: 3022,
    kind: ExitKind::Conflict,
    title: "an idempotency key with two bodies",
    help: "A request with an idempotency key that was seen before is answered as the first one was \
           and adds nothing, so its body must be the same. Make a new key for each new request.",
};

/// The catalogue of this crate.
pub const CODES: &[&Code] = &[
    &FOREIGN,
    &RETYPE,
    &PUSH,
    &KEY_REUSED,
    KAFKA_CODES[0],
    KAFKA_CODES[1],
    KAFKA_CODES[2],
    KAFKA_CODES[3],
    KAFKA_CODES[4],
    KAFKA_CODES[5],
    KAFKA_CODES[6],
    POSTGRES_CODES[0],
    POSTGRES_CODES[1],
    POSTGRES_CODES[2],
    POSTGRES_CODES[3],
    POSTGRES_CODES[4],
    POSTGRES_CODES[5],
    POSTGRES_CODES[6],
    POSTGRES_CODES[7],
    ADBC_CODES[0],
    ADBC_CODES[1],
    ADBC_CODES[2],
    ADBC_CODES[3],
    ADBC_CODES[4],
    ADBC_CODES[5],
    ADBC_CODES[6],
    ADBC_CODES[7],
];

impl Explain for IngestError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Foreign { .. } => &FOREIGN,
            Self::Retype { .. } => &RETYPE,
            Self::Push { .. } => &PUSH,
            Self::KeyReused => &KEY_REUSED,
            Self::Kafka(fault) => fault.code(),
            Self::Postgres(fault) => fault.code(),
            Self::Adbc(fault) => fault.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Retype { reason, .. } => Some(reason.clone()),
            Self::Kafka(fault) => fault.hint(),
            Self::Postgres(fault) => fault.hint(),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        None
    }
}

impl From<IngestError> for DataError {
    fn from(error: IngestError) -> Self {
        Self::Source(Failure::from(error))
    }
}

impl From<AdbcFault> for DataError {
    fn from(fault: AdbcFault) -> Self {
        IngestError::Adbc(fault).into()
    }
}

impl From<KafkaFault> for DataError {
    fn from(fault: KafkaFault) -> Self {
        IngestError::Kafka(fault).into()
    }
}

impl From<PostgresFault> for DataError {
    fn from(fault: PostgresFault) -> Self {
        IngestError::Postgres(fault).into()
    }
}

/// A place where the torture runs may stop the process: between two commits.
pub(crate) fn failpoint(name: &'static str) -> Result<()> {
    fail::fail_point!(name, |_| Err(DataError::engine(format!("failpoint {name}"))));
    #[cfg(test)]
    crate::tests::stop_at(name)?;
    let _ = name;
    Ok(())
}
