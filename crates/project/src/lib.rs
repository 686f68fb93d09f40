//! The project folder as a graph of assets: what is stale, why, in which order it is made, and
//! what is released.
//!
//! This crate must not know any layer: it sees files, digests and the trait [`Asset`]. It must not
//! know HTTP or an async runtime either: the executor is a pool of plain threads.

#![deny(missing_docs)]

mod asset;
mod codes;
pub mod config;
mod error;
pub mod executor;
pub mod graph;
mod project;
pub mod release;
pub mod state;
mod suggest;
#[cfg(test)]
mod tests;

pub use asset::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, InputVersion, Refresh,
    recipe_digest,
};
pub use codes::CODES;
pub use config::{
    Config, Secret, SecretRef, expand, load_config, parse_asset_toml, parse_toml_part,
};
pub use error::{ConfigError, GraphError, ProjectError, ReleaseError};
pub use executor::{AssetReport, BuildOptions, BuildReport, BuildTurn, Outcome, build};
pub use graph::{Graph, Selection};
pub use project::Project;
pub use release::{
    Gate, GateVerdict, Part, ReleaseManifest, ReleaseRow, ReleaseSpec, Role, Rule, RuleResult,
};
pub use state::{AssetStatus, State, VersionRow};
pub use suggest::nearest;

/// The steps that make this crate's tables, in order.
///
/// # Errors
/// When the catalog refuses a step.
pub fn migrate(store: &sextant_lineage::Store) -> Result<(), sextant_core::Failure> {
    Ok(store.migrate("project", state::MIGRATIONS)?)
}
