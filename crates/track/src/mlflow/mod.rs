//! What does a client of MLflow ask, and what is it answered? Experiments, runs, parameters, tags and
//! metrics, with the fields, refusals and orders of `mlflow` 3.17.2, which is the reference.
//!
//! What a client logs is durable before it is answered, and a point, a parameter or a tag that is sent
//! again changes nothing: clients repeat such calls when they got no answer. Metric points go to the durable log alone; what lists
//! need of them reaches the catalog with the next question, or after some thousand points.

mod batch;
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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use sextant_core::ActivityKind;
use sextant_lineage::{Act, Store};

pub use fields::Fields;
use metrics::Metrics;
pub use refusal::{Answer, Fault, Refusal};

use crate::TrackError;

/// The version of MLflow whose wire is spoken.
pub const REFERENCE: &str = "3.17.2";

/// Answers clients of MLflow. Clones share the store.
#[derive(Debug, Clone)]
pub struct Mlflow(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    metrics: Metrics,
    /// Held by whoever looks at rows and then changes them.
    changing: Mutex<()>,
}

/// A call that is answered here.
pub struct Call {
    /// GET or POST.
    pub method: &'static str,
    /// The path behind `/api/2.0/mlflow/`.
    pub path: &'static str,
    /// Answers it.
    run: fn(&Mlflow, Fields<'_>) -> Answer,
}

/// Every call.
pub const CALLS: &[Call] = &[
    call("POST", "experiments/create", Mlflow::create_experiment),
    call("GET", "experiments/get", Mlflow::get_experiment),
    call("GET", "experiments/get-by-name", Mlflow::get_experiment_by_name),
    call("POST", "experiments/search", Mlflow::search_experiments),
    call("GET", "experiments/search", Mlflow::search_experiments),
    call("POST", "experiments/update", Mlflow::update_experiment),
    call("POST", "experiments/delete", Mlflow::delete_experiment),
    call("POST", "experiments/restore", Mlflow::restore_experiment),
    call("POST", "experiments/set-experiment-tag", Mlflow::set_experiment_tag),
    call("POST", "experiments/delete-experiment-tag", Mlflow::delete_experiment_tag),
    call("POST", "runs/create", Mlflow::create_run),
    call("GET", "runs/get", Mlflow::get_run),
    call("POST", "runs/update", Mlflow::update_run),
    call("POST", "runs/delete", Mlflow::delete_run),
    call("POST", "runs/restore", Mlflow::restore_run),
    call("POST", "runs/search", Mlflow::search_runs),
    call("POST", "runs/log-metric", Mlflow::log_metric),
    call("POST", "runs/log-parameter", Mlflow::log_parameter),
    call("POST", "runs/set-tag", Mlflow::set_tag),
    call("POST", "runs/delete-tag", Mlflow::delete_tag),
    call("POST", "runs/log-batch", Mlflow::log_batch),
    call("GET", "metrics/get-history", Mlflow::metric_history),
    call("GET", "metrics/get-history-bulk", Mlflow::metric_history_bulk),
    call("GET", "metrics/get-history-bulk-interval", Mlflow::metric_history_interval),
];

const fn call(
    method: &'static str,
    path: &'static str,
    run: fn(&Mlflow, Fields<'_>) -> Answer,
) -> Call {
    Call { method, path, run }
}

impl Call {
    /// Answers the call with these fields.
    ///
    /// # Errors
    /// As MLflow refuses it.
    pub fn answer(&self, mlflow: &Mlflow, fields: &Map<String, Value>) -> Answer {
        let fields = match self.method {
            "GET" => Fields::in_address(fields),
            _ => Fields::new(fields),
        };
        (self.run)(mlflow, fields)
    }
}

impl Mlflow {
    /// Opens the store's part of it and makes its tables when they are not there.
    ///
    /// # Errors
    /// When the store refuses, or its points cannot be read.
    pub fn open(store: &Store) -> Result<Self, TrackError> {
        store.migrate("mlflow", schema::MIGRATIONS)?;
        let metrics = Metrics::open(store)?;
        let mlflow =
            Self(Arc::new(Inner { store: store.clone(), metrics, changing: Mutex::default() }));
        mlflow.make_default_experiment()?;
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
