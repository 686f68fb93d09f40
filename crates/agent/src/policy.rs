//! Which retrieval mode does a release use when the project says `auto`? Hybrid only when it was
//! measured to be better; the reason is kept in words.

use serde_json::Value;

use crate::{AgentError, Mode};

/// A difference that chance alone would bring more often than this is not called better.
const CHANCE_MAX: f64 = 0.05;

/// The mode and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What is used.
    pub mode: Mode,
    /// Why, in words.
    pub reason: String,
}

/// Decides from the flattened figures of an evaluation (`retrieval.hybrid.ndcg@10`).
///
/// # Errors
/// When a figure is absent.
pub fn resolve_retrieval(metrics: &Value) -> Result<Resolution, AgentError> {
    let figure = |name: &str| {
        metrics
            .get(name)
            .and_then(Value::as_f64)
            .ok_or_else(|| AgentError::MissingMetric { metric: name.to_owned() })
    };
    let bm25 = figure("retrieval.bm25.ndcg@10")?;
    let hybrid = figure("retrieval.hybrid.ndcg@10")?;
    let p = metrics.get("retrieval.hybrid_vs_bm25.p_value").and_then(Value::as_f64);
    let chance = p.map(|p| format!(" (p = {p:.3})")).unwrap_or_default();
    let (mode, word) = if hybrid > bm25 && p.is_some_and(|p| p > CHANCE_MAX) {
        (Mode::Bm25, "hybrid is ahead of bm25, but perhaps by chance")
    } else if hybrid > bm25 {
        (Mode::Hybrid, "hybrid is better than bm25")
    } else if hybrid < bm25 {
        (Mode::Bm25, "hybrid is worse than bm25")
    } else {
        (Mode::Bm25, "hybrid is no better than bm25")
    };
    let reason = format!("{word}: ndcg@10 {hybrid:.3} against {bm25:.3}{chance}");
    Ok(Resolution { mode, reason })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(bm25: f64, hybrid: f64, mode: Mode, reason: &str) {
        let metrics = serde_json::json!({
            "retrieval.bm25.ndcg@10": bm25, "retrieval.hybrid.ndcg@10": hybrid,
            "retrieval.hybrid_vs_bm25.p_value": 0.04,
        });
        let found = resolve_retrieval(&metrics).unwrap();
        assert_eq!((found.mode, found.reason.as_str()), (mode, reason));
    }

    #[test]
    fn hybrid_only_when_it_is_better() {
        check(
            0.6,
            0.7,
            Mode::Hybrid,
            "hybrid is better than bm25: ndcg@10 0.700 against 0.600 (p = 0.040)",
        );
        check(
            0.7,
            0.6,
            Mode::Bm25,
            "hybrid is worse than bm25: ndcg@10 0.600 against 0.700 (p = 0.040)",
        );
        check(
            0.7,
            0.7,
            Mode::Bm25,
            "hybrid is no better than bm25: ndcg@10 0.700 against 0.700 (p = 0.040)",
        );
        let unsure = serde_json::json!({
            "retrieval.bm25.ndcg@10": 0.467, "retrieval.hybrid.ndcg@10": 0.468,
            "retrieval.hybrid_vs_bm25.p_value": 0.916,
        });
        let unsure = resolve_retrieval(&unsure).unwrap();
        assert_eq!(unsure.mode, Mode::Bm25);
        assert!(unsure.reason.starts_with("hybrid is ahead of bm25, but perhaps by chance: "));
        let missing = resolve_retrieval(&serde_json::json!({"retrieval.bm25.ndcg@10": 0.5}));
        assert!(missing.is_err_and(|error| error.to_string().contains("retrieval.hybrid.ndcg@10")));
    }
}
