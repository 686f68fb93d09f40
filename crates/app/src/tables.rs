//! What can be asked of tables? Statements, versions, tags; and who holds which version, so that
//! removing files asks the whole chain first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde_json::{Value, json};
use sextant_core::{Cancel, Digest, Failure};
use sextant_data::{GcOptions, Holder, SqlOptions, TagKind};
use sextant_lineage::Reader;
use sextant_project::BuildTurn;

use crate::{App, Op};

impl App {
    /// Runs an operation on tables.
    pub(crate) fn table_op(&self, op: Op, cancel: &Cancel) -> Result<Value, Failure> {
        let engine = &self.engine;
        let value = match op {
            Op::Sql { sql, limit } => json!(engine.sql(&sql, &self.sql_options(limit), cancel)?),
            Op::DataHistory { table, limit } => {
                let (asset, versions) = engine.history(&table, limit as usize)?;
                json!({ "asset": asset, "versions": versions })
            }
            Op::DataShow { table, limit } => json!(engine.show(&table, limit as usize, cancel)?),
            Op::DataRestore { table, version } => json!(engine.restore(&table, &version, cancel)?),
            Op::DataRestoreTag { name } => {
                json!({ "tables": engine.restore_tag(&name, cancel)? })
            }
            Op::DataReplace { table, predicate, sql } => {
                let options = self.sql_options(1);
                json!(engine.replace_where(&table, &predicate, &sql, &options, cancel)?)
            }
            Op::DataCompact { table, file_megabytes } => {
                json!(engine.compact(&table, file_megabytes, cancel)?)
            }
            Op::DataZorder { table, columns } => json!(engine.zorder(&table, &columns, cancel)?),
            Op::DataTag { name, tables, branch } => {
                let kind = if branch { TagKind::Branch } else { TagKind::Tag };
                json!(engine.tag(&name, kind, &tables)?)
            }
            Op::DataFiles { source, path: None } => json!(engine.files_at(&source)?),
            Op::DataFiles { source, path: Some(path) } => {
                let (file, text) = engine.file_at(&source, &path)?;
                json!({ "file": file, "text": text })
            }
            Op::DataTags {} => json!({ "tags": engine.tags()? }),
            Op::DataUntag { name } => {
                engine.untag(&name)?;
                json!({ "name": name })
            }
            Op::DataGc { dry_run, older_than_s } => {
                // A build may be about to cite a version that nobody cites yet.
                let _turn = (!dry_run).then(|| BuildTurn::take(&self.store)).transpose()?;
                let older_than = Duration::from_secs(older_than_s);
                let options = GcOptions { dry_run, older_than, holders: self.holders()? };
                json!(engine.gc(&options)?)
            }
            other => return Err(crate::AppError::BadOp(format!("{other:?}")).into()),
        };
        Ok(value)
    }

    fn sql_options(&self, limit: u32) -> SqlOptions {
        SqlOptions { limit: limit as usize, files: Some(self.root.clone()) }
    }

    /// Who cites which version of a table: the newest version of every asset, and all that a run, a
    /// dataset, an index, an evaluation, a model or a release was made from, however far back. An
    /// answer cites its release. That a version follows another of the same table holds nothing.
    fn holders(&self) -> Result<Vec<Holder>, Failure> {
        let reader = self.store.read()?;
        let mut holders = Vec::new();
        for (asset, row) in &self.state()?.latest {
            if matches!(asset.folder(), "sources" | "models") {
                holders.push(Holder { version: row.version, by: "newest".to_owned() });
            }
            // What an export wrote last may have to be looked at, or written again.
            if asset.folder() == "exports"
                && let Some(version) = row.meta["version"].as_str().and_then(|id| id.parse().ok())
            {
                holders.push(Holder { version, by: asset.to_string() });
            }
        }
        let chain = Chain::load(&reader)?;
        let names = self.version_names()?;
        for (version, by) in chain.cited(&names) {
            for by in by {
                holders.push(Holder { version, by });
            }
        }
        Ok(holders)
    }
}

/// The kinds of artifact that hold what they were made from.
const HOLDING: &[&str] = &[
    "dataset_snapshot",
    "index_snapshot",
    "run",
    "checkpoint",
    "model_version",
    "eval_report",
    "release",
];
/// The kinds of activity that hold what they used.
const HOLDING_ACTIVITIES: &[&str] = &["train", "evaluate", "answer"];

