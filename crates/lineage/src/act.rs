//! How does a layer write? Through an [`Act`]: it gathers artifacts, edges, rows and pointer moves,
//! and its commit makes them visible together, or refuses them together.

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;
use serde_json::{Map, Value};
use sextant_core::{
    ActivityId, ActivityKind, ArtifactKind, Digest, EdgeKind, Name, Timestamp, canonical_json,
};

use crate::{
    Cell, Incoming, LineageError, Store,
    catalog::{Refusal, Statement},
};

/// An immutable thing that an act makes.
#[derive(Debug, Clone)]
pub struct NewArtifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// Its content address.
    pub digest: Digest,
    /// Size of its canonical bytes.
    pub bytes: u64,
    /// What is worth showing about it; small.
    pub meta: Value,
    /// The artifacts it came from, when that is more precise than the act's inputs.
    pub derived_from: Vec<Digest>,
}

/// What a pointer must be before it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// Not there.
    Absent,
    /// Exactly this.
    Is(Digest),
}

/// What became of an entry of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered,
    /// It is tried again, not before this time.
    Again {
        /// When.
        at: Timestamp,
    },
    /// It is not tried again.
    GivenUp {
        /// Why.
        why: String,
    },
}

/// An activity that is under way. Dropping it without [`Act::commit`] leaves no trace but blobs
/// that nobody refers to, which `fsck` clears.
#[must_use = "an act does nothing until it is committed"]
pub struct Act {
    store: Store,
    id: ActivityId,
    kind: ActivityKind,
    label: String,
    actor: String,
    started_at: Timestamp,
    notes: Map<String, Value>,
    inputs: BTreeSet<Digest>,
    outputs: Vec<NewArtifact>,
    blobs: Vec<(Digest, u64)>,
    edges: Vec<(String, EdgeKind, String)>,
    rows: Vec<Statement>,
    moves: Vec<Value>,
}

impl Act {
    pub(crate) fn new(store: Store, kind: ActivityKind, label: String) -> Self {
        let started_at = store.now();
        Self {
            store,
            id: ActivityId::new(),
            kind,
            label,
            actor: "local".to_owned(),
            started_at,
            notes: Map::new(),
            inputs: BTreeSet::new(),
            outputs: Vec::new(),
            blobs: Vec::new(),
            edges: Vec::new(),
            rows: Vec::new(),
            moves: Vec::new(),
        }
    }

    /// The activity's id.
    pub fn id(&self) -> ActivityId {
        self.id
    }

    /// When the activity began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Names who acts, for the audit record.
    pub fn by(&mut self, actor: impl Into<String>) {
        self.actor = actor.into();
    }

    /// Changes what kind of activity this is. The executor opens an act before the layer knows.
    pub fn kind(&mut self, kind: ActivityKind) {
        self.kind = kind;
    }

    /// Adds to the activity's metadata.
    pub fn note(&mut self, key: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.notes.insert(key.to_owned(), value);
    }

    /// Declares an input. It must exist when the act commits.
    pub fn used(&mut self, input: Digest) {
        self.inputs.insert(input);
    }

    /// Declares an input whose origin nobody recorded: a hole that `why` and `doctor` show.
    pub fn opaque(&mut self, what: &str) -> Digest {
        let meta = serde_json::json!({ "kind": "opaque", "what": what });
        let body = meta.to_string();
        let digest = Digest::of(&body);
        self.outputs.push(NewArtifact {
            kind: ArtifactKind::Opaque,
            digest,
            bytes: body.len() as u64,
            meta,
            derived_from: Vec::new(),
        });
        self.inputs.insert(digest);
        digest
    }

    /// Stores bytes. They are durable when this returns and belong to the store once the act
    /// commits.
    ///
    /// # Errors
    /// When they cannot be made durable.
    pub fn blob(&mut self, bytes: &[u8]) -> Result<Digest, LineageError> {
        let digest = self.store.blobs().put(bytes)?;
        self.blobs.push((digest, bytes.len() as u64));
        Ok(digest)
    }

    /// Stores a copy of a file.
    ///
    /// # Errors
    /// When it cannot be read or made durable.
    pub fn blob_file(&mut self, path: &Path) -> Result<Digest, LineageError> {
        let (digest, bytes) = self.store.blobs().put_file(path)?;
        self.blobs.push((digest, bytes));
        Ok(digest)
    }

    /// Stores bytes that came in, for as long as a row of a layer names them: the act has to write that
    /// row, in a table that is entered in `blob_tables`. What no row names any more is cleared as what
    /// work that was cut short left.
    ///
    /// # Errors
    /// When they cannot be made durable.
    pub fn keep(&mut self, incoming: Incoming) -> Result<Digest, LineageError> {
        let (digest, file) = incoming.finish();
        self.store.blobs().take(&digest, file)?;
        Ok(digest)
    }

