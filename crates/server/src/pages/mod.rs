//! What does a person see? Server-rendered pages: each asks the backend for JSON, reads it into a
//! view with defaults for all that is missing, and renders. No page changes anything by GET.

pub(crate) mod ask;
pub(crate) mod assets;
pub(crate) mod docs;
mod frame;
mod graph;
pub(crate) mod home;
mod icons;
pub(crate) mod login;
mod quarantine;
pub(crate) mod releases;
pub(crate) mod runs;
pub(crate) mod sources;
pub(crate) mod statics;
pub(crate) mod tables;
pub(crate) mod tracking;
mod tree;
mod ui;
pub(crate) mod version;
mod views;

pub(crate) use frame::{Theme, error_page};
