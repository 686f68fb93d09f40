//! How do messages to the webhooks of MLflow's clients leave? Through the guard of addresses that users
//! named, from a thread of the server.

use std::{sync::Arc, thread, time::Duration};

use sextant_core::{Cancel, Failure};
use sextant_mlflow::{Message, Mlflow, NotPosted, Post, Posted};
use sextant_serve::{NotSent, Outbound, Sent};

use crate::App;

/// How often it is looked whether there are webhooks at all.
const LOOK: Duration = Duration::from_secs(1);

impl App {
    /// Plugs the way out. When it cannot be set up, the calls of webhooks are refused and the others
    /// are answered: they need none.
    pub(crate) fn plug_webhooks(&self, mlflow: &Mlflow) {
        if let Ok(outbound) = Outbound::new(&self.config.webhook_hosts) {
            mlflow.plug(Arc::new(GuardedPost(outbound)));
        }
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

/// The guard, behind the port of webhooks.
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
