//! What does a client of MLflow ask, and what is it answered? Experiments, runs, parameters, tags,
//! metrics and traces, with the fields, refusals and orders of `mlflow` 3.17.2, which is the reference.
//!
//! What a client logs is durable before it is answered, and a point, a parameter or a tag that is sent
//! again changes nothing: clients repeat such calls when they got no answer. Metric points go to the durable log alone; what lists
//! need of them reaches the catalog with the next question, or after some thousand points.

#![deny(missing_docs)]

mod batch;
mod call;
mod error;
mod experiments;
mod fields;
mod history;
mod metrics;
mod names;
mod point;
mod refusal;
mod runs;
mod schema;
mod search;
#[cfg(test)]
mod tests;
mod traces;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sextant_core::ActivityKind;
use sextant_lineage::{Act, Store};

pub use call::{Call, Found, find};
pub use error::{CODES, MlflowError};
pub use fields::Fields;
use metrics::Metrics;
pub use refusal::{Answer, Fault, Refusal};
pub use traces::{SpansBody, SpansRefused};

/// The version of MLflow whose wire is spoken.
pub const REFERENCE: &str = "3.17.2";

/// Answers clients of MLflow. Clones share the store.
#[derive(Debug, Clone)]
pub struct Mlflow(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    metrics: Metrics,
    bodies: traces::Bodies,
    /// Held by whoever looks at rows and then changes them.
    changing: Mutex<()>,
}

impl Mlflow {
    /// Opens the store's part of it and makes its tables when they are not there.
    ///
    /// # Errors
    /// When the store refuses, or its points cannot be read.
    pub fn open(store: &Store) -> Result<Self, MlflowError> {
        store.migrate("mlflow", schema::MIGRATIONS)?;
        store.migrate("mlflow_traces", traces::MIGRATIONS)?;
        let metrics = Metrics::open(store)?;
        let bodies = traces::Bodies::open(store)?;
        let (store, changing) = (store.clone(), Mutex::default());
        let mlflow = Self(Arc::new(Inner { store, metrics, bodies, changing }));
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
