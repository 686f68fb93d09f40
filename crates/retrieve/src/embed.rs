//! How does a text become a vector? Through the ports [`Embedders`] and [`TextEmbedder`], which
//! another layer implements and the composition root plugs in.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ArtifactKind, Digest, Failure, canonical_json};

use crate::{chunk::ChunkRow, error::RetrieveError, limits::VECTOR_DIMENSIONS_MAX};

/// Turns texts into vectors. One digest stands for one behaviour: the same text gives the same
/// vector, whatever batch it is in.
pub trait TextEmbedder: Send + Sync {
    /// The digest of the model: two embedders with one digest are interchangeable.
    fn digest(&self) -> Digest;

    /// The dimension of its vectors.
    fn dim(&self) -> usize;

    /// How the vectors of tokens become one: `mean`, `cls`.
    fn pooling(&self) -> &str;

    /// One vector for each text, in order. They need not have unit length.
    ///
    /// # Errors
    /// When the model cannot run.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure>;
}

/// Opens the embedder that a model version describes.
pub trait Embedders: Send + Sync {
    /// The embedder; implementations keep it open between calls.
    ///
    /// # Errors
    /// When the model is missing, damaged, or not an embedder.
    fn open(&self, model_meta: &Value) -> Result<Arc<dyn TextEmbedder>, Failure>;
}

/// Which text of a chunk is embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbedText {
    /// The headings that lead to it, then its body: a passage that never names its subject is
    /// still found by it.
    #[default]
    BreadcrumbBody,
    /// Its body alone.
    Body,
}

impl EmbedText {
    /// The text of this row.
    pub(crate) fn of(self, row: &ChunkRow) -> String {
        match self {
            Self::BreadcrumbBody if !row.breadcrumb.is_empty() => {
                format!("{}\n{}", row.breadcrumb, row.body)
            }
            Self::BreadcrumbBody | Self::Body => row.body.clone(),
        }
    }
}

/// How the vectors of an index were made: the body of an `embed_spec` artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedSpec {
    /// Always `embed_spec`.
    pub kind: String,
    /// The digest of the embedder.
    pub model: Digest,
    /// The dimension of its vectors.
    pub dim: usize,
    /// How the vectors of tokens become one.
    pub pooling: String,
    /// Which text of a chunk is embedded.
    pub text: EmbedText,
    /// Vectors are stored with unit length.
    pub normalized: bool,
}

impl EmbedSpec {
    /// The specification of vectors made by this embedder.
    ///
    /// # Errors
    /// When its dimension is zero or beyond the limit.
    pub fn new(embedder: &dyn TextEmbedder, text: EmbedText) -> Result<Self, RetrieveError> {
        let dim = embedder.dim();
        if dim == 0 {
            return Err(RetrieveError::BadVector { reason: "the dimension is 0".into() });
        }
        if dim > VECTOR_DIMENSIONS_MAX {
            return Err(RetrieveError::TooLarge {
                what: "the dimension of a vector",
                size: dim,
                max: VECTOR_DIMENSIONS_MAX,
            });
        }
        Ok(Self {
            kind: ArtifactKind::EmbedSpec.as_str().to_owned(),
            model: embedder.digest(),
            dim,
            pooling: embedder.pooling().to_owned(),
            text,
            normalized: true,
        })
    }

    /// The digest of the specification: what its artifact is called.
    pub fn digest(&self) -> Digest {
        Digest::of(canonical_json(self).unwrap_or_default())
    }
}

/// Checks what an embedder returned and gives the vectors unit length.
///
/// # Errors
/// A wrong count or dimension, or a value that is not finite.
pub(crate) fn unit_vectors(
    vectors: Vec<Vec<f32>>,
    count: usize,
    dim: usize,
) -> Result<Vec<Vec<f32>>, RetrieveError> {
    let refuse = |reason: String| RetrieveError::BadVector { reason };
    if vectors.len() != count {
        return Err(refuse(format!("{} vectors for {count} texts", vectors.len())));
    }
    let unit = |mut vector: Vec<f32>| {
        if vector.len() != dim {
            return Err(refuse(format!("{} dimensions instead of {dim}", vector.len())));
        }
        if !vector.iter().all(|value| value.is_finite()) {
            return Err(refuse("a value is not a finite number".into()));
        }
        let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            for value in &mut vector {
                // Narrowing is the point: the result is stored as f32.
                *value = (f64::from(*value) / length) as f32;
            }
        }
        Ok(vector)
    };
    vectors.into_iter().map(unit).collect()
}
