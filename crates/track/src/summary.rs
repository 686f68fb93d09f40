//! What do a run's points say in short? The curve of each metric, its last and best value, and the
//! best checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sextant_core::{Digest, Timestamp};

use crate::{CheckpointRow, MetricPoint};

/// The points of each metric in the order of steps: step, value, time in microseconds. A step that
/// was told twice (before and after a kill) is there once, with the later value.
pub type Curves = BTreeMap<String, Vec<(u64, f64, Timestamp)>>;

/// Which way is better?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Less is better.
    Min,
    /// More is better.
    Max,
}

impl Direction {
    /// By the metric's name: losses, errors, perplexities and times are better when small.
    pub fn of(metric: &str) -> Self {
        let name = metric.to_lowercase();
        let small =
            ["loss", "error", "perplexity", "seconds", "_ms", "latency", "wer", "mae", "rmse"];
        if small.iter().any(|word| name.contains(word)) { Self::Min } else { Self::Max }
    }

    /// Whether `one` is better than `two`. A value that is no number is worse than any.
    pub fn better(self, one: f64, two: f64) -> bool {
        match (one.is_nan(), two.is_nan()) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => match self {
                Self::Min => one < two,
                Self::Max => one > two,
            },
        }
    }
}

/// One metric of one run in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// The last value.
    pub last: f64,
    /// The step of the last value.
    pub step: u64,
    /// How many points.
    pub count: u64,
}

/// The best checkpoint of a run by one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestCheckpoint {
    /// The metric.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// The step where it was measured.
    pub step: u64,
    /// The checkpoint; `None` when the run kept none, and the value is the best of the curve.
    pub checkpoint: Option<Digest>,
}

pub(crate) fn curves(points: impl IntoIterator<Item = MetricPoint>) -> Curves {
    let mut by_step: BTreeMap<String, BTreeMap<u64, (f64, Timestamp)>> = BTreeMap::new();
    for point in points {
        by_step.entry(point.metric).or_default().insert(point.step, (point.value, point.at));
    }
    by_step
        .into_iter()
        .map(|(metric, steps)| {
            (metric, steps.into_iter().map(|(step, (value, at))| (step, value, at)).collect())
        })
        .collect()
}

pub(crate) fn summaries(curves: &Curves) -> BTreeMap<String, MetricSummary> {
    curves
        .iter()
        .filter_map(|(metric, points)| {
            let (step, last, _) = *points.last()?;
            let count = points.len() as u64;
            Some((metric.clone(), MetricSummary { last, step, count }))
        })
        .collect()
}

/// The metric that a run is judged by when nobody names one: `validation_mrr`, else another validation
/// metric, else the loss, else the first.
pub(crate) fn main_metric<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Option<&'a str> {
    let find = |test: fn(&str) -> bool| names.clone().find(|name| test(name));
    find(|name| name == "validation_mrr")
        .or_else(|| find(|name| name.starts_with("val") && !name.contains("loss")))
        .or_else(|| find(|name| name.starts_with("val")))
        .or_else(|| find(|name| name == "loss"))
        .or_else(|| find(|name| name.contains("loss")))
        .or_else(|| names.clone().next())
        .map(String::as_str)
}

/// The best checkpoint: each counts with the metric's last value at or before its step. Without
/// checkpoints, the best point of the curve.
pub(crate) fn best_checkpoint(
    curves: &Curves,
    checkpoints: &[CheckpointRow],
    metric: &str,
    direction: Direction,
) -> Option<BestCheckpoint> {
    let points = curves.get(metric)?;
    let mut best: Option<BestCheckpoint> = None;
    let mut offer = |step: u64, value: f64, checkpoint: Option<Digest>| {
        if best.as_ref().is_none_or(|known| direction.better(value, known.value)) {
            best = Some(BestCheckpoint { metric: metric.to_owned(), value, step, checkpoint });
        }
    };
    for row in checkpoints {
        let before = points.partition_point(|(step, ..)| *step <= row.step);
        if let Some((step, value, _)) = before.checked_sub(1).and_then(|at| points.get(at)) {
            offer(*step, *value, Some(row.checkpoint));
        }
    }
    if checkpoints.is_empty() {
        points.iter().for_each(|(step, value, _)| offer(*step, *value, None));
    }
    best
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(metric: &str, step: u64, value: f64) -> MetricPoint {
        MetricPoint { metric: metric.into(), step, value, at: Timestamp::from_micros(0) }
    }

    #[test]
    fn a_step_told_twice_counts_once() {
        let curves = curves([point("loss", 2, 1.0), point("loss", 1, 3.0), point("loss", 2, 0.5)]);
        let values: Vec<_> =
            curves["loss"].iter().map(|(step, value, _)| (*step, *value)).collect();
        assert_eq!(values, [(1, 3.0), (2, 0.5)]);
    }

    #[test]
    fn the_best_checkpoint_is_judged_by_the_value_it_had() {
        let curves =
            curves([(10, 3.0), (20, 1.0), (30, 2.0), (35, 0.1)].map(|(s, v)| point("loss", s, v)));
        let row = |step, name: &str| CheckpointRow { step, checkpoint: Digest::of(name) };
        let rows = [row(15, "a"), row(20, "b"), row(32, "c")];
        let best = best_checkpoint(&curves, &rows, "loss", Direction::Min).unwrap();
        assert_eq!((best.step, best.value, best.checkpoint), (20, 1.0, Some(Digest::of("b"))));
        let best = best_checkpoint(&curves, &rows, "loss", Direction::Max).unwrap();
        assert_eq!(best.checkpoint, Some(Digest::of("a")));
        let best = best_checkpoint(&curves, &[], "loss", Direction::Min).unwrap();
        assert_eq!((best.step, best.checkpoint), (35, None));
        assert!(best_checkpoint(&curves, &rows, "none", Direction::Min).is_none());
    }

    #[test]
    fn directions_and_main_metrics() {
        assert_eq!(Direction::of("validation_loss"), Direction::Min);
        assert_eq!(Direction::of("ndcg@10"), Direction::Max);
        assert!(Direction::Min.better(1.0, f64::NAN) && !Direction::Max.better(f64::NAN, 1.0));
        let main = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            main_metric(names.iter()).map(str::to_owned)
        };
        assert_eq!(
            main(&["loss", "pairs/s", "validation_loss"]).as_deref(),
            Some("validation_loss")
        );
        assert_eq!(main(&["learning_rate", "loss"]).as_deref(), Some("loss"));
        assert_eq!(main(&[]), None);
    }
}
