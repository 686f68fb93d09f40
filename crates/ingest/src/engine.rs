//! Who lands what arrives? [`Ingest`]: the engine of the data layer, with the logs of what is pushed
//! that are open in this process.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sextant_data::DataEngine;
use sextant_project::AssetId;

use crate::{catalog, error::Result, sources::PushLog};

/// Lands what arrives in tables. Clones share everything.
#[derive(Clone, Debug)]
pub struct Ingest {
    engine: DataEngine,
    pushes: Arc<Mutex<BTreeMap<AssetId, Arc<PushLog>>>>,
    /// Up to where each topic was read in this process, by partition.
    read_ends: Arc<Mutex<BTreeMap<AssetId, Ends>>>,
}

/// An offset for each partition.
type Ends = BTreeMap<String, i64>;

impl Ingest {
    /// Over the tables of this engine.
    ///
    /// # Errors
    /// When its rows in the catalog cannot be made.
    pub fn new(engine: DataEngine) -> Result<Self> {
        engine.store().migrate("ingest", catalog::MIGRATIONS)?;
        Ok(Self { engine, pushes: Arc::default(), read_ends: Arc::default() })
    }

    /// The lock that whoever lands this source holds.
    pub(crate) fn arrival_lock(&self, asset: &AssetId) -> Arc<Mutex<()>> {
        self.engine.lock_of("land", asset)
    }

    /// The open logs of sources that are pushed to.
    pub(crate) fn pushes(&self) -> MutexGuard<'_, BTreeMap<AssetId, Arc<PushLog>>> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where a topic was last read in this process.
    pub(crate) fn read_ends(&self, asset: &AssetId) -> Ends {
        let ends = self.read_ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(asset).cloned().unwrap_or_default()
    }

    /// Remembers that a topic was read up to here.
    pub(crate) fn set_read_ends(&self, asset: &AssetId, read: Ends) {
        let mut ends = self.read_ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.insert(asset.clone(), read);
    }
}

impl Deref for Ingest {
    type Target = DataEngine;

    fn deref(&self) -> &DataEngine {
        &self.engine
    }
}
