//! Which chunks speak about this question, and in which order? By BM25, by cosine, or by both.
//!
//! A query is words, never syntax: nothing in it can widen or steer a search. Words that the index
//! does not know find nothing, which is no error.

use std::{collections::HashMap, str::FromStr};

use serde::{Deserialize, Serialize};
use sextant_core::{Digest, Failure};

use crate::{
    embed::{TextEmbedder, unit_vectors},
    error::RetrieveError,
    limits::{FUSION_DEPTH, HITS_MAX, QUERY_BYTES_MAX},
    snapshot::Snapshot,
    vectors::VectorFile,
};

/// How much the cosine counts beside the BM25 score, which is divided by the best one. Chosen by
/// measurement: see `docs/adr/0004-index.md`. A weak embedder then costs little, where fusion by
/// rank alone would give its ranking the same say as that of the words.
const VECTOR_WEIGHT: f64 = 0.5;

/// How hits are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By words.
    Bm25,
    /// By vectors.
    Vector,
    /// By both: the sum of the scaled BM25 score and the weighted cosine.
    Hybrid,
}

impl Mode {
    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bm25 => "bm25",
            Self::Vector => "vector",
            Self::Hybrid => "hybrid",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bm25" => Ok(Self::Bm25),
            "vector" => Ok(Self::Vector),
            "hybrid" => Ok(Self::Hybrid),
            other => Err(format!("no such search mode: `{other}` (bm25, vector or hybrid)")),
        }
    }
}

/// What is searched for.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The words.
    pub text: &'a str,
    /// How to rank.
    pub mode: Mode,
    /// How many hits, at most.
    pub k: usize,
    /// Turns the words into a vector; needed by every mode but `bm25`, and must be the embedder
    /// that the index was built with.
    pub embedder: Option<&'a dyn TextEmbedder>,
}

/// One chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Its place, from 1.
    pub rank: usize,
    /// What it was ranked by: the BM25 score, the cosine, or the fused score.
    pub score: f64,
    /// The chunk.
    pub chunk: Digest,
    /// The version of the document that it stands in.
    pub doc_version: Digest,
    /// The document's path.
    pub path: String,
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
    /// Its BM25 score, when it was among the candidates by words.
    pub bm25_score: Option<f32>,
    /// Its cosine with the query, when the query was embedded.
    pub cosine: Option<f32>,
}

/// A row and what it was ranked by.
struct Ranked {
    row: usize,
    score: f64,
    bm25: Option<f32>,
    cosine: Option<f32>,
}

