//! What is to be trained, and how? The settings of a training, with defaults and bounds.

use serde::{Deserialize, Serialize};
use sextant_weights::{EncoderConfig, HiddenAct, MODEL_TYPE, Pooling};

use crate::ModelsError;

/// Width between the two linear maps of a layer, in multiples of `hidden`.
const FEED_FORWARD: usize = 4;

/// The settings of a training. Together with the pairs they decide the final weights to the byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSpec {
    /// Width of a token's vector, and of the embedding.
    pub hidden: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads; divides `hidden`.
    pub heads: usize,
    /// Most tokens that the tokenizer learns.
    pub vocab: usize,
    /// Longest text, in tokens; a longer one is cut.
    pub max_tokens: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Pairs in a batch; each is the others' negative.
    pub batch: usize,
    /// Peak learning rate, reached after `warmup` steps, then lowered along a cosine to a tenth.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises.
    pub warmup: u64,
    /// Decoupled weight decay on the linear maps.
    pub weight_decay: f64,
    /// Cosines are divided by this before the softmax.
    pub temperature: f64,
    /// Decides initial weights and the order of pairs.
    pub seed: u64,
    /// Steps between checkpoints; 0 for none but the last.
    pub checkpoint_every: u64,
    /// Steps between validations; 0 for one at the end.
    pub eval_every: u64,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            hidden: 128,
            layers: 2,
            heads: 4,
            vocab: 4_096,
            max_tokens: 64,
            steps: 300,
            batch: 48,
            learning_rate: 5e-5,
            warmup: 30,
            weight_decay: 0.01,
            temperature: 0.1,
            seed: 7,
            checkpoint_every: 50,
            eval_every: 50,
        }
    }
}

impl TrainSpec {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), ModelsError> {
        let counts = [
            ("hidden", self.hidden as u64, 8, 1_024),
            ("layers", self.layers as u64, 1, 24),
            ("heads", self.heads as u64, 1, 64),
            ("vocab", self.vocab as u64, 64, 262_144),
            ("max_tokens", self.max_tokens as u64, 4, 1_024),
            ("steps", self.steps, 1, 10_000_000),
            ("batch", self.batch as u64, 2, 1_024),
            ("warmup", self.warmup, 0, 1_000_000),
        ];
        for (field, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                return Err(ModelsError::Spec {
                    field,
                    reason: format!("is {value}, it must be {least} to {most}"),
                });
            }
        }
        let reals = [
            ("learning_rate", self.learning_rate, 1e-8, 1.0),
            ("weight_decay", self.weight_decay, 0.0, 1.0),
            ("temperature", self.temperature, 0.005, 10.0),
        ];
        for (field, value, least, most) in reals {
            if !(least..=most).contains(&value) {
                return Err(ModelsError::Spec {
                    field,
                    reason: format!("is {value}, it must be {least} to {most}"),
                });
            }
        }
        if !self.hidden.is_multiple_of(self.heads) {
            let reason =
                format!("is {}, which does not divide hidden ({})", self.heads, self.hidden);
            return Err(ModelsError::Spec { field: "heads", reason });
        }
        Ok(())
    }

    /// The learning rate of a step, counted from 0.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.learning_rate * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / span).min(1.0);
        self.learning_rate * (0.1 + 0.45 * (1.0 + (std::f64::consts::PI * done).cos()))
    }

    /// The model that these settings make with a tokenizer of this many tokens.
    pub fn config(&self, vocab_size: usize) -> EncoderConfig {
        EncoderConfig {
            model_type: MODEL_TYPE.to_owned(),
            vocab_size,
            hidden_size: self.hidden,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            intermediate_size: FEED_FORWARD * self.hidden,
            max_position_embeddings: self.max_tokens,
            layer_norm_eps: 1e-5,
            hidden_act: HiddenAct::GeluTanh,
            pooling: Pooling::Mean,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use sextant_core::Explain;

    use super::TrainSpec;

    #[test]
    fn every_bound_has_a_name() {
        TrainSpec::default().validate().unwrap();
        for (json, field) in [
            (r#"{"hidden":4}"#, "hidden"),
            (r#"{"heads":3}"#, "heads"),
            (r#"{"batch":1}"#, "batch"),
            (r#"{"steps":0}"#, "steps"),
            (r#"{"temperature":0}"#, "temperature"),
            (r#"{"learning_rate":1e300}"#, "learning_rate"),
        ] {
            let spec: TrainSpec = serde_json::from_str(json).unwrap();
            let error = spec.validate().unwrap_err();
            assert_eq!(error.code().number, 4101);
            assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
        }
        assert!(serde_json::from_str::<TrainSpec>(r#"{"hiden":64}"#).is_err());
        let nan = TrainSpec { temperature: f64::NAN, ..TrainSpec::default() };
        assert!(nan.validate().is_err());
    }

    #[test]
    fn the_learning_rate_rises_then_falls_to_a_tenth() {
        let spec = TrainSpec { steps: 100, warmup: 10, learning_rate: 1.0, ..TrainSpec::default() };
        assert!((spec.learning_rate_at(0) - 0.1).abs() < 1e-12);
        assert!((spec.learning_rate_at(9) - 1.0).abs() < 1e-12);
        assert!((spec.learning_rate_at(10) - 1.0).abs() < 1e-12);
        assert!((spec.learning_rate_at(100) - 0.1).abs() < 1e-12);
        let rates: Vec<f64> = (10..=100).map(|s| spec.learning_rate_at(s)).collect();
        assert!(rates.is_sorted_by(|a, b| a >= b));
    }
}
