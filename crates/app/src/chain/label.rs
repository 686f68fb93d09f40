//! What is a node called on one line?

use serde_json::Value;
use sextant_core::ArtifactKind;
use sextant_lineage::Artifact;

/// One line for people: what the artifact's own metadata says, in the words of its kind.
pub fn label(artifact: &Artifact) -> String {
    let meta = &artifact.meta;
    let text = |field: &str| meta[field].as_str().map(str::to_owned);
    let named = || text("name").or_else(|| text("asset")).or_else(|| text("label"));
    let found = match artifact.kind {
        ArtifactKind::DocVersion => text("path").map(|path| {
            let raw = text("raw_digest").unwrap_or_default();
            format!("{path} ({} bytes, {raw})", meta["bytes"])
        }),
        ArtifactKind::Chunk => Some(format!("bytes {}–{}", meta["byte_start"], meta["byte_end"])),
        ArtifactKind::SourceBatch => {
            text("uri").or_else(|| text("source")).map(|uri| match file_count(meta) {
                Some(count) => format!("{uri}, {count} files"),
                None => uri,
            })
        }
        ArtifactKind::TableVersion => {
            let rows = meta["rows"].as_u64();
            text("table").or_else(named).map(|name| match rows {
                Some(rows) => format!("{name}, {rows} rows"),
                None => name,
            })
        }
        ArtifactKind::Opaque => text("what"),
        _ => named(),
    };
    found.unwrap_or_else(|| artifact.kind.as_str().replace('_', " "))
}

fn file_count(meta: &Value) -> Option<usize> {
    match &meta["files"] {
        Value::Array(files) => Some(files.len()),
        Value::Object(files) => Some(files.len()),
        _ => None,
    }
}
