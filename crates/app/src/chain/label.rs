//! What is a node called on one line?

use serde_json::Value;
use sextant_core::ArtifactKind;
use sextant_lineage::{Activity, Artifact};

/// Hexadecimal digits of a digest inside a label; the whole digest is in the node's detail.
const DIGEST_DIGITS: usize = 12;

/// One line for people: the asset or the artifact's own name, then what its metadata says, in the
/// words of its kind.
pub fn label(artifact: &Artifact, asset: Option<&str>) -> String {
    let name = asset.map(str::to_owned).or_else(|| own_name(artifact));
    match (name, facts(artifact)) {
        (Some(name), Some(facts)) => format!("{name}, {facts}"),
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => artifact.kind.as_str().replace('_', " "),
    }
}

fn own_name(artifact: &Artifact) -> Option<String> {
    let meta = &artifact.meta;
    let text = |field: &str| meta[field].as_str().map(str::to_owned);
    match artifact.kind {
        ArtifactKind::DocVersion => text("path"),
        ArtifactKind::Chunk => {
            text("path").map(|path| match text("heading").filter(|heading| !heading.is_empty()) {
                Some(heading) => format!("{path} › {heading}"),
                None => path,
            })
        }
        ArtifactKind::SourceBatch => text("uri").or_else(|| text("source")),
        ArtifactKind::Export => text("uri"),
        ArtifactKind::Opaque => text("what"),
        ArtifactKind::TableVersion => text("table").or_else(|| text("asset")),
        _ => text("name").or_else(|| text("asset")).or_else(|| text("label")),
    }
}

fn facts(artifact: &Artifact) -> Option<String> {
    let meta = &artifact.meta;
    match artifact.kind {
        ArtifactKind::DocVersion => {
            Some(format!("{} bytes, {}", meta["bytes"], digest(&meta["raw_digest"])?))
        }
        ArtifactKind::Chunk => Some(format!("bytes {}–{}", meta["byte_start"], meta["byte_end"])),
        ArtifactKind::SourceBatch => {
            let places = offsets(meta).or_else(|| log_places(meta));
            places.or_else(|| file_count(meta).map(|count| format!("{count} files")))
        }
        ArtifactKind::TableVersion | ArtifactKind::Export => counted(&meta["rows"], "rows"),
        ArtifactKind::DatasetSnapshot => splits(meta),
        ArtifactKind::Run => Some(format!(
            "run {} of {}",
            meta["run"].as_str()?,
            meta["experiment"]["name"].as_str()?
        )),
        ArtifactKind::Code => {
            let commit = meta["commit"].as_str().filter(|commit| !commit.is_empty())?;
            Some(format!("commit {commit}"))
        }
        ArtifactKind::Checkpoint => {
            meta["step"].as_u64().map(|step| format!("checkpoint at step {step}"))
        }
        ArtifactKind::ModelVersion if meta["kind"] == "logged_model" => {
            Some(format!("logged model {}", meta["model"].as_str()?))
        }
        ArtifactKind::ModelVersion => {
            let weights = digest(&meta["files"]["model.safetensors"]["digest"])?;
            Some(format!("{} dimensions, weights {weights}", meta["dim"]))
        }
        ArtifactKind::EmbedSpec => Some(format!(
            "embedding of {} dimensions by model {}",
            meta["dim"],
            digest(&meta["model"])?
        )),
        ArtifactKind::IndexSnapshot => counted(&meta["count"], "chunks"),
        ArtifactKind::EvalSet => counted(&meta["count"], "questions"),
        ArtifactKind::EvalReport => scores(meta),
        ArtifactKind::CheckReport => {
            let failed = if meta["passed"] == true { "passed" } else { "failed" };
            Some(format!("{} checks {failed}", meta["checks"].as_array()?.len()))
        }
        ArtifactKind::ServingConfig => serving(meta),
        _ => None,
    }
}

