//! Which schema has this number? A registry that speaks Confluent's interface is asked once; what it
//! said is kept under its own hash, so that later landings and replays need no registry.
//!
//! ```text
//! .sextant/avro/schemas/SHA256.json   the schema with those that it refers to
//! .sextant/avro/ids/REGISTRY/NUMBER   the hash of the schema that a registry gave under this number
//! ```
//! A registry never gives one number to two schemas, so what was kept stays true.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use reqwest::{Client, StatusCode, Url, header, redirect};
use serde::{Deserialize, Serialize};
use sextant_core::Digest;
use sextant_lineage::{Store, write_atomically};

use super::super::fault::KafkaFault;
use crate::error::{DataError, Result};

/// How long a registry may take to take up a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Most schemas that one refers to.
const REFERENCES_MAX: usize = 200;
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// A registry, and who asks it.
#[derive(Clone)]
pub(super) struct Registry {
    pub(super) url: String,
    pub(super) login: Login,
}

/// How a registry is signed in to.
#[derive(Clone)]
pub(super) enum Login {
    Nobody,
    Password(String, String),
    Token(String),
}

/// A schema with all that it refers to, each after those that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) schema: String,
    pub(super) references: Vec<String>,
}

/// What a registry says of a number.
#[derive(Debug)]
pub(super) enum Answer {
    Schema(Document),
    /// There is none that can be used; why.
    None(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: u64,
}

enum Step {
    Ask(Reference),
    Keep(String),
}

/// What a registry says when it has no such subject, version or schema.
#[derive(serde::Deserialize)]
struct NotFound {
    error_code: u32,
}

impl Registry {
    /// Asks for the schema under this number.
    pub(super) async fn fetch(&self, id: u32) -> Result<Answer, KafkaFault> {
        let builder = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("sextant/", env!("CARGO_PKG_VERSION")));
        let client = builder.build().map_err(|error| self.unreachable(&error))?;
        let Some(reply) = self.get(&client, &["schemas", "ids", &id.to_string()]).await? else {
            return Ok(Answer::None(format!("the registry has no schema {id}")));
        };
        if let Some(kind) = reply.schema_type.filter(|kind| kind != "AVRO") {
            return Ok(Answer::None(format!("schema {id} is one of {kind}, not of Avro")));
        }
        let mut steps: Vec<Step> = reply.references.into_iter().map(Step::Ask).collect();
        let (mut seen, mut references) = (HashSet::new(), Vec::new());
        while let Some(step) = steps.pop() {
            let reference = match step {
                Step::Keep(schema) => {
                    references.push(schema);
                    continue;
                }
                Step::Ask(reference) => reference,
            };
            let Reference { subject, version } = reference;
            if !seen.insert((subject.clone(), version)) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                let reason = format!("schema {id} refers to more than {REFERENCES_MAX} others");
                return Ok(Answer::None(reason));
            }
            let path = ["subjects", &subject, "versions", &version.to_string()];
            let Some(found) = self.get(&client, &path).await? else {
                let reason = format!("schema {id} needs version {version} of {subject}: not there");
                return Ok(Answer::None(reason));
            };
            steps.push(Step::Keep(found.schema));
            steps.extend(found.references.into_iter().map(Step::Ask));
        }
        Ok(Answer::Schema(Document { schema: reply.schema, references }))
    }

    /// One question; nothing when there is no such thing.
    async fn get(&self, client: &Client, path: &[&str]) -> Result<Option<Reply>, KafkaFault> {
        let mut url = Url::parse(&self.url).map_err(|error| self.unreachable(&error))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = client.get(url).header(header::ACCEPT, ACCEPT);
        let request = match &self.login {
            Login::Nobody => request,
            Login::Password(user, password) => request.basic_auth(user, Some(password)),
            Login::Token(token) => request.bearer_auth(token),
        };
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        match status {
            // A registry says in its body that it has no such schema; anybody else may say 404.
            StatusCode::NOT_FOUND => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let (url, reason) = (self.url.clone(), format!("it answered {status}"));
                return Err(KafkaFault::RegistryRefused { url, reason });
            }
            status if status.is_success() => {}
            status => return Err(self.failed(format!("it answered {status}"))),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.failed(format!("its answer is over {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::NOT_FOUND {
            let said: Option<NotFound> = serde_json::from_slice(&body).ok();
            return match said {
                Some(NotFound { error_code: 40_401..=40_403 }) => Ok(None),
                _ => Err(self.failed("it answered 404 without a registry's error code".to_owned())),
            };
        }
        let reply = serde_json::from_slice(&body);
        reply.map(Some).map_err(|error| self.failed(format!("its answer is not one: {error}")))
    }

    /// The cause is named, the address only as the file has it.
    fn unreachable(&self, error: &dyn std::error::Error) -> KafkaFault {
        let mut cause = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        self.failed(cause.to_string())
    }

    fn failed(&self, reason: String) -> KafkaFault {
        KafkaFault::Registry { url: self.url.clone(), reason }
    }
}

/// The schemas that were kept.
pub(super) struct Kept {
    schemas: PathBuf,
    ids: PathBuf,
}

impl Kept {
    /// Those of this registry.
    pub(super) fn open(store: &Store, registry: &str) -> Result<Self> {
        let folder = store.area("avro")?;
        let name = Digest::of(registry.trim_end_matches('/')).hex();
        let kept =
            Self { schemas: folder.join("schemas"), ids: folder.join("ids").join(&name[..16]) };
        for folder in [&kept.schemas, &kept.ids] {
            std::fs::create_dir_all(folder).map_err(write_fault(folder))?;
        }
        Ok(kept)
    }

    /// The schema under this number, when it was kept and its bytes are those that were kept.
    pub(super) fn get(&self, id: u32) -> Option<Document> {
        let hex = std::fs::read_to_string(self.ids.join(id.to_string())).ok()?;
        let bytes = std::fs::read(self.schemas.join(format!("{}.json", hex.trim()))).ok()?;
        let whole = Digest::of(&bytes).hex() == hex.trim();
        serde_json::from_slice(&bytes).ok().filter(|_| whole)
    }

    /// Keeps a schema, then its number.
    pub(super) fn put(&self, id: u32, document: &Document) -> Result<()> {
        let bytes = serde_json::to_vec(document).map_err(DataError::engine)?;
        let hex = Digest::of(&bytes).hex();
        let (schema, number) =
            (self.schemas.join(format!("{hex}.json")), self.ids.join(id.to_string()));
        write_atomically(&schema, &bytes).map_err(write_fault(&schema))?;
        write_atomically(&number, hex.as_bytes()).map_err(write_fault(&number))
    }
}

fn write_fault(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Write { path, source }
}