    /// Makes a structured artifact: its canonical JSON is stored as a blob and named by its digest.
    ///
    /// # Errors
    /// When the body cannot be encoded or made durable.
    pub fn manifest(
        &mut self,
        kind: ArtifactKind,
        body: &impl Serialize,
        derived_from: &[Digest],
    ) -> Result<Digest, LineageError> {
        let bytes = canonical_json(body).map_err(LineageError::encoding("a manifest"))?;
        let meta = serde_json::from_slice(&bytes).map_err(LineageError::encoding("a manifest"))?;
        let digest = self.blob(&bytes)?;
        self.artifact(NewArtifact {
            kind,
            digest,
            bytes: bytes.len() as u64,
            meta,
            derived_from: derived_from.to_vec(),
        });
        Ok(digest)
    }

    /// Adds an output.
    pub fn artifact(&mut self, new: NewArtifact) {
        self.outputs.push(new);
    }

    /// Adds an edge between two artifacts.
    pub fn edge(&mut self, from: Digest, kind: EdgeKind, to: Digest) {
        self.edges.push((from.to_string(), kind, to.to_string()));
    }

    /// Changes a layer's own rows in the same transaction.
    pub fn execute(&mut self, sql: &str, params: Vec<Cell>) {
        self.rows.push(Statement::Execute { sql: sql.to_owned(), params });
    }

    /// Refuses the whole act with `otherwise` unless the query returns a row at commit.
    pub fn require(&mut self, sql: &str, params: Vec<Cell>, otherwise: &str) {
        let otherwise = Refusal::Conflict(otherwise.to_owned());
        self.rows.push(Statement::Require { sql: sql.to_owned(), params, otherwise });
    }

    /// Moves a pointer; its history is kept.
    pub fn point(&mut self, name: &Name, to: Digest, expect: Expect) {
        let refuse = |found: &str| Refusal::Conflict(format!("{name} {found}"));
        match expect {
            Expect::Any => {}
            Expect::Absent => self.rows.push(Statement::Require {
                sql: "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM names WHERE name = ?1)".to_owned(),
                params: vec![name.into()],
                otherwise: refuse("exists already"),
            }),
            Expect::Is(target) => self.rows.push(Statement::Require {
                sql: "SELECT 1 FROM names WHERE name = ?1 AND target = ?2".to_owned(),
                params: vec![name.into(), target.into()],
                otherwise: refuse("was moved by somebody else in between"),
            }),
        }
        let params: Vec<Cell> =
            vec![name.into(), to.into(), self.store.now().into(), self.id.into()];
        for sql in [
            "INSERT INTO names (name, seq, target, at, activity) VALUES (?1, 1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET seq = names.seq + 1, target = excluded.target,
             at = excluded.at, activity = excluded.activity",
            "INSERT INTO name_history (name, seq, target, at, activity)
             SELECT name, seq, target, at, activity FROM names
             WHERE name = ?1 AND target = ?2 AND at = ?3 AND activity = ?4",
        ] {
            self.rows.push(Statement::Execute { sql: sql.to_owned(), params: params.clone() });
        }
        self.moves.push(serde_json::json!({ "name": name, "to": to }));
    }

    /// Adds an entry to the outbox, delivered after the commit.
    pub fn emit(&mut self, topic: &str, payload: &Value) {
        self.rows.push(Statement::Execute {
            sql: "INSERT INTO outbox (topic, payload, at) VALUES (?1, ?2, ?3)".to_owned(),
            params: vec![topic.into(), payload.into(), self.store.now().into()],
        });
    }

    /// Says what became of an entry of the outbox.
    pub fn settle(&mut self, seq: i64, outcome: &Outcome) {
        let now = self.store.now();
        let (set, value) = match outcome {
            Outcome::Delivered => ("delivered_at = ?2", now.into()),
            Outcome::Again { at } => ("due = ?2", (*at).into()),
            Outcome::GivenUp { why } => ("given_up = ?2", why.into()),
        };
        self.rows.push(Statement::Execute {
            sql: format!(
                "UPDATE outbox SET attempts = attempts + 1, {set}
                 WHERE seq = ?1 AND delivered_at IS NULL AND given_up IS NULL"
            ),
            params: vec![seq.into(), value],
        });
    }

