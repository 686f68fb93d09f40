//! Which statements are prepared? A table of them by a handle that nobody can guess. Each belongs to
//! the caller that made it; what nobody uses for an hour is forgotten, since a client that left
//! closes nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use rand::{TryRngCore as _, rngs::OsRng};

use crate::{admit::Caller, error::FlightError, limits, port::Query};

struct Held {
    caller: Caller,
    sql: String,
    parameters: usize,
    values: Option<RecordBatch>,
    used: Instant,
}

/// The prepared statements of all callers.
#[derive(Default)]
pub(crate) struct Statements(Mutex<HashMap<Bytes, Held>>);

impl Statements {
    fn all(&self) -> MutexGuard<'_, HashMap<Bytes, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a statement and gives its handle.
    pub fn keep(
        &self,
        caller: &Caller,
        sql: String,
        parameters: usize,
    ) -> Result<Bytes, FlightError> {
        let mut raw = [0_u8; 16];
        OsRng.try_fill_bytes(&mut raw).map_err(|error| {
            FlightError::Internal(format!("the system gave no random bytes: {error}"))
        })?;
        let handle = Bytes::copy_from_slice(&raw);
        let mut all = self.all();
        let (idle, now) = (Duration::from_secs(limits::STATEMENT_IDLE_SECONDS), Instant::now());
        all.retain(|_, held| now.duration_since(held.used) < idle);
        let own = all.values().filter(|held| held.caller == *caller).count();
        if own >= limits::STATEMENTS_PER_CALLER_MAX || all.len() >= limits::STATEMENTS_MAX {
            let limit = format!(
                "{} statements of one caller, {} in all",
                limits::STATEMENTS_PER_CALLER_MAX,
                limits::STATEMENTS_MAX
            );
            return Err(FlightError::TooLarge { what: "what is prepared", limit });
        }
        let held = Held { caller: caller.clone(), sql, parameters, values: None, used: now };
        all.insert(handle.clone(), held);
        Ok(handle)
    }

    /// Looks a statement of this caller up. Another's is not there for him.
    fn with<T>(
        &self,
        handle: &Bytes,
        caller: &Caller,
        use_it: impl FnOnce(&mut Held) -> T,
    ) -> Result<T, FlightError> {
        let mut all = self.all();
        let held = all.get_mut(handle).filter(|held| held.caller == *caller);
        let held = held.ok_or(FlightError::Missing)?;
        held.used = Instant::now();
        Ok(use_it(held))
    }

    /// The query of a statement, with the values that were bound last.
    pub fn query(&self, handle: &Bytes, caller: &Caller) -> Result<Query, FlightError> {
        self.with(handle, caller, |held| Query {
            sql: held.sql.clone(),
            values: held.values.clone(),
        })
    }

    /// The query of a statement that is to run: all its parameters have values.
    pub fn ready(&self, handle: &Bytes, caller: &Caller) -> Result<Query, FlightError> {
        let (query, parameters) = (self.query(handle, caller)?, self.parameters(handle, caller)?);
        if parameters > 0 && query.values.is_none() {
            let text = format!("the statement has {parameters} parameters, and none was bound");
            return Err(FlightError::Parameters(text));
        }
        Ok(query)
    }

    /// How many parameters a statement has.
    pub fn parameters(&self, handle: &Bytes, caller: &Caller) -> Result<usize, FlightError> {
        self.with(handle, caller, |held| held.parameters)
    }

    /// Binds values.
    pub fn bind(
        &self,
        handle: &Bytes,
        caller: &Caller,
        values: RecordBatch,
    ) -> Result<(), FlightError> {
        self.with(handle, caller, |held| held.values = Some(values))
    }

    /// Forgets a statement. One that is gone already is no error: clients close without asking.
    pub fn close(&self, handle: &Bytes, caller: &Caller) {
        let mut all = self.all();
        if all.get(handle).is_some_and(|held| held.caller == *caller) {
            all.remove(handle);
        }
    }
}
