//! How does a result look on a terminal? One function for each operation, from the operation's JSON
//! to text; `--json` prints that same JSON instead.

mod answers;
mod arrivals;
mod assets;
mod lineage;
mod releases;
mod runs;
mod tables;
mod text;

use serde_json::Value;
use sextant_app::Op;

pub use tables::csv;
pub use text::{Style, seconds};

/// The text of an operation's result, for people.
pub fn render(op: &Op, result: &Value) -> String {
    match op {
        Op::Build { .. } => assets::build(result),
        Op::Status {} => assets::status(result),
        Op::Versions { .. } => assets::versions(result),
        Op::Ask { .. } | Op::Answer { .. } => answers::answer(result),
        Op::Answers { .. } => answers::list(result),
        Op::Replay { .. } => answers::replay(result),
        Op::Search { .. } => answers::search(result),
        Op::Why { .. } => lineage::tree(result, "inputs"),
        Op::Impact { .. } => lineage::impact(result),
        Op::Holes {} => lineage::holes(result),
        Op::Fsck { .. } => lineage::fsck(result),
        Op::Doctor {} => lineage::doctor(result),
        Op::Diff { .. } => releases::diff(result),
        Op::Rollback { .. } => releases::rollback(result),
        Op::ReleaseCreate { .. } | Op::ReleaseShow { .. } | Op::ReleasePromote { .. } => {
            releases::show(result)
        }
        Op::ReleaseGate { .. } => releases::gate(result),
        Op::ReleaseList {} => releases::list(result),
        Op::Runs {} => runs::list(result),
        Op::Run { .. } => runs::show(result),
        Op::Best { .. } => runs::best(result),
        Op::EvalShow { .. } => runs::evaluation(result),
        Op::DataTables {} => tables::list(result),
        Op::DataQuery { .. } | Op::DatasetShow { .. } => assets::rows(result),
        Op::Sql { .. } => tables::outcome(result),
        Op::DataHistory { .. } => tables::history(result),
        Op::DataShow { .. } => tables::version(result),
        Op::DataRestore { .. }
        | Op::DataReplace { .. }
        | Op::DataCompact { .. }
        | Op::DataZorder { .. } => tables::changed(result),
        Op::DataRestoreTag { .. } => tables::all_changed(result),
        Op::DataTag { .. } => tables::tag(result),
        Op::DataTags {} => tables::tags(result),
        Op::DataFiles { .. } => tables::files(result),
        Op::DataUntag { .. } => tables::untagged(result),
        Op::DataGc { .. } => tables::gc(result),
        Op::DataSources {} => arrivals::sources(result),
        Op::DataSource { .. } => arrivals::source(result),
        Op::DataSchema { .. } => arrivals::schema(result),
        Op::DataQuarantine { .. } => arrivals::quarantine(result),
        Op::DataReplay { .. } => arrivals::replay(result),
        Op::CheckFailures { .. } => assets::failures(result),
        Op::Explain { .. } => lineage::explain(result),
        Op::ConfigShow {} => assets::config(result),
        Op::ConfigCheck {} => assets::config_check(result),
        Op::ConfigSchema {} | Op::Passage { .. } => text::pretty(result),
    }
}

/// The next useful commands after an operation.
pub fn next_steps(op: &Op, result: &Value) -> Vec<String> {
    let steps: &[&str] = match op {
        Op::Build { .. } if result["failed"].as_u64().unwrap_or(0) > 0 => &["sextant status"],
        Op::Build { .. } => &["sextant ask \"…\"", "sextant status"],
        Op::Status {} => &["sextant build"],
        Op::Ask { .. } => &["sextant why last"],
        Op::Why { .. } => &["sextant impact DIGEST"],
        Op::Rollback { .. } => &["sextant release list", "sextant ask \"…\""],
        Op::ReleaseCreate { .. } => &["sextant release gate DIGEST"],
        Op::ReleaseGate { .. } => &["sextant release promote DIGEST"],
        Op::Runs {} => &["sextant track best"],
        Op::DataTables {} => &["sextant sql \"SELECT …\"", "sextant data history TABLE"],
        Op::DataHistory { .. } => &["sextant data show TABLE@VERSION"],
        Op::DataGc { dry_run: true, .. } => &["sextant data gc"],
        Op::DataSources {} => &["sextant data source SOURCE"],
        Op::DataSource { .. } => &["sextant data quarantine SOURCE"],
        Op::DataQuarantine { .. } => &["sextant data replay SOURCE"],
        _ => &[],
    };
    steps.iter().map(|step| (*step).to_owned()).collect()
}
