//! What does a client of MLflow ask, and what is it answered? Experiments, runs, parameters, tags,
//! metrics, artifacts, models, prompts and traces, with the fields, refusals and orders of `mlflow` 3.17.2,
//! which is the reference.
//!
//! What a client logs is durable before it is answered, and a point, a parameter or a tag that is sent
//! again changes nothing: clients repeat such calls when they got no answer. Metric points go to the durable log alone; what lists
//! need of them reaches the catalog with the next question, or after some thousand points.

#![deny(missing_docs)]

mod artifacts;
mod batch;
mod best;
mod call;
mod chain;
mod error;
mod experiments;
mod fields;
mod graphql;
mod history;
mod inputs;
mod metrics;
mod models;
mod names;
mod pages;
mod point;
mod refusal;
mod registry;
mod runs;
mod schema;
mod search;
mod table;
#[cfg(test)]
mod tests;
mod traces;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sextant_core::ActivityKind;
use sextant_lineage::{Act, Store};

use artifacts::Uploads;

pub use artifacts::Opened;
pub use best::{BestRun, Checkpoint, MatchBy};
pub use call::{Call, Found, Reply, find};
pub use chain::is_named;
pub use error::{CODES, MlflowError};
pub use fields::Fields;
use metrics::Metrics;
pub use refusal::{Answer, Fault, Refusal};
pub use traces::{SpansBody, SpansRefused};
pub use webhooks::{Message, NotPosted, Post, Posted};

/// The version of MLflow whose wire is spoken.
pub const REFERENCE: &str = "3.17.2";

/// Answers clients of MLflow. Clones share the store.
#[derive(Debug, Clone)]
pub struct Mlflow(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    metrics: Metrics,
    uploads: Uploads,
    bodies: traces::Bodies,
    /// Held by whoever looks at rows and then changes them.
    changing: Mutex<()>,
    /// The way out for messages to webhooks.
    post: OnceLock<Arc<dyn Post>>,
}

impl Mlflow {
    /// Opens the store's part of it and makes its tables when they are not there.
    ///
    /// # Errors
    /// When the store refuses, or its points cannot be read.
    pub fn open(store: &Store) -> Result<Self, MlflowError> {
        store.migrate("mlflow", schema::MIGRATIONS)?;
        store.migrate("mlflow_models", models::MIGRATIONS)?;
        store.migrate("mlflow_artifacts", artifacts::MIGRATIONS)?;
        store.migrate("mlflow_traces", traces::MIGRATIONS)?;
        let metrics = Metrics::open(store)?;
        let mlflow = Self(Arc::new(Inner {
            store: store.clone(),
            metrics,
            uploads: Uploads::default(),
            bodies: traces::Bodies::open(store)?,
            changing: Mutex::default(),
            post: OnceLock::new(),
        }));
        mlflow.open_registry()?;
        mlflow.open_webhooks()?;
        mlflow.make_default_experiment()?;
        mlflow.forget_spans()?;
        Ok(mlflow)
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    /// The turn of whoever looks at rows and then changes them.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, label: impl Into<String>) -> Act {
        self.store().begin(ActivityKind::Author, label)
    }

    /// Milliseconds since 1970, as MLflow counts time.
    fn now(&self) -> i64 {
        self.store().now().micros() / 1000
    }
}
