//! What do clients of MLflow ask of a project? Their experiments and runs are opened with the first
//! question: a project that has no such client has nothing of them.

use std::{borrow::Cow, io::Read, sync::PoisonError};

use serde_json::{Map, Value};
use sextant_core::Failure;
use sextant_mlflow::{
    BestRun, Found, Mlflow, Refusal, Reply, SpansBody, SpansRefused, find, is_named,
};
use sextant_track::Direction;

use crate::{App, AppError};

/// How a call ended.
#[derive(Debug)]
pub enum MlflowCall {
    /// It was answered or refused.
    Ended(Box<Result<Reply, Refusal>>),
    /// It changes something, and the caller may not.
    Forbidden,
    /// There is no such call; these methods have one at the path.
    None(Vec<&'static str>),
}

impl App {
    /// Answers a call of a client of MLflow. `path` is what stands behind `/api/`, `/ajax-api/` or else the
    /// first slash; `body` is read by a call that stores a file.
    ///
    /// # Errors
    /// When the experiments and runs cannot be opened.
    pub fn mlflow(
        &self,
        method: &str,
        path: &str,
        fields: &Map<String, Value>,
        may_change: bool,
        body: &mut dyn Read,
    ) -> Result<MlflowCall, Failure> {
        match find(method, path) {
            Found::Methods(methods) => Ok(MlflowCall::None(methods)),
            Found::Call(call, _) if call.changes && !may_change => Ok(MlflowCall::Forbidden),
            Found::Call(call, places) => {
                let mlflow = self.mlflow_store()?;
                Ok(MlflowCall::Ended(Box::new(call.answer(&mlflow, fields, &places, body))))
            }
        }
    }

    /// Takes spans that were sent by OTLP for an experiment; they are durable when this returns.
    ///
    /// # Errors
    /// When traces cannot be opened.
    pub fn take_spans(
        &self,
        experiment: &str,
        run: Option<&str>,
        body: &SpansBody,
    ) -> Result<Result<(), SpansRefused>, Failure> {
        Ok(self.mlflow_store()?.take_spans(experiment, run, body))
    }

    /// The best run of clients of MLflow by a metric.
    pub(crate) fn mlflow_best(
        &self,
        metric: &str,
        direction: Direction,
        experiment: Option<&str>,
    ) -> Result<Option<BestRun>, Failure> {
        self.mlflow_store()?.best(metric, direction, experiment).map_err(refused)
    }

    /// The artifact of what clients of MLflow call so, such as `models:/NAME/VERSION`; other ids are
    /// given back as they are.
    pub(crate) fn version_of_name<'a>(&self, id: &'a str) -> Result<Cow<'a, str>, Failure> {
        if !is_named(id) {
            return Ok(id.into());
        }
        let found = self.mlflow_store()?.node_named(id).map_err(refused)?;
        let hint = "as clients of MLflow call it: models:/NAME/VERSION, models:/ID or runs:/ID";
        let missing = || AppError::not_found("run or model", id, hint);
        Ok(found.ok_or_else(missing)?.to_string().into())
    }

    pub(crate) fn mlflow_store(&self) -> Result<Mlflow, Failure> {
        let mut opened = self.mlflow.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mlflow) = opened.as_ref() {
            return Ok(mlflow.clone());
        }
        let mlflow = Mlflow::open(&self.store)?;
        self.plug_webhooks(&mlflow);
        Ok(opened.insert(mlflow).clone())
    }
}

fn refused(refusal: Refusal) -> Failure {
    AppError::BadInput(refusal.message).into()
}
