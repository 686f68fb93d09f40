//! The vocabulary of Sextant: ids, nouns, error codes, limits, and the clock seam.
//!
//! Everything here is pure data. This crate must not know IO, async, or any layer, so that every
//! other crate can speak about digests, activities and errors without dragging in a database.

#![deny(missing_docs)]

mod canonical;
mod clock;
mod digest;
mod fault;
mod gate;
mod ids;
pub mod kinds;
pub mod limits;
mod progress;

pub use canonical::canonical_json;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use digest::{Digest, DigestHasher, ParseDigestError};
pub use fault::{Code, ExitKind, Explain, Failure, Place};
pub use gate::Gatekeeper;
pub use ids::{ActivityId, Name, ParseIdError};
pub use kinds::{ActivityKind, ArtifactKind, EdgeKind};
pub use progress::{Cancel, Event, Events, Level, Silent};
