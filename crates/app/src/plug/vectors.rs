//! Trained models, for retrieval's embedder port. Models stay loaded between calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use sextant_compute::materialise;
use sextant_core::{Digest, Failure};
use sextant_lineage::Store;
use sextant_models::Embedder;
use sextant_retrieve::{Embedders, TextEmbedder};

use crate::AppError;

/// Models that stay loaded.
const LOADED_MAX: usize = 4;

/// Opens the embedder of a model version.
pub struct TrainedEmbedders {
    store: Store,
    loaded: Mutex<HashMap<Digest, Arc<Loaded>>>,
}

impl TrainedEmbedders {
    /// Embedders of the models of this store.
    pub fn new(store: Store) -> Self {
        Self { store, loaded: Mutex::default() }
    }
}

struct Loaded {
    digest: Digest,
    embedder: Embedder,
}

impl Embedders for TrainedEmbedders {
    fn open(&self, model_meta: &Value) -> Result<Arc<dyn TextEmbedder>, Failure> {
        let incomplete = |missing| AppError::Incomplete { what: "a model version".into(), missing };
        let digest: Digest = model_meta["model"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| incomplete("its digest"))?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = loaded.get(&digest) {
            return Ok(found.clone());
        }
        if loaded.len() >= LOADED_MAX {
            loaded.clear();
        }
        // From the bytes that its digest names, whatever happened to the folder since it was built.
        let embedder = Embedder::load(&materialise(&self.store, &digest)?)?;
        let model = Arc::new(Loaded { digest, embedder });
        loaded.insert(digest, model.clone());
        Ok(model)
    }
}

impl TextEmbedder for Loaded {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn dim(&self) -> usize {
        self.embedder.dim()
    }

    fn pooling(&self) -> &str {
        "mean"
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure> {
        Ok(self.embedder.embed(texts)?)
    }
}
