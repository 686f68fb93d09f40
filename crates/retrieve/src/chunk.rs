//! Which passages go into an index? The rows of a chunk table, each proven to be what its id says.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{Digest, DigestHasher, Failure, canonical_json};

use crate::{
    error::RetrieveError,
    limits::{CHUNK_BYTES_MAX, CHUNKS_MAX},
};

/// One row of a chunk table: the columns that `models/sections` must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// [`chunk_digest`] of `doc_version`, `byte_start` and `byte_end`.
    pub chunk: Digest,
    /// The version of the document that the passage stands in.
    pub doc_version: Digest,
    /// The document's path.
    pub path: String,
    /// The passage's place in the document.
    pub ordinal: u64,
    /// Its heading.
    pub heading: String,
    /// The headings that lead to it.
    pub breadcrumb: String,
    /// Its text.
    pub body: String,
    /// Where it begins in the raw document.
    pub byte_start: u64,
    /// Where it ends.
    pub byte_end: u64,
}

/// Where the rows of a chunk table come from: plugged in by the composition root.
pub trait ChunkRows: Send + Sync {
    /// All rows of the table version that this metadata describes, in any order.
    ///
    /// # Errors
    /// When the table cannot be read or lacks a column.
    fn rows(&self, table_meta: &Value) -> Result<Vec<ChunkRow>, Failure>;
}

/// The id of a passage: the digest of the canonical JSON of where it stands.
pub fn chunk_digest(doc_version: &Digest, byte_start: u64, byte_end: u64) -> Digest {
    // Keys in canonical order; a digest and two numbers need no escaping.
    Digest::of(format!(
        r#"{{"byte_end":{byte_end},"byte_start":{byte_start},"doc_version":"{doc_version}","kind":"chunk"}}"#
    ))
}

impl ChunkRow {
    /// The metadata of the chunk's artifact: its canonical JSON is what `chunk` digests.
    pub(crate) fn artifact_meta(&self) -> Value {
        json!({
            "kind": "chunk",
            "doc_version": self.doc_version,
            "byte_start": self.byte_start,
            "byte_end": self.byte_end,
        })
    }

    /// The digest of everything that the index stores of this row.
    fn row_digest(&self) -> Result<Digest, RetrieveError> {
        let bytes = canonical_json(self).map_err(|error| self.refuse(error.to_string()))?;
        Ok(Digest::of(bytes))
    }

    fn check(&self) -> Result<(), RetrieveError> {
        let expected = chunk_digest(&self.doc_version, self.byte_start, self.byte_end);
        if self.chunk != expected {
            return Err(self.refuse(format!("its id should be {expected}")));
        }
        if self.byte_start >= self.byte_end {
            return Err(self.refuse("its byte range is empty"));
        }
        let size = self.body.len() + self.breadcrumb.len() + self.heading.len() + self.path.len();
        if size > CHUNK_BYTES_MAX {
            return Err(RetrieveError::TooLarge {
                what: "a chunk's text in bytes",
                size,
                max: CHUNK_BYTES_MAX,
            });
        }
        Ok(())
    }

    fn refuse(&self, reason: impl Into<String>) -> RetrieveError {
        RetrieveError::BadChunk {
            chunk: self.chunk.to_string(),
            path: self.path.clone(),
            reason: reason.into(),
        }
    }
}

/// The rows of one index, checked, without duplicates, in the order that gives each its number.
pub(crate) struct ChunkSet {
    rows: Vec<ChunkRow>,
    duplicates: usize,
    merkle: Digest,
}

impl ChunkSet {
    /// Checks and orders the rows.
    ///
    /// A document version that stands at two paths gives the same passages twice; the first path
    /// in order keeps them, and the others are counted.
    pub(crate) fn new(mut rows: Vec<ChunkRow>) -> Result<Self, RetrieveError> {
        if rows.len() > CHUNKS_MAX {
            return Err(RetrieveError::TooLarge {
                what: "the number of chunks",
                size: rows.len(),
                max: CHUNKS_MAX,
            });
        }
        for row in &rows {
            row.check()?;
        }
        rows.sort_by(|a, b| {
            let key = |row: &ChunkRow| (row.byte_start, row.byte_end, row.chunk);
            a.path.cmp(&b.path).then_with(|| key(a).cmp(&key(b)))
        });
        let before = rows.len();
        let mut seen: HashMap<Digest, ()> = HashMap::with_capacity(rows.len());
        rows.retain(|row| seen.insert(row.chunk, ()).is_none());
        let leaves = rows.iter().map(ChunkRow::row_digest).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { duplicates: before - rows.len(), merkle: merkle_root(&leaves), rows })
    }

    /// The rows, in order.
    pub(crate) fn rows(&self) -> &[ChunkRow] {
        &self.rows
    }

    /// The rows, given away.
    pub(crate) fn into_rows(self) -> Vec<ChunkRow> {
        self.rows
    }

    /// How many rows were left out because an earlier one has the same id.
    pub(crate) const fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// The root over the digests of the rows in order.
    pub(crate) const fn merkle(&self) -> Digest {
        self.merkle
    }
}

/// The root of a binary hash tree. Leaves and nodes are hashed with different first bytes, so that
/// a node can never pass for a leaf; an odd last node rises unchanged.
fn merkle_root(leaves: &[Digest]) -> Digest {
    let mut level: Vec<Digest> = leaves.iter().map(|leaf| tagged(0, &[leaf])).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => tagged(1, &[left, right]),
                rest => rest.first().copied().unwrap_or_else(|| Digest::of("")),
            })
            .collect();
    }
    level.first().copied().unwrap_or_else(|| Digest::of(""))
}

fn tagged(tag: u8, parts: &[&Digest]) -> Digest {
    let mut hasher = DigestHasher::new();
    hasher.update([tag]);
    for part in parts {
        hasher.update(part.as_raw());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(path: &str, start: u64) -> ChunkRow {
        let doc_version = Digest::of(path);
        ChunkRow {
            chunk: chunk_digest(&doc_version, start, start + 5),
            doc_version,
            path: path.into(),
            ordinal: start,
            heading: "h".into(),
            breadcrumb: "t > h".into(),
            body: "words".into(),
            byte_start: start,
            byte_end: start + 5,
        }
    }

    #[test]
    fn the_id_is_the_digest_of_the_artifact() {
        let row = row("a", 3);
        assert_eq!(Digest::of(canonical_json(&row.artifact_meta()).unwrap()), row.chunk);
    }

    #[test]
    fn order_does_not_matter_and_content_does() {
        let rows = vec![row("b", 0), row("a", 9), row("a", 0)];
        let one = ChunkSet::new(rows.clone()).unwrap();
        let mut reversed = rows.clone();
        reversed.reverse();
        assert_eq!(one.merkle(), ChunkSet::new(reversed).unwrap().merkle());
        assert_eq!(one.rows()[0].path, "a");
        let mut changed = rows;
        changed[0].breadcrumb.push('!');
        assert_ne!(one.merkle(), ChunkSet::new(changed).unwrap().merkle());
    }

    #[test]
    fn duplicates_are_counted_and_wrong_ids_refused() {
        let mut copy = row("a", 0);
        copy.path = "z".into();
        let set = ChunkSet::new(vec![copy, row("a", 0)]).unwrap();
        assert_eq!((set.rows().len(), set.duplicates()), (1, 1));
        assert_eq!(set.rows()[0].path, "a");
        let mut wrong = row("a", 0);
        wrong.byte_end += 1;
        assert!(matches!(ChunkSet::new(vec![wrong]), Err(RetrieveError::BadChunk { .. })));
    }
}
