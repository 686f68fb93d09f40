//! How is an Avro record read? It begins with a zero byte and four bytes with the number of its
//! schema, as Confluent's serialisers write it; the rest is read under that very schema. Our own
//! rules say what then becomes a column, so no reader's schema is needed.
//!
//! This is our own small reader. `apache-avro` 0.22 takes a record that is cut off in a text, a
//! boolean or a union for one with a null there and has no bound on depth; `arrow-avro` 59 reads
//! whole batches, in which one damaged record spoils all.
//!
//! A registry that does not answer is a fault of the landing, which is tried again. What a record
//! itself lacks (a known number, all of its bytes) sends that record to quarantine.

mod decode;
mod registry;
#[cfg(test)]
mod registry_tests;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use datafusion::arrow::datatypes::DataType;
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    registry::{Answer, Document, Kept, Login, Registry},
    schema::Schema,
};
use super::KafkaFault;
use crate::{
    Ingest,
    arrival::{Fault, Parsed},
    error::Result,
};

/// What an Avro record begins with.
const MAGIC: u8 = 0;
/// How long a number that the registry does not know is not asked for again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How long a registry that failed is left alone.
const LEAVE_ALONE: Duration = Duration::from_secs(1);
/// Most schemas of one source that are held in memory.
const SCHEMAS_MAX: usize = 10_000;

/// How the schema registry is signed in to, by names of environment variables.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryAuth {
    /// The environment variable with the user's name, or the key.
    #[serde(default)]
    pub username_env: Option<String>,
    /// The environment variable with the password, or the secret.
    #[serde(default)]
    pub password_env: Option<String>,
    /// The environment variable with a bearer token, in their place.
    #[serde(default)]
    pub token_env: Option<String>,
}

impl RegistryAuth {
    /// Refuses what cannot go together: a message and what to write instead.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let password = self.password_env.is_some();
        if self.username_env.is_some() != password || (password && self.token_env.is_some()) {
            return Err((
                "registry_auth names a user and a password, or a token".to_owned(),
                "write username_env and password_env, or token_env alone".to_owned(),
            ));
        }
        Ok(())
    }

    fn login(&self) -> Result<Login, String> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| format!("the environment variable `{name}` is not set"))
        };
        match (&self.username_env, &self.password_env, &self.token_env) {
            (Some(user), Some(password), _) => {
                Ok(Login::Password(variable(user)?, variable(password)?))
            }
            (_, _, Some(token)) => Ok(Login::Token(variable(token)?)),
            _ => Ok(Login::Nobody),
        }
    }
}

/// Whether an address of a registry can be one: a message and what to write instead.
pub(super) fn check_url(url: &str) -> Result<(), (String, String)> {
    let good = reqwest::Url::parse(url).is_ok_and(|url| {
        let plain = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && plain && url.query().is_none()
    });
    if good {
        return Ok(());
    }
    Err((
        "registry must be an address with http or https, without a user in it".to_owned(),
        "write registry = \"http://127.0.0.1:8081\", and who signs in under [registry_auth]"
            .to_owned(),
    ))
}

/// The schemas of one source's records.
pub(super) struct Schemas {
    engine: Ingest,
    url: String,
    auth: RegistryAuth,
    kept: OnceLock<Kept>,
    known: Mutex<HashMap<u32, Known>>,
    /// When the registry failed last, and how.
    failed: Mutex<Option<(Instant, String)>>,
}

#[derive(Clone)]
enum Known {
    Ready(Arc<Ready>),
    /// It cannot be used; why, and when that was found.
    Useless(String, Instant),
}

/// A schema that records can be read under.
struct Ready {
    schema: Schema,
    columns: Arc<BTreeMap<String, DataType>>,
}

impl Schemas {
    pub(super) fn new(engine: &Ingest, url: &str, auth: &RegistryAuth) -> Self {
        Self {
            engine: engine.clone(),
            url: url.to_owned(),
            auth: auth.clone(),
            kept: OnceLock::new(),
            known: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// The fields of a record's value, or why it is not one.
    ///
    /// # Errors
    /// When a schema that is not kept cannot be had from the registry.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Result<Parsed, Fault>> {
        let Some(([magic, id @ ..], body)) = bytes.split_first_chunk::<5>() else {
            return Ok(Err(Fault::new("magic", "it is shorter than the number of a schema")));
        };
        if *magic != MAGIC {
            let reason = format!("it begins with the byte {magic}, not with {MAGIC}");
            return Ok(Err(Fault::new("magic", reason)));
        }
        Ok(match self.known(u32::from_be_bytes(*id))? {
            Known::Useless(reason, _) => Err(Fault::new("schema", reason)),
            Known::Ready(ready) => decode::decode(&ready.schema, body)
                .map(|fields| Parsed { fields, types: Some(Arc::clone(&ready.columns)) }),
        })
    }

    fn known(&self, id: u32) -> Result<Known> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match lock().get(&id) {
            Some(Known::Useless(_, since)) if since.elapsed() > ASK_AGAIN_AFTER => {}
            Some(known) => return Ok(known.clone()),
            None => {}
        }
        let known = self.find(id)?;
        let mut all = lock();
        if all.len() >= SCHEMAS_MAX {
            all.clear();
        }
        all.insert(id, known.clone());
        Ok(known)
    }

    /// What was kept of this number, or what the registry says.
    fn find(&self, id: u32) -> Result<Known> {
        let kept = self.kept()?;
        let useless = |reason: String| Known::Useless(reason, Instant::now());
        if let Some(document) = kept.get(id) {
            return Ok(ready(&document).unwrap_or_else(useless));
        }
        let login = match self.auth.login() {
            Ok(login) => login,
            Err(reason) => {
                let url = self.url.clone();
                return Err(KafkaFault::RegistryRefused { url, reason }.into());
            }
        };
        match self.ask(id, Registry { url: self.url.clone(), login })? {
            Answer::None(reason) => Ok(useless(reason)),
            Answer::Schema(document) => {
                kept.put(id, &document)?;
                Ok(ready(&document).unwrap_or_else(useless))
            }
        }
    }

    /// What the registry says; one that has just failed is not asked again for every record.
    fn ask(&self, id: u32, registry: Registry) -> Result<Answer> {
        let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, reason)) = &*failed()
            && since.elapsed() < LEAVE_ALONE
        {
            let (url, reason) = (self.url.clone(), reason.clone());
            return Err(KafkaFault::Registry { url, reason }.into());
        }
        let answer = self.engine.block(None, async move { Ok(registry.fetch(id).await) })?;
        *failed() = match &answer {
            Err(KafkaFault::Registry { reason, .. }) => Some((Instant::now(), reason.clone())),
            _ => None,
        };
        Ok(answer?)
    }

    fn kept(&self) -> Result<&Kept> {
        if let Some(kept) = self.kept.get() {
            return Ok(kept);
        }
        let kept = Kept::open(self.engine.store(), &self.url)?;
        Ok(self.kept.get_or_init(|| kept))
    }
}

fn ready(document: &Document) -> Result<Known, String> {
    let schema = schema::parse(&document.schema, &document.references)
        .map_err(|reason| format!("its schema cannot be read: {reason}"))?;
    let columns = Arc::new(decode::columns(&schema));
    Ok(Known::Ready(Arc::new(Ready { schema, columns })))
}