/// How it retrieves, and who writes when it is not the built-in reader. What stands behind an
/// endpoint can change without our seeing it.
fn serving(meta: &Value) -> Option<String> {
    // A release wraps the agent's choices.
    let choices = if meta["serving"].is_null() { meta } else { &meta["serving"]["config"] };
    let mode = choices["retrieval"]["mode"].as_str()?;
    let generator = &choices["generator"];
    match (generator["model"].as_str(), generator["base_url"].as_str()) {
        (Some(model), Some(address)) => {
            Some(format!("{mode} retrieval, written by {model} at {address} (not pinned)"))
        }
        _ => Some(format!("{mode} retrieval")),
    }
}

/// What an activity is called: what it did for which asset, and the run it recorded.
pub fn activity_label(activity: &Activity) -> String {
    let meta = &activity.meta;
    match (meta["asset"].as_str(), meta["run"].as_str()) {
        (Some(asset), Some(run)) => format!("{asset}, run {run}, {} steps", meta["steps"]),
        (Some(asset), None) => asset.to_owned(),
        _ => activity.label.clone(),
    }
}

fn digest(value: &Value) -> Option<String> {
    let hex = value.as_str()?.strip_prefix("sha256:")?;
    Some(format!("sha256:{}", hex.get(..DIGEST_DIGITS)?))
}

fn counted(count: &Value, of: &str) -> Option<String> {
    count.as_u64().map(|count| format!("{count} {of}"))
}

fn splits(meta: &Value) -> Option<String> {
    let splits = meta["splits"].as_object()?;
    let parts: Vec<String> =
        splits.iter().map(|(name, split)| format!("{} {name}", split["rows"])).collect();
    Some(format!("{}, seed {}", parts.join(", "), meta["seed"]))
}

fn scores(meta: &Value) -> Option<String> {
    let mut parts = vec![counted(&meta["count"], "questions")?];
    for (metric, value) in meta["metrics"].as_object().into_iter().flatten() {
        if let (Some(name), Some(value)) = (metric.strip_prefix("retrieval."), value.as_f64())
            && name.contains(".ndcg@")
        {
            parts.push(format!("{} {value:.3}", name.replace('.', " ")));
        }
    }
    Some(parts.join(", "))
}

/// `offsets 0–41`, with the partition where there are several.
fn offsets(meta: &Value) -> Option<String> {
    let partitions = meta["offsets"].as_object()?;
    let range = |range: &Value| format!("{}–{}", range["from"], range["to"]);
    let mut parts: Vec<String> = match partitions.len() {
        0 => Vec::new(),
        1 => partitions.values().map(|of| format!("offsets {}", range(of))).collect(),
        _ => partitions
            .iter()
            .map(|(name, of)| format!("partition {name} offsets {}", range(of)))
            .collect(),
    };
    if let Some(replayed) = meta["replayed"].as_u64().filter(|count| *count > 0) {
        parts.push(format!("{replayed} from quarantine"));
    }
    Some(if parts.is_empty() { "nothing new".to_owned() } else { parts.join(", ") })
}

/// Where in the log of a database: `LSN 0/16B3748–0/16B9000`; or which values of a column that grows.
fn log_places(meta: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(to) = text(&meta["lsn"]["to"]) {
        let from = text(&meta["lsn"]["from"]).filter(|from| *from != to);
        let range = from.map_or_else(|| to.clone(), |from| format!("{from}–{to}"));
        let copied = if meta["lsn"]["copied"] == true { "copied, " } else { "" };
        return Some(format!("{copied}LSN {range}"));
    }
    let to = text(&meta["cursor"]["to"])?;
    let from = text(&meta["cursor"]["from"]).unwrap_or_default();
    Some(format!("cursor {from}–{to}"))
}

fn file_count(meta: &Value) -> Option<usize> {
    match &meta["files"] {
        Value::Array(files) => Some(files.len()),
        Value::Object(files) => Some(files.len()),
        _ => None,
    }
}
