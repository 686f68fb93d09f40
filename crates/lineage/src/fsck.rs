//! Is everything that was acknowledged still there and unchanged? Checks the catalog, the audit
//! chain, every edge, every blob and every stream.

use std::{collections::BTreeSet, fs, time::Duration};

use serde::Serialize;
use sextant_core::Digest;

use crate::{
    LineageError, Reader, Store, log,
    sqlite::{AUDIT_GENESIS, audit_hash},
};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `catalog`, `audit`, `edge`, `name`, `blob`, `log`, or a layer's own word.
    pub part: String,
    /// What is wrong with it.
    pub what: String,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FsckReport {
    /// What is wrong; empty when everything is sound.
    pub problems: Vec<Problem>,
    /// Artifacts in the catalog.
    pub artifacts: u64,
    /// Edges checked.
    pub edges: u64,
    /// Blobs whose bytes were hashed.
    pub blobs: u64,
    /// Records of all streams.
    pub log_records: u64,
    /// Audit records whose hash was checked.
    pub audit_records: u64,
    /// Files in the blob folder that nothing refers to: left by work that was cut short.
    pub orphans: u64,
    /// Orphans that were deleted.
    pub orphans_removed: u64,
}

impl FsckReport {
    /// Adds a problem.
    pub fn problem(&mut self, part: &str, what: impl Into<String>) {
        self.problems.push(Problem { part: part.to_owned(), what: what.into() });
    }
}

impl Store {
    /// Checks the whole store. With `repair`, deletes blob files that nothing refers to and that
    /// are older than this opening of the store; nothing else is ever changed.
    ///
    /// # Errors
    /// When the store cannot be read at all. What is wrong inside it is in the report.
    pub fn fsck(&self, repair: bool) -> Result<FsckReport, LineageError> {
        let mut report = FsckReport::default();
        for fault in self.catalog().integrity()? {
            report.problem("catalog", fault);
        }
        let reader = self.read()?;
        check_audit(&reader, &mut report)?;
        check_edges(&reader, &mut report)?;
        check_names(&reader, &mut report)?;
        self.check_blobs(&reader, repair, &mut report)?;
        self.check_logs(&mut report)?;
        Ok(report)
    }

    fn check_blobs(
        &self,
        reader: &Reader,
        repair: bool,
        report: &mut FsckReport,
    ) -> Result<(), LineageError> {
        let mut known = BTreeSet::new();
        let mut named = "SELECT digest, bytes FROM blobs".to_owned();
        for table in reader.query("SELECT name FROM blob_tables", &[])? {
            let table = table.text(0)?;
            let rows = format!(" UNION SELECT digest, bytes FROM {table} WHERE digest IS NOT NULL");
            named.push_str(&rows);
        }
        for row in reader.query(&named, &[])? {
            let digest = row.digest(0)?;
            match self.blobs().check(&digest) {
                Ok(bytes) if i64::try_from(bytes) == Ok(row.int(1)?) => {}
                Ok(_) => report.problem("blob", format!("{digest} has another size")),
                Err(error) => report.problem("blob", error.to_string()),
            }
            report.blobs += 1;
            known.insert(digest);
        }
        for (digest, path) in self.blobs().list()? {
            if known.contains(&digest) {
                continue;
            }
            report.orphans += 1;
            // File times are coarser than our clock: a second of margin keeps what is being
            // written right now.
            let young = self.opened_at() - Duration::from_secs(1);
            let removed = repair && self.blobs().remove_older(&path, young).unwrap_or(false);
            report.orphans_removed += u64::from(removed);
        }
        Ok(())
    }

    fn check_logs(&self, report: &mut FsckReport) -> Result<(), LineageError> {
        let folder = self.dir().join("log");
        if !folder.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&folder).map_err(LineageError::io("list", &folder))? {
            let path = entry.map_err(LineageError::io("list", &folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !path.is_dir() {
                continue;
            }
            // Opening cuts off a torn tail, which is no fault: it was never acknowledged.
            let acknowledged = self.log(&name)?.acknowledged_end();
            let (records, faults) = log::verify(&path, acknowledged)?;
            report.log_records += records;
            for fault in faults {
                report.problem("log", fault);
            }
        }
        Ok(())
    }
}

fn check_audit(reader: &Reader, report: &mut FsckReport) -> Result<(), LineageError> {
    let mut expected = Digest::of(AUDIT_GENESIS).to_string();
    let sql = "SELECT seq, at, activity, actor, action, detail, previous, hash FROM audit
               ORDER BY seq";
    for (number, row) in reader.query(sql, &[])?.iter().enumerate() {
        let seq = row.int(0)?;
        let text = |column| row.text(column);
        let (activity, actor, action, detail) = (text(2)?, text(3)?, text(4)?, text(5)?);
        let hash = audit_hash(seq, row.int(1)?, activity, actor, action, detail, &expected)?;
        if seq != number as i64 + 1 || text(6)? != expected || text(7)? != hash.to_string() {
            report.problem("audit", format!("record {seq} does not follow from the one before it"));
        }
        text(7)?.clone_into(&mut expected);
        report.audit_records += 1;
    }
    Ok(())
}

fn check_edges(reader: &Reader, report: &mut FsckReport) -> Result<(), LineageError> {
    let count = |sql: &str| -> Result<u64, LineageError> {
        Ok(reader.query(sql, &[])?.first().map_or(Ok(0), |row| row.int(0))?.unsigned_abs())
    };
    report.artifacts = count("SELECT count(*) FROM artifacts")?;
    report.edges = count("SELECT count(*) FROM edges")?;
    for (side, sql) in [
        (
            "starts",
            "SELECT src FROM edges WHERE NOT EXISTS (SELECT 1 FROM artifacts WHERE digest = src)
             AND NOT EXISTS (SELECT 1 FROM activities WHERE id = src)",
        ),
        (
            "ends",
            "SELECT dst FROM edges WHERE NOT EXISTS (SELECT 1 FROM artifacts WHERE digest = dst)
             AND NOT EXISTS (SELECT 1 FROM activities WHERE id = dst)",
        ),
    ] {
        for row in reader.query(sql, &[])? {
            report
                .problem("edge", format!("an edge {side} at {}, which is not there", row.text(0)?));
        }
    }
    let unmade = "SELECT digest FROM artifacts WHERE NOT EXISTS
                  (SELECT 1 FROM activities WHERE id = artifacts.activity)";
    for row in reader.query(unmade, &[])? {
        report.problem("edge", format!("{} was made by no known activity", row.text(0)?));
    }
    Ok(())
}

fn check_names(reader: &Reader, report: &mut FsckReport) -> Result<(), LineageError> {
    let sql = "SELECT name, target FROM name_history WHERE NOT EXISTS
               (SELECT 1 FROM artifacts WHERE digest = target)";
    for row in reader.query(sql, &[])? {
        report.problem(
            "name",
            format!("{} points at {}, which is not there", row.text(0)?, row.text(1)?),
        );
    }
    let sql = "SELECT n.name FROM names n WHERE NOT EXISTS (SELECT 1 FROM name_history h
               WHERE h.name = n.name AND h.seq = n.seq AND h.target = n.target)";
    for row in reader.query(sql, &[])? {
        report.problem(
            "name",
            format!("the history of {} does not end where it points", row.text(0)?),
        );
    }
    Ok(())
}
