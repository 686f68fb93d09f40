//! What is the model? A pre-norm transformer encoder with learned positions, mean pooling and
//! vectors of length 1. Trains and serves from this one definition.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use sextant_weights::EncoderConfig;

use crate::ops::{
    Activation, Spans, attention, embed, layer_norm, linear, mean_pool_normalize, spans,
};

/// How a tensor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// From the corpus: see `init.rs`.
    Words,
    /// Small random positions.
    Positions,
    /// A random linear map.
    Map,
    /// A random linear map that writes into the residual stream: smaller.
    Output,
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
}

/// Name, shape and start of every tensor of a model.
pub(crate) fn layout(config: &EncoderConfig) -> Vec<(String, Vec<usize>, Start)> {
    let (h, f) = (config.hidden_size, config.intermediate_size);
    let mut all = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![config.vocab_size, h], Start::Words),
        (
            "embeddings.position_embeddings.weight".to_owned(),
            vec![config.max_position_embeddings, h],
            Start::Positions,
        ),
    ];
    for layer in 0..config.num_hidden_layers {
        let rows = [
            ("attention.norm.weight", vec![h], Start::Ones),
            ("attention.norm.bias", vec![h], Start::Zeros),
            ("attention.qkv.weight", vec![3 * h, h], Start::Map),
            ("attention.qkv.bias", vec![3 * h], Start::Zeros),
            ("attention.output.weight", vec![h, h], Start::Output),
            ("attention.output.bias", vec![h], Start::Zeros),
            ("feed_forward.norm.weight", vec![h], Start::Ones),
            ("feed_forward.norm.bias", vec![h], Start::Zeros),
            ("feed_forward.up.weight", vec![f, h], Start::Map),
            ("feed_forward.up.bias", vec![f], Start::Zeros),
            ("feed_forward.down.weight", vec![h, f], Start::Output),
            ("feed_forward.down.bias", vec![h], Start::Zeros),
        ];
        let name = |suffix: &str| format!("encoder.layer.{layer}.{suffix}");
        all.extend(rows.map(|(suffix, shape, start)| (name(suffix), shape, start)));
    }
    all
}

/// Texts laid end to end.
pub(crate) struct Batch {
    ids: Arc<[u32]>,
    positions: Arc<[u32]>,
    spans: Spans,
}

impl Batch {
    /// Every text must have at least one id.
    pub(crate) fn new<'a>(texts: impl Iterator<Item = &'a [u32]> + Clone) -> Self {
        Self {
            ids: texts.clone().flatten().copied().collect(),
            positions: texts.clone().flat_map(|ids| 0..ids.len() as u32).collect(),
            spans: spans(texts.map(<[u32]>::len)),
        }
    }
}

struct Map {
    weight: Tensor,
    bias: Tensor,
}

struct Layer {
    attention_norm: Map,
    qkv: Map,
    attention_output: Map,
    feed_norm: Map,
    up: Map,
    down: Map,
}

/// The model, over tensors that the caller holds: variables to train, plain tensors to serve.
pub(crate) struct Encoder {
    words: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    heads: usize,
    epsilon: f32,
}

impl Encoder {
    /// Takes its tensors by name from `get`.
    pub(crate) fn new<E>(
        config: &EncoderConfig,
        get: impl Fn(&str) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Self, E> {
        let map = |layer: usize, name: &str| {
            Ok(Map {
                weight: get(&format!("encoder.layer.{layer}.{name}.weight"))?,
                bias: get(&format!("encoder.layer.{layer}.{name}.bias"))?,
            })
        };
        let layers = (0..config.num_hidden_layers).map(|layer| {
            Ok(Layer {
                attention_norm: map(layer, "attention.norm")?,
                qkv: map(layer, "attention.qkv")?,
                attention_output: map(layer, "attention.output")?,
                feed_norm: map(layer, "feed_forward.norm")?,
                up: map(layer, "feed_forward.up")?,
                down: map(layer, "feed_forward.down")?,
            })
        });
        Ok(Self {
            layers: layers.collect::<std::result::Result<_, E>>()?,
            words: get("embeddings.word_embeddings.weight")?,
            positions: get("embeddings.position_embeddings.weight")?,
            heads: config.num_attention_heads,
            epsilon: config.layer_norm_eps as f32,
        })
    }

    /// One vector of length 1 per text.
    pub(crate) fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let mut x =
            embed(&self.words, &self.positions, batch.ids.clone(), batch.positions.clone())?;
        for layer in &self.layers {
            let y = self.norm(&x, &layer.attention_norm)?;
            let y = linear(&y, &layer.qkv.weight, &layer.qkv.bias, Activation::None)?;
            let y = attention(&y, &batch.spans, self.heads)?;
            let out = &layer.attention_output;
            x = (x + linear(&y, &out.weight, &out.bias, Activation::None)?)?;
            let y = self.norm(&x, &layer.feed_norm)?;
            let y = linear(&y, &layer.up.weight, &layer.up.bias, Activation::Gelu)?;
            x = (x + linear(&y, &layer.down.weight, &layer.down.bias, Activation::None)?)?;
        }
        mean_pool_normalize(&x, &batch.spans)
    }

    fn norm(&self, x: &Tensor, map: &Map) -> Result<Tensor> {
        layer_norm(x, &map.weight, &map.bias, self.epsilon)
    }
}
