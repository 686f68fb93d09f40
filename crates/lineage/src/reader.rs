//! How is the chain read? From a [`Reader`]: a consistent view that later commits do not change.

use serde_json::Value;
use sextant_core::{ActivityId, ActivityKind, ArtifactKind, Digest, EdgeKind, Name, Timestamp};

use crate::{Cell, LineageError, Row, catalog::Snapshot};

/// An immutable thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Its content address.
    pub digest: Digest,
    /// What it is.
    pub kind: ArtifactKind,
    /// Size of its canonical bytes.
    pub bytes: u64,
    /// What is worth showing about it.
    pub meta: Value,
    /// When it was first recorded.
    pub created_at: Timestamp,
    /// The activity that first recorded it.
    pub activity: ActivityId,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// Its id.
    pub id: ActivityId,
    /// What kind of thing.
    pub kind: ActivityKind,
    /// What it was about.
    pub label: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was committed.
    pub ended_at: Timestamp,
    /// What was noted.
    pub meta: Value,
}

/// Two nodes and how they are related. Node ids are digests or activity ids, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The subject.
    pub from: String,
    /// The relation.
    pub kind: EdgeKind,
    /// The object.
    pub to: String,
    /// The activity that recorded it.
    pub activity: ActivityId,
    /// When.
    pub at: Timestamp,
}

/// One move of a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChange {
    /// Counts from 1.
    pub seq: u64,
    /// What it points at since then.
    pub target: Digest,
    /// When.
    pub at: Timestamp,
    /// The activity that moved it.
    pub activity: ActivityId,
}

/// An input whose origin nobody recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The opaque node.
    pub digest: Digest,
    /// What it is said to be.
    pub what: String,
    /// The labels of the activities that used it.
    pub used_by: Vec<String>,
}

/// An entry of the outbox that waits for its delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Counts up.
    pub seq: i64,
    /// What is delivered.
    pub payload: Value,
    /// How often that was tried.
    pub attempts: u32,
}

/// One audit record; each carries the hash of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Counts from 1.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// The activity.
    pub activity: String,
    /// Who acted.
    pub actor: String,
    /// What kind of act.
    pub action: String,
    /// What it did, as JSON.
    pub detail: String,
    /// The hash of the record before.
    pub previous: String,
    /// The hash of this record.
    pub hash: String,
}

/// A consistent view of the catalog.
pub struct Reader(Box<dyn Snapshot>);

impl Reader {
    pub(crate) fn new(snapshot: Box<dyn Snapshot>) -> Self {
        Self(snapshot)
    }

    /// Runs a query; layers read their own rows with it.
    ///
    /// # Errors
    /// When the catalog refuses the query.
    pub fn query(&self, sql: &str, params: &[Cell]) -> Result<Vec<Row>, LineageError> {
        self.0.query(sql, params)
    }

