//! How well are passages found? Ranks of the right passage for held-out queries.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    ModelsError,
    embedder::embed_ids,
    encoder::Encoder,
    ops::{dot, simd},
};

/// The score of held-out queries, each looking for its passage among all held-out passages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetrievalScore {
    /// Mean of one over the rank of the right passage.
    pub mrr: f64,
    /// Share of queries whose right passage comes first.
    pub accuracy: f64,
    /// Queries scored.
    pub queries: usize,
    /// Passages that each query chose from.
    pub passages: usize,
}

/// Held-out pairs as ids; equal passages are one candidate.
pub(crate) struct HeldOut {
    queries: Vec<Vec<u32>>,
    passages: Vec<Vec<u32>>,
    right: Vec<usize>,
}

impl HeldOut {
    pub(crate) fn new(pairs: Vec<(Vec<u32>, Vec<u32>)>) -> Self {
        let (mut queries, mut passages, mut right) = (Vec::new(), Vec::new(), Vec::new());
        let mut known = HashMap::new();
        for (query, passage) in pairs {
            let next = passages.len();
            let at = *known.entry(passage.clone()).or_insert(next);
            if at == next {
                passages.push(passage);
            }
            queries.push(query);
            right.push(at);
        }
        Self { queries, passages, right }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    pub(crate) fn score(&self, encoder: &Encoder) -> Result<RetrievalScore, ModelsError> {
        let queries = embed_ids(encoder, &self.queries)?;
        let passages = embed_ids(encoder, &self.passages)?;
        let (mut reciprocal, mut first) = (0.0, 0);
        for (query, right) in queries.iter().zip(&self.right) {
            let scores: Vec<f32> = simd(
                #[inline(always)]
                || passages.iter().map(|passage| dot(query, passage)).collect(),
            );
            let own = scores[*right];
            let rank = scores
                .iter()
                .enumerate()
                .filter(|(at, s)| **s > own || (**s == own && at < right))
                .count();
            reciprocal += 1.0 / (rank + 1) as f64;
            first += usize::from(rank == 0);
        }
        let count = self.queries.len().max(1) as f64;
        Ok(RetrievalScore {
            mrr: reciprocal / count,
            accuracy: first as f64 / count,
            queries: self.queries.len(),
            passages: self.passages.len(),
        })
    }
}
