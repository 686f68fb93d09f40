//! Who is told when the registry changes? Webhooks: addresses of other programs. A change and what is
//! owed to them are one transaction; messages leave later, through a port that the application plugs.

mod deliver;
mod events;
mod hooks;
mod post;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use events::Event;
pub use post::{Message, NotPosted, Post, Posted};

use super::{
    Call, Fault, Mlflow, MlflowError, Refusal,
    call::{change, look},
};

/// The calls of this module.
pub(super) const CALLS: &[Call] = &[
    change("POST", "2.0/mlflow/webhooks", Mlflow::create_hook),
    look("GET", "2.0/mlflow/webhooks", Mlflow::list_hooks),
    look("GET", "2.0/mlflow/webhooks/{webhook_id}", Mlflow::get_hook),
    change("PATCH", "2.0/mlflow/webhooks/{webhook_id}", Mlflow::update_hook),
    change("DELETE", "2.0/mlflow/webhooks/{webhook_id}", Mlflow::delete_hook),
    change("POST", "2.0/mlflow/webhooks/{webhook_id}/test", Mlflow::test_hook),
];

impl Mlflow {
    /// Makes the tables of this module when they are not there.
    pub(super) fn open_webhooks(&self) -> Result<(), MlflowError> {
        Ok(self.store().migrate("mlflow_webhooks", schema::MIGRATIONS)?)
    }

    /// Plugs the way out for messages to webhooks. Only the first counts.
    pub fn plug(&self, post: Arc<dyn Post>) {
        let _ = self.0.post.set(post);
    }

    fn post(&self) -> Option<&dyn Post> {
        self.0.post.get().map(Arc::as_ref)
    }

    fn way_out(&self) -> Result<&dyn Post, Refusal> {
        self.post().ok_or_else(|| Refusal {
            fault: Fault::InvalidState,
            message: "this server has no way out for messages to webhooks".to_owned(),
        })
    }
}
