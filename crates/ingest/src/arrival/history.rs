//! What does a table's log say of what has arrived? The marks of the partitions, the account in the
//! newest commit of ours, and what commits did that no act has recorded.

use std::collections::BTreeSet;

use deltalake_core::DeltaTable;
use futures::TryStreamExt as _;
use serde_json::Value;
use sextant_core::{Cancel, Digest};
use sextant_project::AssetId;

use super::{
    ArrivalState, Marks, Pair, Recorded,
    commit::{ARRIVAL_KEY, Target, txn_app},
};
use crate::{
    Ingest,
    error::{DataError, IngestError, Result},
};
use sextant_data::table::CONTENT_KEY;

/// How far back a table's log is searched for our account.
const HISTORY_MAX: usize = 10_000;
const HISTORY_SHORT: usize = 8;

/// The mark that a table's log holds for an application id.
pub(crate) async fn txn_mark(table: &DeltaTable, app: &str) -> Result<Option<i64>> {
    let Ok(snapshot) = table.snapshot() else { return Ok(None) };
    let log = table.log_store();
    let found = snapshot.transaction_version(log.as_ref(), app).await;
    found.map_err(|error| DataError::table("read the marks of", app)(error))
}

impl Ingest {
    /// Opens a table for writing at its newest commit, or begins one.
    pub(crate) async fn target(&self, asset: &AssetId, name: &str) -> Result<Target> {
        let table = self.open_or_start(asset).await?;
        let mut target = Target {
            asset: asset.clone(),
            name: name.to_owned(),
            table,
            content: None,
            state: ArrivalState::default(),
        };
        if target.table.version().is_none() {
            return Ok(target);
        }
        let (content, state) = account(&target, |_| true)
            .await?
            .ok_or_else(|| IngestError::Foreign { asset: asset.clone() })?;
        target.content = Some(content);
        target.state = state;
        Ok(target)
    }

    /// The rows that this replay took out of quarantine, from the commit that took them.
    pub(crate) async fn released_in_history(
        &self,
        target: &Target,
        replay: u64,
    ) -> Result<Vec<(String, i64)>> {
        let of_it = |state: &ArrivalState| state.replays == replay && !state.released.is_empty();
        Ok(account(target, of_it).await?.map_or_else(Vec::new, |(_, state)| state.released))
    }

    /// The marks of these partitions.
    pub(crate) async fn marks(&self, target: &Target, partitions: &[String]) -> Result<Marks> {
        let mut marks = Marks::new();
        for partition in partitions {
            let app = txn_app(&target.asset, partition);
            if let Some(mark) = txn_mark(&target.table, &app).await? {
                marks.insert(partition.clone(), mark);
            }
        }
        Ok(marks)
    }

    /// The files whose rows were replaced by commits that no act has recorded.
    pub(crate) fn files_since(
        &self,
        pair: &mut Pair,
        known: Option<&Recorded>,
        cancel: &Cancel,
    ) -> Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        let main = known.map(|known| known.delta_version);
        let held = known.and_then(|known| known.quarantine);
        for (target, recorded) in [(&mut pair.main, main), (&mut pair.quarantine, held)] {
            let newest = target.table.version();
            let first = recorded.map_or(0, |version| version + 1);
            let commits = newest.map_or(0, |newest| (newest + 1).saturating_sub(first));
            let found = self.with(target, cancel, move |target| async move {
                files_of(&target, usize::try_from(commits).unwrap_or(usize::MAX)).await
            })?;
            files.extend(found);
        }
        Ok(files)
    }
}

/// The newest commit of ours that is wanted: its content and its account.
async fn account(
    target: &Target,
    wanted: impl Fn(&ArrivalState) -> bool,
) -> Result<Option<(Digest, ArrivalState)>> {
    // Nearly always the newest commit is ours: the long list is only made when it is not.
    for most in [HISTORY_SHORT, HISTORY_MAX] {
        if let Some(found) = account_among(target, &wanted, most).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn account_among(
    target: &Target,
    wanted: &impl Fn(&ArrivalState) -> bool,
    most: usize,
) -> Result<Option<(Digest, ArrivalState)>> {
    let failed = |error| DataError::table("read the history of", &target.asset)(error);
    let mut commits = target.table.history(Some(most));
    while let Some(commit) = commits.try_next().await.map_err(failed)? {
        let content = commit.info.get(CONTENT_KEY).and_then(Value::as_str);
        let (Some(content), Some(state)) = (content, commit.info.get(ARRIVAL_KEY)) else {
            continue;
        };
        let foreign = || IngestError::Foreign { asset: target.asset.clone() };
        let content = content.parse().map_err(|_| foreign())?;
        let state: ArrivalState = serde_json::from_value(state.clone()).map_err(|_| foreign())?;
        if wanted(&state) {
            return Ok(Some((content, state)));
        }
    }
    Ok(None)
}

/// The files that the newest commits have replaced.
async fn files_of(target: &Target, commits: usize) -> Result<Vec<String>> {
    let mut files = Vec::new();
    if commits == 0 {
        return Ok(files);
    }
    let failed = |error| DataError::table("read the history of", &target.asset)(error);
    let mut history = target.table.history(Some(commits));
    while let Some(commit) = history.try_next().await.map_err(failed)? {
        let state = commit.info.get(ARRIVAL_KEY).cloned();
        let state = state.and_then(|state| serde_json::from_value::<ArrivalState>(state).ok());
        files.extend(state.into_iter().flat_map(|state| state.files));
    }
    Ok(files)
}
