//! How is retrieval tried without a trained model or a table? With an embedder that hashes words
//! and with rows held in memory: small, exact implementations of this crate's ports.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use sextant_core::{Digest, Failure};

use crate::{
    chunk::{ChunkRow, ChunkRows},
    embed::{Embedders, TextEmbedder},
};

/// An embedder that counts words: each word adds or takes one in a dimension chosen by its hash.
/// Texts that share words have a cosine above zero. It counts the texts it was given.
#[derive(Debug)]
pub struct HashEmbedder {
    name: String,
    dim: usize,
    embedded: AtomicUsize,
}

impl HashEmbedder {
    /// An embedder of this name; another name or dimension has another digest and other vectors.
    pub fn new(name: impl Into<String>, dim: usize) -> Self {
        Self { name: name.into(), dim, embedded: AtomicUsize::new(0) }
    }

    /// How many texts it has embedded so far.
    pub fn embedded(&self) -> usize {
        self.embedded.load(Ordering::SeqCst)
    }
}

impl TextEmbedder for HashEmbedder {
    fn digest(&self) -> Digest {
        Digest::of(format!("hash embedder {} {}", self.name, self.dim))
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn pooling(&self) -> &str {
        "sum"
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure> {
        self.embedded.fetch_add(texts.len(), Ordering::SeqCst);
        let one = |text: &&str| {
            let mut vector = vec![0.0_f32; self.dim];
            let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
            for word in words {
                let hash = Digest::of(format!("{}/{}", self.name, word.to_lowercase()));
                let raw = hash.as_raw();
                let at = usize::from(u16::from_le_bytes([raw[0], raw[1]])) % self.dim;
                vector[at] += if raw[2] & 1 == 0 { 1.0 } else { -1.0 };
            }
            vector
        };
        Ok(texts.iter().map(one).collect())
    }
}

/// Gives the same embedder whatever it is asked for.
pub struct OneEmbedder(pub Arc<dyn TextEmbedder>);

impl Embedders for OneEmbedder {
    fn open(&self, _model_meta: &Value) -> Result<Arc<dyn TextEmbedder>, Failure> {
        Ok(Arc::clone(&self.0))
    }
}

/// Rows held in memory, whatever table is asked for.
#[derive(Debug, Default, Clone)]
pub struct RowsInMemory(pub Vec<ChunkRow>);

impl ChunkRows for RowsInMemory {
    fn rows(&self, _table_meta: &Value) -> Result<Vec<ChunkRow>, Failure> {
        Ok(self.0.clone())
    }
}
