//! How is a batch of files read? Only files whose size, time or inode changed are opened, and only
//! those whose bytes changed make a new document version. The batch is all or nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use datafusion::arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
    },
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use serde_json::json;
use sextant_core::{ActivityKind, ArtifactKind, Digest};
use sextant_lineage::Act;
use sextant_project::{BuildContext, Built};

use super::{DOCUMENTS, FilesAsset};
use crate::{
    catalog::{self, FileRow},
    content,
    error::{DataError, Result},
    scan::{self, Found},
    table::{self, NewTable, TableMeta},
};

/// A table version is tied to each of its documents up to this many; beyond, through its batch.
const DOCUMENT_EDGES_MAX: usize = 10_000;
/// How often a long read tells how far it is.
const PROGRESS_EVERY: usize = 64;

/// What happened to each file since the last batch.
#[derive(Debug, Default)]
struct Batch {
    /// Every file of the batch, by path.
    rows: BTreeMap<String, FileRow>,
    /// New or changed documents with their text.
    fresh: Vec<Fresh>,
    removed: Vec<String>,
    read: usize,
    added: usize,
    changed: usize,
}

#[derive(Debug)]
struct Fresh {
    path: String,
    text: String,
    modified_us: i64,
}

impl Batch {
    fn summary(&self) -> String {
        let total = self.rows.len();
        format!(
            "{total} documents: {} read, {} unchanged, {} added, {} changed, {} removed",
            self.read,
            total - self.added - self.changed,
            self.added,
            self.changed,
            self.removed.len(),
        )
    }
}

pub(super) fn build(
    asset: &FilesAsset,
    context: &BuildContext<'_>,
    act: &mut Act,
) -> Result<Built> {
    act.kind(ActivityKind::Ingest);
    let found = scan::scan(&asset.folder, &asset.rules)?;
    let known: HashMap<String, FileRow> =
        catalog::files(&context.store.read()?, asset.id.as_str())?
            .into_iter()
            .map(|row| (row.path.clone(), row))
            .collect();
    let mut batch = read_batch(asset, context, &found, &known)?;
    let previous = match &context.previous {
        Some(previous) => Some(TableMeta::from_value(&previous.meta)?),
        None => None,
    };
    let kept = kept_rows(asset, context, previous.as_ref(), &mut batch)?;
    record_documents(asset, act, &mut batch)?;
    let source_batch = record_batch(asset, act, &batch)?;
    let mut batches = kept;
    batches.push(document_rows(&batch)?);
    let rows = NewTable::new(asset.id.clone(), DOCUMENTS.to_owned(), &schema(), &batches)?;
    let meta = asset.engine.write_table(context.cancel, rows)?;
    let mut derived = vec![source_batch];
    if batch.rows.len() <= DOCUMENT_EDGES_MAX {
        let documents: std::collections::BTreeSet<Digest> =
            batch.rows.values().map(|row| row.doc_version).collect();
        derived.extend(documents);
    }
    let version = table::record(act, &meta, &derived)?;
    for row in batch.rows.values().filter(|row| known.get(&row.path) != Some(row)) {
        catalog::put_file(act, asset.id.as_str(), row);
    }
    for path in &batch.removed {
        catalog::remove_file(act, asset.id.as_str(), path);
    }
    act.note("read", batch.read);
    act.note("added", batch.added);
    act.note("changed", batch.changed);
    act.note("removed", batch.removed.len());
    Ok(Built { version, meta: meta.to_value(), summary: batch.summary() })
}

