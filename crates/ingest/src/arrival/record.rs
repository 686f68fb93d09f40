//! What does a build of a source record? The tables as they stand after landing, and what they came
//! from: the batch of records since the last act, with its offsets. Commits that no act has
//! recorded are part of that batch, whoever made them.

use serde_json::{Value, json};
use sextant_core::{ActivityKind, ArtifactKind, Digest};
use sextant_lineage::Act;
use sextant_project::{BuildContext, Built};

use super::{ArrivalState, Feed, Landed, Plan, Recorded};
use crate::{Ingest, catalog, error::Result};
use sextant_data::{TableMeta, latest_table, table};

/// Lands what the feed has and records the result.
pub(crate) fn build(
    engine: &Ingest,
    plan: &Plan,
    feed: &mut dyn Feed,
    context: &BuildContext<'_>,
    act: &mut Act,
) -> Result<Built> {
    let landed = engine.land(plan, feed, context.cancel)?;
    let offsets = |before: &ArrivalState| json!({ "offsets": offsets(before, &landed.state) });
    record(engine, plan, &landed, context, act, offsets)
}

/// Records what has landed. `places` tells where in the source the records are from that came in since
/// the last act.
pub(crate) fn record(
    engine: &Ingest,
    plan: &Plan,
    landed: &Landed,
    context: &BuildContext<'_>,
    act: &mut Act,
    places: impl FnOnce(&ArrivalState) -> Value,
) -> Result<Built> {
    act.kind(ActivityKind::Ingest);
    let reader = engine.store().read()?;
    let known = catalog::arrival(&reader, plan.asset.as_str())?;
    let before = known.as_ref().map(|known| known.state.clone()).unwrap_or_default();
    if let (Some(known), Some(previous)) = (&known, &context.previous)
        && known.delta_version == landed.table.delta_version
        && known.quarantine == landed.quarantine.as_ref().map(|table| table.delta_version)
    {
        let (version, meta) = (previous.version, previous.meta.clone());
        return Ok(Built { version, meta, summary: "nothing new arrived".to_owned() });
    }
    let batch = record_batch(plan, &before, landed, places(&before), act)?;
    let mut derived = vec![batch];
    derived.extend(known.as_ref().map(|known| known.version));
    let version = table::record(act, &landed.table, &derived)?;
    if let Some(quarantine) = &landed.quarantine {
        record_quarantine(engine, act, quarantine, batch)?;
    }
    act.note("delta_version", landed.table.delta_version);
    act.note("arrived", landed.state.arrived - before.arrived.min(landed.state.arrived));
    let recorded = Recorded {
        delta_version: landed.table.delta_version,
        quarantine: landed.quarantine.as_ref().map(|table| table.delta_version),
        version,
        state: landed.state.clone(),
    };
    catalog::put_arrival(act, plan.asset.as_str(), &recorded);
    let summary = summary(&before, landed);
    Ok(Built { version, meta: landed.table.to_value(), summary })
}

/// The manifest of the records that this version has and the last one had not.
fn record_batch(
    plan: &Plan,
    before: &ArrivalState,
    landed: &Landed,
    places: Value,
    act: &mut Act,
) -> Result<Digest> {
    let now = &landed.state;
    let mut body = json!({
        "kind": "source_batch",
        "source": plan.asset,
        "uri": plan.uri,
        "arrived": now.arrived.saturating_sub(before.arrived),
        "landed": now.landed.saturating_sub(before.landed),
        "quarantined": now.quarantined.saturating_sub(before.quarantined),
        "replayed": now.replayed.saturating_sub(before.replayed),
        "delta_version": landed.table.delta_version,
    });
    if let (Some(body), Value::Object(places)) = (body.as_object_mut(), places) {
        body.extend(places);
    }
    Ok(act.manifest(ArtifactKind::SourceBatch, &body, &[])?)
}

/// The offsets of each partition that came in since an older account.
pub(crate) fn offsets(before: &ArrivalState, now: &ArrivalState) -> Value {
    let mut offsets = serde_json::Map::new();
    for (partition, to) in &now.marks {
        let from = before.marks.get(partition);
        if from != Some(to) {
            let from = from.map_or(0, |last| last + 1);
            offsets.insert(partition.clone(), json!({ "from": from, "to": to }));
        }
    }
    Value::Object(offsets)
}

/// Records the quarantine as it stands, when it is not yet.
pub(crate) fn record_quarantine(
    engine: &Ingest,
    act: &mut Act,
    quarantine: &TableMeta,
    batch: Digest,
) -> Result<()> {
    let latest = latest_table(&engine.store().read()?, quarantine.asset.as_str())?;
    if latest.as_ref().is_some_and(|known| known.meta == *quarantine) {
        return Ok(());
    }
    let mut derived = vec![batch];
    derived.extend(latest.map(|known| known.version));
    table::record(act, quarantine, &derived).map(drop)
}

fn summary(before: &ArrivalState, landed: &Landed) -> String {
    let now = &landed.state;
    let mut text = format!(
        "{} arrived: {} landed, {} quarantined; {} rows",
        now.arrived.saturating_sub(before.arrived),
        now.landed.saturating_sub(before.landed),
        now.quarantined.saturating_sub(before.quarantined),
        landed.table.rows,
    );
    let replayed = now.replayed.saturating_sub(before.replayed);
    if replayed > 0 {
        text.push_str(&format!(", {replayed} out of quarantine"));
    }
    text
}