impl Snapshot {
    /// The best chunks for a query, best first. Equal scores come in the order of the documents,
    /// so that the same query always gives the same list.
    ///
    /// # Errors
    /// A query beyond the limit, an embedder of another digest, a mode that needs vectors on an
    /// index without them, or a failure of the embedder.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>, Failure> {
        let text = query.text.trim();
        if text.len() > QUERY_BYTES_MAX {
            let (what, size) = ("the query in bytes", text.len());
            return Err(RetrieveError::TooLarge { what, size, max: QUERY_BYTES_MAX }.into());
        }
        if let Some(embedder) = query.embedder {
            self.refuse_other(embedder.digest())?;
        }
        let k = query.k.min(HITS_MAX);
        let has_words = text.chars().any(char::is_alphanumeric);
        let ranked = match query.mode {
            Mode::Bm25 if has_words => self.by_words(text, k)?,
            Mode::Vector | Mode::Hybrid => {
                let (vectors, embedder) = self.vector_side(query)?;
                if !has_words {
                    return Ok(Vec::new());
                }
                let vector = embed_query(embedder, text)?;
                match query.mode {
                    Mode::Vector => by_vector(vectors, &vector, k),
                    _ => self.by_both(vectors, text, &vector, k)?,
                }
            }
            Mode::Bm25 => Vec::new(),
        };
        Ok(self.hits(ranked)?)
    }

    /// Refuses vectors of any embedder but the index's own. An index without vectors refuses none:
    /// it uses none.
    ///
    /// # Errors
    /// [`RetrieveError::EmbedderMismatch`] with both digests.
    pub fn refuse_other(&self, given: Digest) -> Result<(), RetrieveError> {
        match self.embedder() {
            Some(index) if index != given => Err(RetrieveError::EmbedderMismatch { index, given }),
            _ => Ok(()),
        }
    }

    fn vector_side<'a>(
        &'a self,
        query: &Query<'a>,
    ) -> Result<(&'a VectorFile, &'a dyn TextEmbedder), RetrieveError> {
        let mode = query.mode.as_str();
        let vectors = self.vectors().ok_or(RetrieveError::NoVectors { mode })?;
        let index = vectors.embedder();
        Ok((vectors, query.embedder.ok_or(RetrieveError::NoEmbedder { mode, index })?))
    }

    fn by_words(&self, text: &str, k: usize) -> Result<Vec<Ranked>, RetrieveError> {
        let best = self.text().best(text, k)?;
        let ranked =
            |(row, score)| Ranked { row, score: f64::from(score), bm25: Some(score), cosine: None };
        Ok(best.into_iter().map(ranked).collect())
    }

    fn by_both(
        &self,
        vectors: &VectorFile,
        text: &str,
        query: &[f32],
        k: usize,
    ) -> Result<Vec<Ranked>, RetrieveError> {
        let depth = k.saturating_mul(2).max(FUSION_DEPTH);
        let words = self.text().best(text, depth)?;
        let nearest = vectors.nearest(query, depth);
        let bm25: HashMap<usize, f32> = words.iter().copied().collect();
        let best = words.first().map_or(0.0, |(_, score)| *score);
        let mut rows: Vec<usize> = words.iter().chain(&nearest).map(|(row, _)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        let rank = |row| {
            let (words, cosine) = (bm25.get(&row).copied(), vectors.cosine(row, query));
            Ranked { row, score: fused(words, best, cosine), bm25: words, cosine: Some(cosine) }
        };
        let mut ranked: Vec<Ranked> =
            rows.into_iter().map(rank).filter(|found| found.score > 0.0).collect();
        // The sort is stable and the rows are in order: equal scores keep the order of the rows.
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.truncate(k);
        Ok(ranked)
    }

    fn hits(&self, ranked: Vec<Ranked>) -> Result<Vec<Hit>, RetrieveError> {
        let hit = |(index, found): (usize, Ranked)| {
            let row = self.text().row(found.row)?;
            Ok(Hit {
                rank: index + 1,
                score: found.score,
                chunk: row.chunk,
                doc_version: row.doc_version,
                path: row.path,
                heading: row.heading,
                breadcrumb: row.breadcrumb,
                body: row.body,
                byte_start: row.byte_start,
                byte_end: row.byte_end,
                bm25_score: found.bm25,
                cosine: found.cosine,
            })
        };
        ranked.into_iter().enumerate().map(hit).collect()
    }
}

fn by_vector(vectors: &VectorFile, query: &[f32], k: usize) -> Vec<Ranked> {
    // A cosine of zero or less says nothing about the question: a text without a known word has
    // the zero vector.
    let near = vectors.nearest(query, k).into_iter().filter(|(_, cosine)| *cosine > 0.0);
    let ranked =
        |(row, cosine)| Ranked { row, score: f64::from(cosine), bm25: None, cosine: Some(cosine) };
    near.map(ranked).collect()
}

fn embed_query(embedder: &dyn TextEmbedder, text: &str) -> Result<Vec<f32>, Failure> {
    let vectors = unit_vectors(embedder.embed(&[text])?, 1, embedder.dim())?;
    Ok(vectors.into_iter().next().unwrap_or_default())
}

/// The score of a candidate of a hybrid search, between 0 and 1: its BM25 score as a share of the
/// best one, and its cosine at [`VECTOR_WEIGHT`]. A row that the words did not find counts 0 there;
/// a cosine below 0 says no more than 0.
fn fused(bm25: Option<f32>, best: f32, cosine: f32) -> f64 {
    let words = bm25.filter(|_| best > 0.0).map_or(0.0, |score| f64::from(score / best));
    (words + VECTOR_WEIGHT * f64::from(cosine.max(0.0))) / (1.0 + VECTOR_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fusion_rewards_what_both_sides_find() {
        let both = fused(Some(8.0), 10.0, 0.9);
        assert!(both > fused(Some(10.0), 10.0, 0.1));
        assert!(both > fused(None, 10.0, 1.0));
        assert!(fused(Some(10.0), 10.0, 0.0) > fused(None, 10.0, 1.0));
        assert!((fused(Some(10.0), 10.0, 1.0) - 1.0).abs() < 1e-9);
        assert_eq!(fused(None, 0.0, -0.3), 0.0);
    }

    #[test]
    fn modes_are_written_as_they_are_read() {
        for mode in [Mode::Bm25, Mode::Vector, Mode::Hybrid] {
            assert_eq!(mode.as_str().parse(), Ok(mode));
            assert_eq!(serde_json::json!(mode), mode.as_str());
        }
        assert!("cosine".parse::<Mode>().is_err());
    }
}