fn read_batch(
    asset: &FilesAsset,
    context: &BuildContext<'_>,
    found: &[Found],
    known: &HashMap<String, FileRow>,
) -> Result<Batch> {
    let mut batch = Batch::default();
    let read_ns = context.store.now().micros().saturating_mul(1000);
    for (index, file) in found.iter().enumerate() {
        if context.cancel.is_cancelled() {
            return Err(DataError::Cancelled);
        }
        if index % PROGRESS_EVERY == 0 {
            context.progress(index as u64, Some(found.len() as u64), &file.path);
        }
        let old = known.get(&file.path);
        if let Some(row) = old.filter(|row| scan::is_settled(row, file)) {
            batch.rows.insert(file.path.clone(), row.clone());
            continue;
        }
        batch.read += 1;
        let text = scan::read_text(&asset.folder, file, asset.config.max_file_bytes)?;
        let raw_digest = Digest::of(&text);
        let doc_version = match old {
            Some(row) if row.raw_digest == raw_digest => row.doc_version,
            // Replaced when the document version is recorded.
            Some(_) | None => raw_digest,
        };
        match old {
            Some(row) if row.raw_digest == raw_digest => {}
            Some(_) => batch.changed += 1,
            None => batch.added += 1,
        }
        if old.is_none_or(|row| row.raw_digest != raw_digest) {
            let modified_us = file.mtime_ns.div_euclid(1000);
            batch.fresh.push(Fresh { path: file.path.clone(), text, modified_us });
        }
        let row = FileRow {
            path: file.path.clone(),
            bytes: file.bytes,
            mtime_ns: file.mtime_ns,
            inode: file.inode,
            read_ns,
            raw_digest,
            doc_version,
        };
        batch.rows.insert(file.path.clone(), row);
    }
    batch.removed = known.keys().filter(|path| !batch.rows.contains_key(*path)).cloned().collect();
    batch.removed.sort();
    Ok(batch)
}

/// The rows of the previous table version that stay as they are. A document without such a row
/// (the table of the previous version is gone, or the asset was moved) is read again.
fn kept_rows(
    asset: &FilesAsset,
    context: &BuildContext<'_>,
    previous: Option<&TableMeta>,
    batch: &mut Batch,
) -> Result<Vec<RecordBatch>> {
    let fresh: HashSet<String> = batch.fresh.iter().map(|fresh| fresh.path.clone()).collect();
    let wanted: HashMap<String, Digest> = batch
        .rows
        .values()
        .filter(|row| !fresh.contains(&row.path))
        .map(|row| (row.path.clone(), row.doc_version))
        .collect();
    let mut kept = Vec::new();
    let mut seen = HashSet::new();
    if let Some(previous) = previous {
        let engine = asset.engine.clone();
        let meta = previous.clone();
        let read = async move { engine.read_pinned(&meta, None).await };
        match asset.engine.block(Some(context.cancel), read) {
            Ok((read_schema, batches)) if content::stored_schema(&read_schema) == schema() => {
                for rows in batches {
                    let rows = content::to_stored(&rows, &schema()).map_err(DataError::engine)?;
                    kept.push(keep(&rows, &wanted, &mut seen)?);
                }
            }
            Ok(_) => context.events.info("the table has other columns now: reading every file"),
            Err(DataError::Cancelled) => return Err(DataError::Cancelled),
            Err(error) => context
                .events
                .warn(format!("the previous table cannot be read, reading every file: {error}")),
        }
    }
    for path in wanted.keys().filter(|path| !seen.contains(*path)) {
        reread(asset, path, batch)?;
    }
    Ok(kept)
}

fn keep(
    rows: &RecordBatch,
    wanted: &HashMap<String, Digest>,
    seen: &mut HashSet<String>,
) -> Result<RecordBatch> {
    let text = |name: &str| {
        rows.column_by_name(name)
            .ok_or_else(|| DataError::engine(format!("the table has no column {name}")))
            .and_then(|column| cast(column, &DataType::Utf8).map_err(DataError::engine))
    };
    let (paths, versions) = (text("path")?, text("doc_version")?);
    let (paths, versions) = (paths.as_string::<i32>(), versions.as_string::<i32>());
    let mut mask = Vec::with_capacity(rows.num_rows());
    for index in 0..rows.num_rows() {
        let (path, version) = (paths.value(index), versions.value(index));
        let same = wanted.get(path).is_some_and(|digest| digest.to_string() == version);
        mask.push(same && seen.insert(path.to_owned()));
    }
    filter_record_batch(rows, &BooleanArray::from(mask)).map_err(DataError::engine)
}

