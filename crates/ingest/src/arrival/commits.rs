//! What did each commit of a table bring? The newest ones with the offsets that they took from each
//! partition, read from the accounts that the commits carry.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use serde::Serialize;
use sextant_core::{Cancel, Timestamp};

use super::{ArrivalState, Plan, commit::ARRIVAL_KEY};
use crate::{
    Ingest,
    error::{DataError, Result},
};

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArrivalCommit {
    /// The version of the table that it made.
    pub delta_version: u64,
    /// When.
    pub at: Option<String>,
    /// Records that went into the table.
    pub landed: u64,
    /// Records that went into quarantine.
    pub quarantined: u64,
    /// Rows that it took out of quarantine.
    pub replayed: u64,
    /// The offsets that it took.
    pub offsets: Vec<OffsetRange>,
}

/// The first and the last offset that a commit took from a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OffsetRange {
    /// The partition.
    pub partition: String,
    /// The offset behind the one that had landed before.
    pub from: i64,
    /// The last one.
    pub to: i64,
}

/// A commit with the account that it carries.
struct Entry {
    version: u64,
    at_ms: Option<i64>,
    state: ArrivalState,
}

impl Ingest {
    /// The newest commits of a source's table.
    pub(crate) fn arrival_commits(
        &self,
        plan: &Plan,
        most: usize,
        cancel: &Cancel,
    ) -> Result<Vec<ArrivalCommit>> {
        let (engine, asset, name) = (self.clone(), plan.asset.clone(), plan.table.clone());
        let entries = self.block(Some(cancel), async move {
            let target = engine.target(&asset, &name).await?;
            let Some(newest) = target.table.version() else { return Ok(Vec::new()) };
            let failed = |error| DataError::table("read the history of", &asset)(error);
            let mut history = target.table.history(Some(most.saturating_add(1)));
            let (mut entries, mut version) = (Vec::new(), newest);
            while let Some(commit) = history.try_next().await.map_err(failed)? {
                let state = commit.info.get(ARRIVAL_KEY).cloned();
                let state = state.and_then(|state| serde_json::from_value(state).ok());
                if let Some(state) = state {
                    entries.push(Entry { version, at_ms: commit.timestamp, state });
                }
                version = version.saturating_sub(1);
            }
            Ok(entries)
        })?;
        Ok(differences(&entries, most))
    }
}

/// What each entry has more than the one before it. The oldest has nothing to be compared with,
/// unless it is the first of all.
fn differences(entries: &[Entry], most: usize) -> Vec<ArrivalCommit> {
    let nothing = ArrivalState::default();
    let mut commits = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let before = match entries.get(at + 1) {
            Some(before) => &before.state,
            None if entry.version == 0 => &nothing,
            None => break,
        };
        let now = &entry.state;
        let commit = ArrivalCommit {
            delta_version: entry.version,
            at: entry.at_ms.map(|ms| Timestamp::from_micros(ms.saturating_mul(1000)).to_string()),
            landed: now.landed.saturating_sub(before.landed),
            quarantined: now.quarantined.saturating_sub(before.quarantined),
            replayed: now.replayed.saturating_sub(before.replayed),
            offsets: ranges(&before.marks, &now.marks),
        };
        let empty = commit.landed + commit.quarantined + commit.replayed == 0;
        if !empty || !commit.offsets.is_empty() {
            commits.push(commit);
        }
    }
    commits.truncate(most);
    commits
}

fn ranges(before: &BTreeMap<String, i64>, now: &BTreeMap<String, i64>) -> Vec<OffsetRange> {
    let moved = |(partition, to): (&String, &i64)| {
        let last = before.get(partition).copied();
        (last != Some(*to)).then(|| OffsetRange {
            partition: partition.clone(),
            from: last.map_or(0, |last| last + 1),
            to: *to,
        })
    };
    now.iter().filter_map(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: u64, landed: u64, marks: &[(&str, i64)]) -> Entry {
        let marks = marks.iter().map(|(name, mark)| ((*name).to_owned(), *mark)).collect();
        let state = ArrivalState { landed, marks, ..ArrivalState::default() };
        Entry { version, at_ms: None, state }
    }

    #[test]
    fn each_commit_has_what_the_one_before_had_not() {
        let entries = [
            entry(4, 9, &[("a", 7), ("b", 1)]),
            entry(3, 8, &[("a", 7)]),
            entry(2, 8, &[("a", 7)]),
            entry(0, 5, &[("a", 4)]),
        ];
        let shown: Vec<String> = differences(&entries, 9)
            .iter()
            .map(|commit| {
                let parts: Vec<_> = commit
                    .offsets
                    .iter()
                    .map(|part| format!("{} {}-{}", part.partition, part.from, part.to))
                    .collect();
                format!("{}: {} {}", commit.delta_version, commit.landed, parts.join(", "))
            })
            .collect();
        assert_eq!(shown, ["4: 1 b 0-1", "2: 3 a 5-7", "0: 5 a 0-4"]);
        // Without the first commit, the oldest one of the list has no account of its own.
        assert_eq!(differences(&entries[..2], 9).len(), 1);
        assert_eq!(differences(&entries, 1).len(), 1);
    }
}
