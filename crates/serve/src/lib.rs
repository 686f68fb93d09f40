//! Layer 5: who may ask now, and how is a model elsewhere asked?
//!
//! [`Admission`] bounds what runs and what waits, and sheds the rest with a time to come back.
//! [`Upstream`] speaks to an OpenAI-compatible endpoint, [`Outbound`] to addresses that users named. This crate must not know retrieval,
//! prompts, lineage, or the HTTP server that uses it.

#![deny(missing_docs)]

mod admission;
mod error;
mod outbound;
mod reply;
mod sse;
mod upstream;

pub use admission::{Admission, AdmissionOptions, Load, Permit};
pub use error::{CODES, ServeError};
pub use outbound::{NotSent, Outbound, Sent};
pub use upstream::{ApiKey, ChatMessage, Timeouts, Upstream, UpstreamCompletion, UpstreamOptions};
