//! What shape is the model? `config.json`, in Hugging Face's words, with sizes that are checked.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    CONFIG_BYTES_MAX, WeightsError,
    folder::{CONFIG_FILE, read_file, write_file},
};

/// The only `model_type` that this version reads.
pub const MODEL_TYPE: &str = "sextant-encoder";

/// How token vectors become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over the tokens, then length 1.
    Mean,
}

/// The activation between the two linear maps of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HiddenAct {
    /// GELU by its tanh approximation.
    #[serde(rename = "gelu_pytorch_tanh")]
    GeluTanh,
}

/// `config.json` of a text encoder: pre-norm transformer, learned positions, mean pooling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Always [`MODEL_TYPE`].
    pub model_type: String,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of a token's vector, and of the embedding.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width between the two linear maps of a layer.
    pub intermediate_size: usize,
    /// Longest text, in tokens; a longer one is cut.
    pub max_position_embeddings: usize,
    /// Added to the variance in layer norm.
    pub layer_norm_eps: f64,
    /// The activation.
    pub hidden_act: HiddenAct,
    /// How token vectors become one.
    pub pooling: Pooling,
}

impl EncoderConfig {
    /// Checks that the sizes fit together and are within what one machine can hold.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn validate(&self) -> Result<(), String> {
        if self.model_type != MODEL_TYPE {
            return Err(format!("model_type is `{}`, expected `{MODEL_TYPE}`", self.model_type));
        }
        let bounds = [
            ("vocab_size", self.vocab_size, 2, 1 << 20),
            ("hidden_size", self.hidden_size, 8, 4_096),
            ("num_hidden_layers", self.num_hidden_layers, 1, 48),
            ("num_attention_heads", self.num_attention_heads, 1, 128),
            ("intermediate_size", self.intermediate_size, 8, 16_384),
            ("max_position_embeddings", self.max_position_embeddings, 2, 8_192),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} is {value}, it must be {least} to {most}"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "num_attention_heads ({}) does not divide hidden_size ({})",
                self.num_attention_heads, self.hidden_size
            ));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(format!(
                "layer_norm_eps is {}, it must be between 0 and 1",
                self.layer_norm_eps
            ));
        }
        Ok(())
    }
}

/// Reads and checks `config.json` of a model folder.
///
/// # Errors
/// When the file is absent, too large, not JSON, or describes an impossible model.
pub fn read_config(dir: &Path) -> Result<EncoderConfig, WeightsError> {
    let path = dir.join(CONFIG_FILE);
    let bytes = read_file(&path, CONFIG_BYTES_MAX)?;
    let refuse = |reason: String| WeightsError::Config { path: path.clone(), reason };
    let config: EncoderConfig =
        serde_json::from_slice(&bytes).map_err(|e| refuse(e.to_string()))?;
    config.validate().map_err(refuse)?;
    Ok(config)
}

/// Writes `config.json` into a model folder, whole or not at all.
///
/// # Errors
/// When the configuration is impossible or the disk refuses.
pub fn write_config(dir: &Path, config: &EncoderConfig) -> Result<(), WeightsError> {
    let path = dir.join(CONFIG_FILE);
    let refuse = |reason: String| WeightsError::Config { path: path.clone(), reason };
    config.validate().map_err(refuse)?;
    let mut text = serde_json::to_string_pretty(config).map_err(|e| refuse(e.to_string()))?;
    text.push('\n');
    write_file(&path, text.as_bytes())
}
