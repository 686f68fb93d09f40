//! What do clients of MLflow ask of a project? Their experiments and runs are opened with the first
//! question: a project that has no such client has nothing of them.

use std::{
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Map, Value};
use sextant_core::{Cancel, Failure};
use sextant_mlflow::{Answer, Found, Message, Mlflow, NotPosted, Post, Posted, find};
use sextant_serve::{NotSent, Outbound, Sent};

use crate::App;

/// How often it is looked whether there are webhooks at all.
const LOOK: Duration = Duration::from_secs(1);

/// How a call ended.
#[derive(Debug)]
pub enum MlflowCall {
    /// It was answered or refused.
    Said(Answer),
    /// It changes something, and the caller may not.
    Forbidden,
    /// There is no such call; these methods have one at the path.
    None(Vec<&'static str>),
}

impl App {
    /// Answers a call of a client of MLflow. `path` is what stands behind `/api/` or `/ajax-api/`.
    ///
    /// # Errors
    /// When the experiments and runs cannot be opened.
    pub fn mlflow(
        &self,
        method: &str,
        path: &str,
        fields: &Map<String, Value>,
        may_change: bool,
    ) -> Result<MlflowCall, Failure> {
        match find(method, path) {
            Found::Methods(methods) => Ok(MlflowCall::None(methods)),
            Found::Call(call, _) if call.changes && !may_change => Ok(MlflowCall::Forbidden),
            Found::Call(call, places) => {
                Ok(MlflowCall::Said(call.answer(&self.mlflow_store()?, fields, &places)))
            }
        }
    }

    fn mlflow_store(&self) -> Result<Mlflow, Failure> {
        let mut opened = self.mlflow.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mlflow) = opened.as_ref() {
            return Ok(mlflow.clone());
        }
        let mlflow = Mlflow::open(&self.store)?;
        match Outbound::new(&self.config.webhook_hosts) {
            Ok(outbound) => mlflow.plug(Arc::new(GuardedPost(outbound))),
            // Calls of webhooks are refused then; the others need no way out.
            Err(NotSent { .. }) => {}
        }
        Ok(opened.insert(mlflow).clone())
    }

    /// Delivers messages to webhooks until `cancel` is raised. Waits for the first client of MLflow in a
    /// project that never had one.
    ///
    /// # Errors
    /// When the store fails. What was owed still is then.
    pub fn deliver_webhooks(&self, cancel: &Cancel) -> Result<(), Failure> {
        let known = "SELECT 1 FROM migrations WHERE layer = 'mlflow_webhooks'";
        while self.store.read()?.query(known, &[])?.is_empty() {
            if cancel.is_cancelled() {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        Ok(self.mlflow_store()?.deliver_until(cancel)?)
    }
}

/// The guard of addresses that users named, behind the port of webhooks.
#[derive(Debug)]
struct GuardedPost(Outbound);

impl Post for GuardedPost {
    fn check(&self, url: &str) -> Result<(), String> {
        self.0.check(url)
    }

    fn post(&self, message: &Message) -> Result<Posted, NotPosted> {
        match self.0.post(&message.url, &message.headers, &message.body) {
            Ok(Sent { status, body }) => Ok(Posted { status, body }),
            Err(NotSent { reason, again }) => Err(NotPosted { reason, again }),
        }
    }
}