    /// Makes everything visible in one durable transaction.
    ///
    /// # Errors
    /// When outputs have no input, an input does not exist, a precondition does not hold, or the
    /// transaction cannot be made durable. Nothing is visible then.
    pub fn commit(self) -> Result<ActivityId, LineageError> {
        self.check_inputs()?;
        let now = self.store.now();
        let mut statements = Vec::new();
        self.activity_statements(now, &mut statements);
        for output in &self.outputs {
            self.artifact_statements(output, now, &mut statements);
        }
        for input in &self.inputs {
            statements.push(Statement::Require {
                sql: "SELECT 1 FROM artifacts WHERE digest = ?1".to_owned(),
                params: vec![input.into()],
                otherwise: Refusal::UnknownInput { label: self.label.clone(), input: *input },
            });
            let edge = (self.id.to_string(), EdgeKind::Used, input.to_string());
            statements.push(self.edge_statement(&edge, now));
        }
        for edge in &self.edges {
            statements.push(self.edge_statement(edge, now));
        }
        for (digest, bytes) in &self.blobs {
            statements.push(Statement::Execute {
                sql: "INSERT INTO blobs (digest, bytes, activity) VALUES (?1, ?2, ?3)
                      ON CONFLICT (digest) DO NOTHING"
                    .to_owned(),
                params: vec![digest.into(), int(*bytes), self.id.into()],
            });
        }
        let detail = serde_json::json!({
            "label": self.label,
            "inputs": self.inputs.len(),
            "outputs": self.outputs.len(),
            "moves": self.moves,
        });
        statements.extend(self.rows);
        statements.push(Statement::Audit {
            activity: self.id,
            actor: self.actor,
            action: self.kind.as_str().to_owned(),
            detail: detail.to_string(),
            at: now,
        });
        self.store.catalog().commit(statements)?;
        Ok(self.id)
    }

    fn check_inputs(&self) -> Result<(), LineageError> {
        let outputs =
            self.outputs.iter().filter(|output| output.kind != ArtifactKind::Opaque).count();
        let may_begin = matches!(self.kind, ActivityKind::Ingest | ActivityKind::Author);
        if outputs > 0 && self.inputs.is_empty() && !may_begin {
            return Err(LineageError::NoInputs { label: self.label.clone(), outputs });
        }
        Ok(())
    }

    fn activity_statements(&self, now: Timestamp, statements: &mut Vec<Statement>) {
        statements.push(Statement::Execute {
            sql: "INSERT INTO activities (id, kind, label, started_at, ended_at, meta)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                .to_owned(),
            params: vec![
                self.id.into(),
                self.kind.as_str().into(),
                (&self.label).into(),
                self.started_at.into(),
                now.into(),
                Value::Object(self.notes.clone()).to_string().into(),
            ],
        });
    }

    fn artifact_statements(
        &self,
        output: &NewArtifact,
        now: Timestamp,
        statements: &mut Vec<Statement>,
    ) {
        statements.push(Statement::Execute {
            sql: "INSERT INTO artifacts (digest, kind, bytes, meta, created_at, activity)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (digest) DO NOTHING"
                .to_owned(),
            params: vec![
                output.digest.into(),
                output.kind.as_str().into(),
                int(output.bytes),
                output.meta.to_string().into(),
                now.into(),
                self.id.into(),
            ],
        });
        statements.push(Statement::Require {
            sql: "SELECT 1 FROM artifacts WHERE digest = ?1 AND kind = ?2".to_owned(),
            params: vec![output.digest.into(), output.kind.as_str().into()],
            otherwise: Refusal::Conflict(format!(
                "{} is already recorded as another kind than {}",
                output.digest, output.kind
            )),
        });
        let made = (self.id.to_string(), EdgeKind::Generated, output.digest.to_string());
        if output.kind != ArtifactKind::Opaque {
            statements.push(self.edge_statement(&made, now));
        }
        for source in &output.derived_from {
            statements.push(Statement::Require {
                sql: "SELECT 1 FROM artifacts WHERE digest = ?1".to_owned(),
                params: vec![source.into()],
                otherwise: Refusal::UnknownInput { label: self.label.clone(), input: *source },
            });
            let edge = (output.digest.to_string(), EdgeKind::DerivedFrom, source.to_string());
            statements.push(self.edge_statement(&edge, now));
        }
    }

    fn edge_statement(&self, edge: &(String, EdgeKind, String), now: Timestamp) -> Statement {
        let (from, kind, to) = edge;
        Statement::Execute {
            sql: "INSERT INTO edges (src, kind, dst, activity, at) VALUES (?1, ?2, ?3, ?4, ?5)
                  ON CONFLICT (src, kind, dst) DO NOTHING"
                .to_owned(),
            params: vec![from.into(), kind.as_str().into(), to.into(), self.id.into(), now.into()],
        }
    }
}

fn int(value: u64) -> Cell {
    Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
