//! When are messages delivered? After the change that they tell of is committed, from the outbox, and
//! again until they were taken or too many attempts failed. A message that is sent again has the same
//! delivery id, so that who gets it twice can tell.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use sextant_core::{ActivityId, Cancel, Timestamp};
use sextant_lineage::{Act, Outcome, Reader, Waiting};

use super::{
    super::{Mlflow, MlflowError, Refusal},
    events::Event,
    hooks::Hook,
    post::{Message, Post},
};

const TOPIC: &str = "mlflow.webhook";
/// Messages on their way at once.
const AT_ONCE: u32 = 8;
const ATTEMPTS_MAX: u32 = 8;
/// The pause after the first attempt; each further one is four times as long: an hour and a half in all.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(500);

impl Mlflow {
    /// Owes a message to each webhook that wants to be told of this event, in the same transaction as
    /// what happened.
    pub(crate) fn announce(
        &self,
        reader: &Reader,
        act: &mut Act,
        event: Event,
        data: &Value,
    ) -> Result<(), Refusal> {
        let sql =
            "SELECT w.id FROM mlflow_webhook_events e JOIN mlflow_webhooks w ON w.id = e.webhook
                   WHERE e.event = ?1 AND w.status = 'ACTIVE'";
        for row in reader.query(sql, &[event.name().into()])? {
            let body = event.body(&act.started_at().to_string(), data).to_string();
            let delivery = ActivityId::new().to_string();
            act.emit(
                TOPIC,
                &json!({ "webhook": row.text(0)?, "delivery": delivery, "body": body }),
            );
        }
        Ok(())
    }

    /// Delivers what is due, until `cancel` is raised. Does nothing while no way out is plugged.
    ///
    /// # Errors
    /// When the store fails. What was owed still is then.
    pub fn deliver_until(&self, cancel: &Cancel) -> Result<(), MlflowError> {
        while !cancel.is_cancelled() {
            if self.deliver_due()? == 0 {
                thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Delivers what is due now; how many messages were tried.
    ///
    /// # Errors
    /// When the store fails.
    pub fn deliver_due(&self) -> Result<usize, MlflowError> {
        let Some(post) = self.post() else { return Ok(0) };
        let reader = self.store().read()?;
        let due = reader.due(TOPIC, self.store().now(), AT_ONCE)?;
        let mut tried = Vec::with_capacity(due.len());
        for waiting in due {
            let id = waiting.payload["webhook"].as_str().unwrap_or_default();
            tried.push((Hook::find(&reader, id)?, waiting));
        }
        drop(reader);
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let started: Vec<_> = tried
                .iter()
                .map(|(hook, waiting)| scope.spawn(|| self.deliver(post, hook.as_ref(), waiting)))
                .collect();
            let gone = |_| Outcome::GivenUp { why: "its delivery broke off".to_owned() };
            started.into_iter().map(|one| one.join().unwrap_or_else(gone)).collect()
        });
        for ((_, waiting), outcome) in tried.iter().zip(&outcomes) {
            let mut act = self.act(format!("deliver message {}", waiting.payload["delivery"]));
            act.settle(waiting.seq, outcome);
            act.commit()?;
        }
        Ok(outcomes.len())
    }

    fn deliver(&self, post: &dyn Post, hook: Option<&Hook>, waiting: &Waiting) -> Outcome {
        let give_up = |why: String| Outcome::GivenUp { why };
        let Some(hook) = hook.filter(|hook| hook.is_active()) else {
            return give_up("the webhook is gone or disabled".to_owned());
        };
        let text = |key: &str| waiting.payload[key].as_str().unwrap_or_default();
        let now = self.store().now();
        let body = text("body").to_owned();
        let message = hook.message(text("delivery"), now.seconds(), body);
        let why = match post.post(&message) {
            Ok(posted) if posted.is_taken() => return Outcome::Delivered,
            Ok(posted) if posted.is_for_later() => format!("status {}", posted.status),
            Ok(posted) => return give_up(format!("status {}", posted.status)),
            Err(failed) if failed.again => failed.reason,
            Err(failed) => return give_up(failed.reason),
        };
        match waiting.attempts + 1 {
            ATTEMPTS_MAX.. => give_up(why),
            attempts => Outcome::Again { at: after(now, attempts) },
        }
    }

    /// Sends a made-up message to a webhook at once.
    pub(super) fn try_out(&self, hook: &Hook, event: Event) -> Result<Value, Refusal> {
        let post = self.way_out()?;
        let now = self.store().now();
        let body = event.body(&now.to_string(), &event.example()).to_string();
        let delivery = ActivityId::new().to_string();
        let message: Message = hook.message(&delivery, now.seconds(), body);
        Ok(match post.post(&message) {
            Ok(posted) => json!({
                "success": posted.is_taken(),
                "response_status": posted.status,
                "response_body": posted.told(),
            }),
            Err(failed) => json!({
                "success": false,
                "error_message": format!("Failed to test webhook: {}", failed.reason),
            }),
        })
    }
}

/// When a message is tried again after so many attempts.
fn after(now: Timestamp, attempts: u32) -> Timestamp {
    let pause = PAUSE * 4_u32.saturating_pow(attempts.saturating_sub(1));
    let micros = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.micros().saturating_add(micros))
}
