//! What is the same for every source in which records arrive? All of an asset but what it reads and
//! how: that is a [`Way`], one for each type of source.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_data::source_id;
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, BuildContext, Built, Refresh, recipe_digest,
};

use crate::{
    Ingest,
    arrival::{ColumnContract, Contract, Plan, QUARANTINE_SUFFIX, TypeName},
    error::{DataError, Result},
};

/// What every source has.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) engine: Ingest,
    pub(crate) id: AssetId,
    pub(crate) about: About,
    /// Its file, relative to the project.
    pub(crate) file: PathBuf,
}

impl Common {
    /// Of the source that this file describes. Its name must not be that of another's quarantine.
    pub(crate) fn of(engine: &Ingest, file: &AssetFile, about: About) -> Result<Self> {
        let id = source_id(file)?;
        if id.as_str().ends_with(QUARANTINE_SUFFIX) {
            let message = format!("a source's name cannot end with {QUARANTINE_SUFFIX}");
            return Err(refuse(file, message, "rename the file"));
        }
        Ok(Self { engine: engine.clone(), id, about, file: file.path.clone() })
    }
}

/// A source's file that is not understood.
pub(crate) fn refuse(
    file: &AssetFile,
    message: impl Into<String>,
    fix: impl Into<String>,
) -> DataError {
    DataError::Config { place: file.place(None, None), message: message.into(), fix: fix.into() }
}

/// The contract of a source, when its file is understood.
pub(crate) fn contract(
    file: &AssetFile,
    columns: &BTreeMap<String, ColumnContract>,
    schema: &BTreeMap<String, TypeName>,
) -> Result<Contract> {
    Contract::of(columns, schema).map_err(|(message, fix)| refuse(file, message, fix))
}

/// A way in: what one type of source reads, and how it lands.
pub(crate) trait Way: Send + Sync + 'static {
    fn common(&self) -> &Common;

    /// What it lands, and by which rules.
    fn plan(&self) -> Plan;

    /// The settings that decide what the table holds. Another value makes the source stale.
    fn recipe(&self) -> Value;

    /// What there is to read now. Another value makes the source stale.
    fn seen(&self) -> Result<Value>;

    /// Lands it and records the result; `recipe` is the digest of the settings.
    fn build(&self, recipe: Digest, context: &BuildContext<'_>, act: &mut Act) -> Result<Built>;
}

/// A way in as an asset.
pub(crate) struct WayIn<W>(pub(crate) W);

impl<W: Way> Asset for WayIn<W> {
    fn id(&self) -> &AssetId {
        &self.0.common().id
    }

    fn noun(&self) -> &'static str {
        "source"
    }

    fn about(&self) -> &About {
        &self.0.common().about
    }

    fn file(&self) -> &Path {
        &self.0.common().file
    }

    fn inputs(&self) -> Vec<AssetId> {
        Vec::new()
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&self.0.recipe()))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        let replays = self.0.common().engine.replays(&self.0.plan())?;
        let seen = json!([self.0.seen()?, replays]);
        Ok(Some(Digest::of(seen.to_string())))
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        Ok(self.0.build(self.recipe()?, context, act)?)
    }
}
