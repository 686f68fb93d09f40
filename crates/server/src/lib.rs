//! The one HTTP server of Sextant: UI pages, operations as JSON, and the OpenAI wire, on one port.
//!
//! The server must not know any layer. It owns a small port, [`Backend`], through which every page
//! and every call reaches the rest; it parses, asks and renders, and the rules live below.
//!
//! Secure by default: loopback only unless everyone must show a key; each route declares its
//! [`Policy`] in one visible table (`routes.rs`) or cannot be registered; the order is host and
//! origin check, authentication, authorisation, limits, body, effect.

#![deny(missing_docs)]

mod api;
mod body;
mod config;
mod error;
mod guard;
mod jobs;
mod keys;
pub mod limits;
mod listen;
mod mlflow_pages;
mod pages;
mod peer;
mod port;
mod reply;
mod routes;
mod sessions;
mod state;

pub use config::{AuthMode, ServerConfig};
pub use error::{CODES, ServerError};
pub use keys::{KeyRecord, KeyRing, Role};
pub use listen::{DISCOVERY_FILE, Discovery, Gate, Running, serve};
pub use mlflow_pages::MlflowPages;
pub use port::{
    Backend, ChatRequest, ChatTurn, Content, IngestReply, IngestRequest, MlflowFile, MlflowReply,
    MlflowRequest, OtlpBody, OtlpReply, OtlpRequest, PinnedRelease,
};
pub use routes::{Policy, RouteInfo, route_table};
