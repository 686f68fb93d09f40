//! The composition root: one [`App`] over a project folder, used alike by the command line and the
//! server. Every command, button and API call is one [`Op`] with a JSON result.
//!
//! Here, and only here, layers meet: each file in `plug/` puts one layer's ability into another
//! layer's port. This crate must not know HTTP, terminals or pages.

#![deny(missing_docs)]

mod answer;
mod app;
mod arrivals;
mod chain;
mod doctor;
mod error;
mod explain;
mod landing;
mod mlflow;
mod op;
mod own_docs;
mod plug;
mod queries;
mod releases;
mod replay;
mod serving;
mod sources;
mod tables;
mod template;
mod watch;
mod webhooks;
mod why;

pub use answer::ChatAsk;
pub use app::{App, OpenProject, data_dir, find_project, is_held};
pub use error::{AppError, CODES};
pub use explain::{explain, register_codes};
pub use mlflow::MlflowCall;
pub use op::Op;
pub use sextant_ingest::{Accepted, PushBody, PushReply};
pub use sextant_mlflow::{Reply as MlflowAnswer, SpansBody};
pub use template::{init, init_demo, manual_pages};