fn reread(asset: &FilesAsset, path: &str, batch: &mut Batch) -> Result<()> {
    let Some(row) = batch.rows.get_mut(path) else { return Ok(()) };
    let found = Found {
        path: row.path.clone(),
        bytes: row.bytes,
        mtime_ns: row.mtime_ns,
        inode: row.inode,
    };
    let text = scan::read_text(&asset.folder, &found, asset.config.max_file_bytes)?;
    row.raw_digest = Digest::of(&text);
    let modified_us = row.mtime_ns.div_euclid(1000);
    batch.read += 1;
    batch.fresh.push(Fresh { path: path.to_owned(), text, modified_us });
    Ok(())
}

/// Stores the bytes and the version of each new document.
fn record_documents(asset: &FilesAsset, act: &mut Act, batch: &mut Batch) -> Result<()> {
    batch.fresh.sort_by(|left, right| left.path.cmp(&right.path));
    for fresh in &batch.fresh {
        let raw_digest = act.blob(fresh.text.as_bytes())?;
        let body = json!({
            "kind": "doc_version",
            "source": asset.id,
            "path": fresh.path,
            "raw_digest": raw_digest,
            "bytes": fresh.text.len(),
        });
        let doc_version = act.manifest(ArtifactKind::DocVersion, &body, &[])?;
        if let Some(row) = batch.rows.get_mut(&fresh.path) {
            row.doc_version = doc_version;
        }
    }
    Ok(())
}

/// The manifest of what was read, and which documents it holds.
fn record_batch(asset: &FilesAsset, act: &mut Act, batch: &Batch) -> Result<Digest> {
    let files: Vec<_> = batch
        .rows
        .values()
        .map(|row| {
            json!({
                "path": row.path,
                "raw_digest": row.raw_digest,
                "bytes": row.bytes,
                "doc_version": row.doc_version,
            })
        })
        .collect();
    let body = json!({
        "kind": "source_batch",
        "source": asset.id,
        "uri": format!("project:{}", asset.config.path),
        "files": files,
    });
    let digest = act.manifest(ArtifactKind::SourceBatch, &body, &[])?;
    for fresh in &batch.fresh {
        if let Some(row) = batch.rows.get(&fresh.path) {
            act.edge(row.doc_version, sextant_core::EdgeKind::DerivedFrom, digest);
        }
    }
    Ok(digest)
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        text("path"),
        text("title"),
        text("text"),
        Field::new("bytes", DataType::Int64, true),
        text("raw_digest"),
        text("doc_version"),
        Field::new("modified_at", time, true),
    ]))
}

fn document_rows(batch: &Batch) -> Result<RecordBatch> {
    let mut texts: [StringBuilder; 5] = Default::default();
    let mut bytes = Int64Builder::new();
    let mut modified = TimestampMicrosecondBuilder::new();
    for fresh in &batch.fresh {
        let Some(row) = batch.rows.get(&fresh.path) else { continue };
        let title = title_of(&fresh.path, &fresh.text);
        let raw_digest = row.raw_digest.to_string();
        let doc_version = row.doc_version.to_string();
        let values = [&fresh.path, &title, &fresh.text, &raw_digest, &doc_version];
        for (builder, value) in texts.iter_mut().zip(values) {
            builder.append_value(value);
        }
        bytes.append_value(fresh.text.len() as i64);
        modified.append_value(fresh.modified_us);
    }
    let [mut path, mut title, mut text, mut raw_digest, mut doc_version] = texts;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(path.finish()),
        Arc::new(title.finish()),
        Arc::new(text.finish()),
        Arc::new(bytes.finish()),
        Arc::new(raw_digest.finish()),
        Arc::new(doc_version.finish()),
        Arc::new(modified.finish().with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).map_err(DataError::engine)
}

/// The first heading of a Markdown text, or the file's name.
fn title_of(path: &str, text: &str) -> String {
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
        }
        if let (false, Some(title)) = (fenced, line.strip_prefix("# ")) {
            return title.trim().trim_end_matches('#').trim_end().to_owned();
        }
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}
