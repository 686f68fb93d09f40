//! What can go wrong while a request is admitted or a model elsewhere is asked?

use std::time::Duration;

use sextant_core::{Code, ExitKind, Explain, Place};

/// An error of admission or of an upstream model.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The upstream's address or settings make no sense.
    #[error("the upstream `{base_url}` cannot be used: {reason}")]
    Configuration {
        /// Its address.
        base_url: String,
        /// Why.
        reason: String,
    },
    /// The environment variable that should hold the key is not set.
    #[error("the environment variable `{0}` with the upstream's key is not set")]
    MissingKey(String),
    /// The upstream cannot be reached.
    #[error("the upstream {base_url} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        base_url: String,
        /// Why.
        reason: String,
    },
    /// The upstream took too long.
    #[error("the upstream {base_url} took too long: {phase} within {seconds} s")]
    Slow {
        /// Its address.
        base_url: String,
        /// What did not happen in time.
        phase: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// The upstream refused the request.
    #[error("the upstream {base_url} answered {status}: {message}")]
    Refused {
        /// Its address.
        base_url: String,
        /// The HTTP status.
        status: u16,
        /// What it said, shortened.
        message: String,
        /// When it asked to come back.
        retry_after: Option<Duration>,
    },
    /// The upstream's reply is not what the protocol says.
    #[error("the upstream {base_url} sent a reply that cannot be read: {reason}")]
    BadReply {
        /// Its address.
        base_url: String,
        /// Why.
        reason: String,
    },
    /// The upstream broke off in the middle of an answer.
    #[error("the upstream {base_url} broke off after {bytes} bytes of the answer: {reason}")]
    BrokeOff {
        /// Its address.
        base_url: String,
        /// How much had come.
        bytes: usize,
        /// Why.
        reason: String,
    },
    /// The caller stopped waiting.
    #[error("the request was cancelled")]
    Cancelled,
    /// Too many requests run and wait.
    #[error("too many requests: {running} run and {waiting} wait")]
    Overloaded {
        /// How many run.
        running: usize,
        /// How many wait.
        waiting: usize,
        /// When to come back.
        retry_after: Duration,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

impl ServeError {
    /// When the caller should come back; for the header `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Draining => Some(Duration::from_secs(5)),
            _ => None,
        }
    }

    /// Whether the same request may well succeed when it is sent again.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }
}

const CONFIGURATION: Code = Code {
    number: 6201,
    kind: ExitKind::Usage,
    title: "the settings of an upstream model make no sense",
    help: "base_url is the address up to and with /v1, such as http://127.0.0.1:8000/v1.",
};
const MISSING_KEY: Code = Code {
    number: 6202,
    kind: ExitKind::Unavailable,
    title: "the key of an upstream model is not set",
    help: "Set the environment variable that api_key_env names before the server is started.",
};
const UNREACHABLE: Code = Code {
    number: 6203,
    kind: ExitKind::Unavailable,
    title: "the upstream model cannot be reached",
    help: "Check base_url and that the endpoint runs. It was tried again a few times.",
};
const SLOW: Code = Code {
    number: 6204,
    kind: ExitKind::Unavailable,
    title: "the upstream model took too long",
    help: "Raise timeout_s of the generator, ask for fewer tokens, or give the model more room.",
};
const REFUSED: Code = Code {
    number: 6205,
    kind: ExitKind::Unavailable,
    title: "the upstream model refused the request",
    help: "The message is the upstream's own. 401 or 403: check the key. 404: check model and \
           base_url. 429: it is overloaded or a quota is used up.",
};
const BAD_REPLY: Code = Code {
    number: 6206,
    kind: ExitKind::Unavailable,
    title: "the upstream model sent a reply that cannot be read",
    help: "The endpoint must speak the OpenAI chat completions protocol.",
};
const BROKE_OFF: Code = Code {
    number: 6207,
    kind: ExitKind::Unavailable,
    title: "the upstream model broke off in the middle of an answer",
    help: "Nothing is sent again once words have been passed on. Ask again.",
};
const CANCELLED: Code = Code {
    number: 6208,
    kind: ExitKind::Failure,
    title: "the request was cancelled",
    help: "The caller closed the connection or stopped the command.",
};
const OVERLOADED: Code = Code {
    number: 6209,
    kind: ExitKind::Unavailable,
    title: "too many requests at once",
    help: "Come back after the time in Retry-After. The limits are server settings.",
};
const DRAINING: Code = Code {
    number: 6210,
    kind: ExitKind::Unavailable,
    title: "the server is shutting down",
    help: "It finishes what it accepted and takes nothing new. Come back when it runs again.",
};

/// Every code of this crate.
pub const CODES: &[&Code] = &[
    &CONFIGURATION,
    &MISSING_KEY,
    &UNREACHABLE,
    &SLOW,
    &REFUSED,
    &BAD_REPLY,
    &BROKE_OFF,
    &CANCELLED,
    &OVERLOADED,
    &DRAINING,
];

impl Explain for ServeError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Configuration { .. } => &CONFIGURATION,
            Self::MissingKey(_) => &MISSING_KEY,
            Self::Unreachable { .. } => &UNREACHABLE,
            Self::Slow { .. } => &SLOW,
            Self::Refused { .. } => &REFUSED,
            Self::BadReply { .. } => &BAD_REPLY,
            Self::BrokeOff { .. } => &BROKE_OFF,
            Self::Cancelled => &CANCELLED,
            Self::Overloaded { .. } => &OVERLOADED,
            Self::Draining => &DRAINING,
        }
    }

    fn hint(&self) -> Option<String> {
        self.retry_after().map(|after| format!("come back in {} s", after.as_secs().max(1)))
    }

    fn place(&self) -> Option<Place> {
        None
    }
}