    /// An artifact by its digest.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn artifact(&self, digest: &Digest) -> Result<Option<Artifact>, LineageError> {
        let sql = format!("{ARTIFACTS} WHERE digest = ?1");
        self.query(&sql, &[digest.into()])?.first().map(artifact).transpose()
    }

    /// The newest artifacts of a kind.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn artifacts_of(
        &self,
        kind: ArtifactKind,
        limit: u32,
    ) -> Result<Vec<Artifact>, LineageError> {
        let sql = format!("{ARTIFACTS} WHERE kind = ?1 ORDER BY created_at DESC LIMIT ?2");
        self.query(&sql, &[kind.as_str().into(), limit.into()])?.iter().map(artifact).collect()
    }

    /// The artifacts whose digest starts with these hexadecimal digits, at most `limit`.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn artifacts_with_prefix(
        &self,
        hex: &str,
        limit: u32,
    ) -> Result<Vec<Artifact>, LineageError> {
        if hex.is_empty() || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let sql =
            format!("{ARTIFACTS} WHERE digest >= ?1 AND digest < ?2 ORDER BY digest LIMIT ?3");
        let low = format!("sha256:{}", hex.to_ascii_lowercase());
        let high = format!("{low}g");
        self.query(&sql, &[low.into(), high.into(), limit.into()])?.iter().map(artifact).collect()
    }

    /// An activity by its id.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn activity(&self, id: &ActivityId) -> Result<Option<Activity>, LineageError> {
        let sql =
            "SELECT id, kind, label, started_at, ended_at, meta FROM activities WHERE id = ?1";
        self.query(sql, &[(*id).into()])?.first().map(activity).transpose()
    }

    /// The edges that start at a node.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn edges_from(&self, node: &str) -> Result<Vec<Edge>, LineageError> {
        let sql = "SELECT src, kind, dst, activity, at FROM edges WHERE src = ?1 ORDER BY at, dst";
        self.query(sql, &[node.into()])?.iter().map(edge).collect()
    }

    /// The edges that end at a node.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn edges_to(&self, node: &str) -> Result<Vec<Edge>, LineageError> {
        let sql = "SELECT src, kind, dst, activity, at FROM edges WHERE dst = ?1 ORDER BY at, src";
        self.query(sql, &[node.into()])?.iter().map(edge).collect()
    }

    /// The activity that first made this artifact.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn generator_of(&self, digest: &Digest) -> Result<Option<ActivityId>, LineageError> {
        Ok(self.artifact(digest)?.map(|artifact| artifact.activity))
    }

    /// The artifacts that an activity declared as inputs.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn used_by(&self, id: &ActivityId) -> Result<Vec<Digest>, LineageError> {
        let sql = "SELECT dst FROM edges WHERE src = ?1 AND kind = 'used' ORDER BY dst";
        self.query(sql, &[(*id).into()])?.iter().map(|row| row.digest(0)).collect()
    }

    /// Where a pointer points.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn name(&self, name: &Name) -> Result<Option<Digest>, LineageError> {
        let rows = self.query("SELECT target FROM names WHERE name = ?1", &[name.into()])?;
        rows.first().map(|row| row.digest(0)).transpose()
    }

    /// The pointers whose name starts with this text, with their targets.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn names(&self, prefix: &str) -> Result<Vec<(String, Digest)>, LineageError> {
        let sql = "SELECT name, target FROM names WHERE name >= ?1 AND name < ?2 ORDER BY name";
        let high = format!("{prefix}\u{7f}");
        let rows = self.query(sql, &[prefix.into(), high.into()])?;
        rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.digest(1)?))).collect()
    }

    /// All moves of a pointer, oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn name_history(&self, name: &Name) -> Result<Vec<NameChange>, LineageError> {
        let sql = "SELECT seq, target, at, activity FROM name_history WHERE name = ?1 ORDER BY seq";
        let rows = self.query(sql, &[name.into()])?;
        rows.iter()
            .map(|row| {
                Ok(NameChange {
                    seq: row.int(0)?.unsigned_abs(),
                    target: row.digest(1)?,
                    at: row.time(2)?,
                    activity: row.activity(3)?,
                })
            })
            .collect()
    }

    /// The inputs whose origin nobody recorded.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn holes(&self) -> Result<Vec<Hole>, LineageError> {
        let sql = "SELECT a.digest, a.meta, t.label FROM artifacts a
                   JOIN edges e ON e.dst = a.digest AND e.kind = 'used'
                   JOIN activities t ON t.id = e.src
                   WHERE a.kind = 'opaque' ORDER BY a.digest, t.label";
        let mut holes: Vec<Hole> = Vec::new();
        for row in self.query(sql, &[])? {
            let digest = row.digest(0)?;
            let label = row.text(2)?.to_owned();
            match holes.last_mut() {
                Some(hole) if hole.digest == digest => hole.used_by.push(label),
                _ => {
                    let meta = row.json(1)?;
                    let what = meta["what"].as_str().unwrap_or_default().to_owned();
                    holes.push(Hole { digest, what, used_by: vec![label] });
                }
            }
        }
        Ok(holes)
    }

    /// Entries of the outbox that are to be delivered by now, those that waited longest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn due(
        &self,
        topic: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Waiting>, LineageError> {
        let sql = "SELECT seq, payload, attempts FROM outbox
                   WHERE topic = ?1 AND due <= ?2 AND delivered_at IS NULL AND given_up IS NULL
                   ORDER BY due, seq LIMIT ?3";
        let waiting = |row: &Row| {
            let attempts = u32::try_from(row.int(2)?).unwrap_or(u32::MAX);
            Ok(Waiting { seq: row.int(0)?, payload: row.json(1)?, attempts })
        };
        self.query(sql, &[topic.into(), now.into(), limit.into()])?.iter().map(waiting).collect()
    }

    /// The newest audit records, newest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn audit(&self, limit: u32) -> Result<Vec<AuditRecord>, LineageError> {
        let sql = "SELECT seq, at, activity, actor, action, detail, previous, hash FROM audit
                   ORDER BY seq DESC LIMIT ?1";
        self.query(sql, &[limit.into()])?.iter().map(audit_record).collect()
    }
}

const ARTIFACTS: &str = "SELECT digest, kind, bytes, meta, created_at, activity FROM artifacts";

fn artifact(row: &Row) -> Result<Artifact, LineageError> {
    let refuse = |_| LineageError::Column { column: 1, expected: "an artifact kind" };
    Ok(Artifact {
        digest: row.digest(0)?,
        kind: row.text(1)?.parse().map_err(refuse)?,
        bytes: row.int(2)?.unsigned_abs(),
        meta: row.json(3)?,
        created_at: row.time(4)?,
        activity: row.activity(5)?,
    })
}

fn activity(row: &Row) -> Result<Activity, LineageError> {
    let refuse = |_| LineageError::Column { column: 1, expected: "an activity kind" };
    Ok(Activity {
        id: row.activity(0)?,
        kind: row.text(1)?.parse().map_err(refuse)?,
        label: row.text(2)?.to_owned(),
        started_at: row.time(3)?,
        ended_at: row.time(4)?,
        meta: row.json(5)?,
    })
}

fn edge(row: &Row) -> Result<Edge, LineageError> {
    let refuse = |_| LineageError::Column { column: 1, expected: "an edge kind" };
    Ok(Edge {
        from: row.text(0)?.to_owned(),
        kind: row.text(1)?.parse().map_err(refuse)?,
        to: row.text(2)?.to_owned(),
        activity: row.activity(3)?,
        at: row.time(4)?,
    })
}

fn audit_record(row: &Row) -> Result<AuditRecord, LineageError> {
    Ok(AuditRecord {
        seq: row.int(0)?,
        at: row.time(1)?,
        activity: row.text(2)?.to_owned(),
        actor: row.text(3)?.to_owned(),
        action: row.text(4)?.to_owned(),
        detail: row.text(5)?.to_owned(),
        previous: row.text(6)?.to_owned(),
        hash: row.text(7)?.to_owned(),
    })
}
