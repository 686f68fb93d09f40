//! How is a call refused? With the codes, HTTP statuses and words that MLflow's clients match on
//! (`mlflow/exceptions.py` of 3.17.2).

use std::io::ErrorKind;

use serde_json::{Value, json};
use sextant_core::Explain as _;
use sextant_lineage::LineageError;

use crate::MlflowError;

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A parameter is missing or wrong.
    InvalidParameter,
    /// A parameter names an attribute that there is not.
    NoAttribute,
    /// There is no such thing.
    NotFound,
    /// There is one already.
    Exists,
    /// The call cannot be done as asked.
    BadRequest,
    /// Not in this state.
    InvalidState,
    /// This server cannot do it.
    Unsupported,
    /// The disk is full.
    Full,
    /// The store failed.
    Internal,
}

impl Fault {
    /// MLflow's word, its SQL state, its class, and the HTTP status.
    const fn words(self) -> (&'static str, &'static str, &'static str, u16) {
        match self {
            Self::InvalidParameter => {
                ("INVALID_PARAMETER_VALUE", "KAM00", "INVALID_PARAMETER_VALUE", 400)
            }
            Self::NoAttribute => ("INVALID_PARAMETER_VALUE", "KAM04", "ATTRIBUTE_NOT_FOUND", 400),
            Self::NotFound => ("RESOURCE_DOES_NOT_EXIST", "KAM00", "RESOURCE_NOT_FOUND", 404),
            Self::Exists => ("RESOURCE_ALREADY_EXISTS", "KAM00", "RESOURCE_ALREADY_EXISTS", 400),
            Self::BadRequest => ("BAD_REQUEST", "KAM00", "INVALID_PARAMETER_VALUE", 400),
            Self::InvalidState => ("INVALID_STATE", "XXM00", "CLIENT_INTERNAL_ERROR", 500),
            Self::Unsupported => ("NOT_IMPLEMENTED", "", "", 501),
            Self::Full => ("RESOURCE_EXHAUSTED", "XXM00", "CLIENT_INTERNAL_ERROR", 507),
            Self::Internal => ("INTERNAL_ERROR", "XXM00", "CLIENT_INTERNAL_ERROR", 500),
        }
    }
}

/// A call that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub fault: Fault,
    /// What is wrong.
    pub message: String,
}

/// What a call gives.
pub type Answer = Result<Value, Refusal>;

impl Refusal {
    /// The status of HTTP.
    pub const fn status(&self) -> u16 {
        self.fault.words().3
    }

    /// The body.
    pub fn body(&self) -> Value {
        let (code, state, class, _) = self.fault.words();
        let mut body = json!({ "error_code": code, "message": self.message });
        for (name, word) in [("sqlstate", state), ("error_class", class)] {
            if !word.is_empty() {
                body[name] = word.into();
            }
        }
        body
    }
}

/// A parameter is wrong.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal { fault: Fault::InvalidParameter, message: message.into() }
}

/// There is no such thing.
pub(super) fn missing(message: impl Into<String>) -> Refusal {
    Refusal { fault: Fault::NotFound, message: message.into() }
}

/// This server cannot do it.
pub(super) fn unsupported(message: impl Into<String>) -> Refusal {
    Refusal { fault: Fault::Unsupported, message: message.into() }
}

/// There is one already.
pub(super) fn exists(message: impl Into<String>) -> Refusal {
    Refusal { fault: Fault::Exists, message: message.into() }
}

/// What failed inside is named by its code alone: its words may hold statements of the catalog.
impl From<MlflowError> for Refusal {
    fn from(error: MlflowError) -> Self {
        let code = error.code();
        if let MlflowError::Store(LineageError::Io { source, .. }) = &error
            && matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        {
            let message = "the disk of the server is full: nothing of this was stored".to_owned();
            return Self { fault: Fault::Full, message };
        }
        Self { fault: Fault::Internal, message: format!("{code}: {}", code.title) }
    }
}

impl From<LineageError> for Refusal {
    fn from(error: LineageError) -> Self {
        MlflowError::from(error).into()
    }
}
