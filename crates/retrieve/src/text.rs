//! How is text stored and ranked? A tantivy index, written once with one commit whose payload names
//! the vectors that belong to it.
//!
//! Headings, breadcrumb and body are one field. As fields of their own their BM25 scores would be
//! added, and a word that stands in the body of many sections but in few headings would decide
//! alone: see `docs/adr/0004-index.md`. So a word counts by how rare it is anywhere in a section,
//! and an identifier that is found whole counts once more.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sextant_core::Digest;
use tantivy::{
    DocAddress, Index, IndexReader, IndexSettings, ReloadPolicy, Searcher, TantivyDocument, Term,
    collector::TopDocs,
    indexer::NoMergePolicy,
    query::{BooleanQuery, Occur, Query, TermQuery},
    schema::{
        FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
        Value,
    },
};

use crate::{
    chunk::ChunkRow,
    error::RetrieveError,
    limits::{QUERY_TERMS_MAX, TEXT_WRITER_BYTES},
    tokens,
};

/// What the text commit says about the vectors: they are one commit, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    /// The manifest's digest: the snapshot's name.
    pub snapshot: Digest,
    /// How many chunks.
    pub chunks: usize,
    /// The digest of the vector file; `None` for an index of text alone.
    pub vectors: Option<Digest>,
}

#[derive(Clone, Copy)]
struct Fields {
    row: Field,
    chunk: Field,
    doc_version: Field,
    path: Field,
    ordinal: Field,
    heading: Field,
    breadcrumb: Field,
    body: Field,
    /// The words of heading, breadcrumb and body.
    words: Field,
    /// The identifiers of path, breadcrumb and body.
    code: Field,
    byte_start: Field,
    byte_end: Field,
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexed = |analyzer: &str| {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(analyzer)
            .set_index_option(IndexRecordOption::WithFreqs);
        TextOptions::default().set_indexing_options(indexing)
    };
    let fields = Fields {
        row: builder.add_u64_field("row", FAST),
        chunk: builder.add_text_field("chunk", STRING | STORED),
        doc_version: builder.add_text_field("doc_version", STRING | STORED),
        path: builder.add_text_field("path", STORED),
        ordinal: builder.add_u64_field("ordinal", STORED),
        heading: builder.add_text_field("heading", STORED),
        breadcrumb: builder.add_text_field("breadcrumb", STORED),
        body: builder.add_text_field("body", STORED),
        words: builder.add_text_field("words", indexed(tokens::PROSE)),
        code: builder.add_text_field("code", indexed(tokens::CODE)),
        byte_start: builder.add_u64_field("byte_start", STORED),
        byte_end: builder.add_u64_field("byte_end", STORED),
    };
    (builder.build(), fields)
}

/// Writes all rows with one commit and returns how many the commit holds.
pub(crate) fn write(
    folder: &Path,
    rows: &[ChunkRow],
    payload: &Payload,
) -> Result<usize, RetrieveError> {
    let (schema, fields) = schema();
    let text = RetrieveError::text;
    let directory = tantivy::directory::MmapDirectory::open(folder)
        .map_err(|error| text("open its folder")(error.into()))?;
    let index =
        Index::create(directory, schema, IndexSettings::default()).map_err(text("begin"))?;
    tokens::register(&index);
    // One thread and no merges: rows keep their order, and the same rows give the same segments.
    let mut writer = index
        .writer_with_num_threads::<TantivyDocument>(1, TEXT_WRITER_BYTES)
        .map_err(text("begin"))?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    for (number, row) in (0_u64..).zip(rows) {
        let mut document = TantivyDocument::default();
        document.add_u64(fields.row, number);
        document.add_text(fields.chunk, row.chunk.to_string());
        document.add_text(fields.doc_version, row.doc_version.to_string());
        document.add_text(fields.path, &row.path);
        document.add_u64(fields.ordinal, row.ordinal);
        document.add_text(fields.heading, &row.heading);
        document.add_text(fields.breadcrumb, &row.breadcrumb);
        document.add_text(fields.body, &row.body);
        // A heading also ends its breadcrumb: a section's own title counts twice, those above once.
        for words in [&row.heading, &row.breadcrumb, &row.body] {
            document.add_text(fields.words, words);
        }
        for code in [&row.path, &row.breadcrumb, &row.body] {
            document.add_text(fields.code, code);
        }
        document.add_u64(fields.byte_start, row.byte_start);
        document.add_u64(fields.byte_end, row.byte_end);
        writer.add_document(document).map_err(text("take a chunk"))?;
    }
    let mut commit = writer.prepare_commit().map_err(text("prepare its commit"))?;
    commit.set_payload(&serde_json::to_string(payload).unwrap_or_default());
    commit.commit().map_err(text("commit"))?;
    writer.wait_merging_threads().map_err(text("finish"))?;
    let metas = index.searchable_segment_metas().map_err(text("count what it stored"))?;
    Ok(metas.iter().map(|meta| meta.num_docs() as usize).sum())
}

/// An open text index.
pub(crate) struct TextIndex {
    // The reader keeps the searcher's segments alive.
    _reader: IndexReader,
    searcher: Searcher,
    fields: Fields,
    payload: Payload,
    /// Where each row stands.
    addresses: Vec<DocAddress>,
    /// Which row each document of each segment is.
    rows: Vec<Vec<usize>>,
}