/// The chain without passages and documents, which are no tables and lead to none.
struct Chain {
    /// What each artifact is: its kind, and the table's asset.
    artifacts: HashMap<String, (String, Option<String>)>,
    /// What each activity is: its kind and its label.
    activities: HashMap<String, (String, String)>,
    /// From each node to what it came from or used.
    back: HashMap<String, Vec<String>>,
    /// From each artifact to the activities that made it.
    makers: HashMap<String, Vec<String>>,
}

impl Chain {
    fn load(reader: &Reader) -> Result<Self, Failure> {
        let mut chain = Self {
            artifacts: HashMap::new(),
            activities: HashMap::new(),
            back: HashMap::new(),
            makers: HashMap::new(),
        };
        let sql = "SELECT digest, kind, json_extract(meta, '$.asset') FROM artifacts
                   WHERE kind NOT IN ('chunk', 'doc_version')";
        for row in reader.query(sql, &[])? {
            let asset = row.opt_text(2)?.map(str::to_owned);
            chain.artifacts.insert(row.text(0)?.to_owned(), (row.text(1)?.to_owned(), asset));
        }
        for row in reader.query("SELECT id, kind, label FROM activities", &[])? {
            let what = (row.text(1)?.to_owned(), row.text(2)?.to_owned());
            chain.activities.insert(row.text(0)?.to_owned(), what);
        }
        let sql = "SELECT src, kind, dst FROM edges
                   WHERE kind IN ('derived_from', 'used', 'evaluated_on', 'generated')";
        for row in reader.query(sql, &[])? {
            let (from, to) = (row.text(0)?, row.text(2)?);
            if !chain.artifacts.contains_key(to) {
                continue;
            }
            let (edges, from, to) = match row.text(1)? {
                "generated" => (&mut chain.makers, to, from),
                _ => (&mut chain.back, from, to),
            };
            edges.entry(from.to_owned()).or_default().push(to.to_owned());
        }
        Ok(chain)
    }

    /// Every version of a table that is reached from something that holds, with who cites it.
    fn cited(&self, names: &BTreeMap<Digest, String>) -> BTreeMap<Digest, BTreeSet<String>> {
        let artifacts =
            self.artifacts.iter().filter(|(_, what)| HOLDING.contains(&what.0.as_str()));
        let activities = self
            .activities
            .iter()
            .filter(|(_, what)| HOLDING_ACTIVITIES.contains(&what.0.as_str()));
        let mut waiting: Vec<&str> = artifacts.map(|(id, _)| id.as_str()).collect();
        waiting.extend(activities.map(|(id, _)| id.as_str()));
        let mut seen: BTreeSet<&str> = waiting.iter().copied().collect();
        let mut cited: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        while let Some(node) = waiting.pop() {
            let own = self.back.get(node).into_iter().flatten();
            let made = self.makers.get(node).into_iter().flatten();
            let used = made.flat_map(|activity| self.back.get(activity).into_iter().flatten());
            for next in own.chain(used) {
                if self.same_table(node, next) || node == next {
                    continue;
                }
                if self.table_of(next).is_some()
                    && let Ok(version) = next.parse::<Digest>()
                {
                    cited.entry(version).or_default().insert(self.name(node, names));
                }
                if seen.insert(next) {
                    waiting.push(next);
                }
            }
        }
        cited
    }

    /// The asset of a version of a table.
    fn table_of(&self, node: &str) -> Option<&str> {
        let (kind, asset) = self.artifacts.get(node)?;
        (kind == "table_version").then_some(asset.as_deref()?)
    }

    fn same_table(&self, one: &str, other: &str) -> bool {
        self.table_of(one).is_some() && self.table_of(one) == self.table_of(other)
    }

    fn name(&self, node: &str, names: &BTreeMap<Digest, String>) -> String {
        if let Some((_, label)) = self.activities.get(node) {
            return label.clone();
        }
        let named = node.parse().ok().and_then(|digest: Digest| names.get(&digest).cloned());
        let kind = self.artifacts.get(node).map_or("", |(kind, _)| kind.as_str());
        named.unwrap_or_else(|| kind.replace('_', " "))
    }
}