impl TextIndex {
    /// Opens the index and checks that its rows are complete.
    pub(crate) fn open(folder: &Path) -> Result<Self, RetrieveError> {
        let corrupt = |reason: String| RetrieveError::corrupt(folder, reason);
        // Whatever keeps a finished, immutable index from opening is damage.
        let damaged = |error: tantivy::TantivyError| corrupt(error.to_string());
        let index = Index::open_in_dir(folder).map_err(damaged)?;
        let (expected, fields) = schema();
        if index.schema() != expected {
            return Err(corrupt("the text index has another schema".into()));
        }
        tokens::register(&index);
        let payload = index.load_metas().map_err(damaged)?.payload.unwrap_or_default();
        let payload: Payload = serde_json::from_str(&payload)
            .map_err(|error| corrupt(format!("the commit's payload is not readable: {error}")))?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .map_err(damaged)?;
        let reader: IndexReader = reader;
        let searcher = reader.searcher();
        let (rows, addresses) = number_rows(&searcher, payload.chunks)
            .map_err(damaged)?
            .ok_or_else(|| corrupt("the rows of the text index are not complete".into()))?;
        Ok(Self { _reader: reader, searcher, fields, payload, addresses, rows })
    }

    pub(crate) const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The `k` best rows by BM25, best first. The query is words, never syntax.
    pub(crate) fn best(&self, query: &str, k: usize) -> Result<Vec<(usize, f32)>, RetrieveError> {
        let clauses = self.clauses(query);
        if clauses.is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        let collector = TopDocs::with_limit(k).order_by_score();
        let found = self
            .searcher
            .search(&BooleanQuery::new(clauses), &collector)
            .map_err(RetrieveError::text("search"))?;
        let row_of = |address: DocAddress| {
            self.rows.get(address.segment_ord as usize)?.get(address.doc_id as usize).copied()
        };
        Ok(found.into_iter().filter_map(|(score, at)| Some((row_of(at)?, score))).collect())
    }

    fn clauses(&self, query: &str) -> Vec<(Occur, Box<dyn Query>)> {
        let clause = |field: Field, word: &str| {
            let term = Term::from_field_text(field, word);
            let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
            (Occur::Should, Box::new(query) as Box<dyn Query>)
        };
        let (stems, identifiers) = (tokens::stems(query), tokens::identifiers(query));
        let words = stems.iter().take(QUERY_TERMS_MAX).map(|stem| clause(self.fields.words, stem));
        let code =
            identifiers.iter().take(QUERY_TERMS_MAX).map(|word| clause(self.fields.code, word));
        words.chain(code).collect()
    }

    /// The row as it was indexed.
    pub(crate) fn row(&self, row: usize) -> Result<ChunkRow, RetrieveError> {
        let missing = || RetrieveError::corrupt(Path::new("text"), format!("row {row} is missing"));
        let address = self.addresses.get(row).ok_or_else(missing)?;
        let document: TantivyDocument =
            self.searcher.doc(*address).map_err(RetrieveError::text("read a chunk"))?;
        let fields = &self.fields;
        let text = |field: Field| {
            document
                .get_first(field)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let number = |field: Field| {
            document.get_first(field).and_then(|value| value.as_u64()).unwrap_or_default()
        };
        let digest = |field: Field| text(field).parse::<Digest>().map_err(|_| missing());
        Ok(ChunkRow {
            chunk: digest(fields.chunk)?,
            doc_version: digest(fields.doc_version)?,
            path: text(fields.path),
            ordinal: number(fields.ordinal),
            heading: text(fields.heading),
            breadcrumb: text(fields.breadcrumb),
            body: text(fields.body),
            byte_start: number(fields.byte_start),
            byte_end: number(fields.byte_end),
        })
    }

    /// The row of a chunk, if the index holds it.
    pub(crate) fn find(&self, chunk: &Digest) -> Result<Option<usize>, RetrieveError> {
        let term = Term::from_field_text(self.fields.chunk, &chunk.to_string());
        let query = TermQuery::new(term, IndexRecordOption::Basic);
        let collector = TopDocs::with_limit(1).order_by_score();
        let found = self
            .searcher
            .search(&query, &collector)
            .map_err(RetrieveError::text("look up a chunk"))?;
        Ok(found.first().and_then(|(_, address)| {
            self.rows.get(address.segment_ord as usize)?.get(address.doc_id as usize).copied()
        }))
    }
}

type Numbering = (Vec<Vec<usize>>, Vec<DocAddress>);

/// Reads the row number of every document; `None` when the numbers are not exactly `0..count`.
fn number_rows(searcher: &Searcher, count: usize) -> tantivy::Result<Option<Numbering>> {
    let mut rows = Vec::new();
    let mut addresses: Vec<Option<DocAddress>> = vec![None; count];
    for (segment, reader) in (0_u32..).zip(searcher.segment_readers()) {
        let column = reader.fast_fields().u64("row")?;
        let mut numbers = Vec::with_capacity(reader.max_doc() as usize);
        for document in 0..reader.max_doc() {
            let number = column.first(document).and_then(|row| usize::try_from(row).ok());
            let Some(slot) = number.and_then(|row| addresses.get_mut(row)) else { return Ok(None) };
            if slot.replace(DocAddress::new(segment, document)).is_some() {
                return Ok(None);
            }
            numbers.extend(number);
        }
        rows.push(numbers);
    }
    let addresses: Option<Vec<_>> = addresses.into_iter().collect();
    Ok(addresses.map(|addresses| (rows, addresses)))
}
