//! Training runs and evaluation reports.

use serde_json::Value;

use super::text::{Style, items, plain, seconds, short, table};

pub fn list(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "runs")
        .iter()
        .map(|run| {
            vec![
                plain(&run["id"]),
                plain(&run["status"]),
                plain(&run["asset"]),
                plain(&run["started_at"]),
                seconds(run["seconds"].as_f64().unwrap_or(0.0)),
                best_line(&run["best"]),
                short(&run["checkpoint"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no runs yet: add a file to train/, then `sextant build`\n".to_owned();
    }
    table(&["run", "status", "asset", "started", "time", "best", "checkpoint"], &rows)
}

fn best_line(best: &Value) -> String {
    if best.is_null() {
        return String::new();
    }
    format!("{} {} at {}", plain(&best["metric"]), plain(&best["value"]), plain(&best["step"]))
}

pub fn show(result: &Value) -> String {
    let mut text = format!(
        "{} {} {}\n",
        Style::Bold.paint(plain(&result["asset"])),
        plain(&result["id"]),
        plain(&result["status"])
    );
    for field in ["started_at", "seed", "dataset", "checkpoint"] {
        text.push_str(&format!("{field:<12} {}\n", plain(&result[field])));
    }
    for group in ["params", "machine", "code"] {
        for (key, value) in result[group].as_object().into_iter().flatten() {
            text.push_str(&format!("{group:<12} {key} = {}\n", plain(value)));
        }
    }
    let rows: Vec<Vec<String>> = result["curves"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(metric, points)| {
            let points = points.as_array().map_or(&[][..], Vec::as_slice);
            let values: Vec<f64> = points.iter().filter_map(|point| point[1].as_f64()).collect();
            let last = values.last().map_or_else(String::new, |value| format!("{value:.4}"));
            vec![metric.clone(), points.len().to_string(), last, sparkline(&values)]
        })
        .collect();
    text.push_str(&table(&["metric", "points", "last", "curve"], &rows));
    text
}

/// A curve in one line of eighth blocks, at most 60 wide.
fn sparkline(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = values.len().div_ceil(60).max(1);
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = (high - low).max(f64::EPSILON);
    values
        .chunks(step)
        .map(|chunk| {
            let mean = chunk.iter().sum::<f64>() / chunk.len() as f64;
            BLOCKS[(((mean - low) / range * 7.0).round() as usize).min(7)]
        })
        .collect()
}

pub fn best(result: &Value) -> String {
    let run = Style::Bold.paint(plain(&result["run"]));
    let at = format!(
        "{} = {} at step {}",
        plain(&result["metric"]),
        plain(&result["value"]),
        plain(&result["step"])
    );
    if result["experiment"].is_null() {
        let checkpoint = plain(&result["checkpoint"]);
        return format!("run {run} made the best checkpoint: {at}\ncheckpoint {checkpoint}\n");
    }
    let (name, experiment) = (plain(&result["name"]), plain(&result["experiment"]));
    let mut text = format!("run {run} ({name} of {experiment}) was best: {at}\n");
    text.push_str(&match result["checkpoint"].as_str() {
        None => "no model was logged up to that step\n".to_owned(),
        Some(model) => format!(
            "model {model} ({}) at step {}: {}\n",
            plain(&result["checkpoint_name"]),
            plain(&result["checkpoint_step"]),
            plain(&result["checkpoint_is"])
        ),
    });
    for name in result["registered"].as_array().into_iter().flatten() {
        text.push_str(&format!("registered as {}\n", plain(name)));
    }
    text
}

pub fn evaluation(result: &Value) -> String {
    let mut text = format!("{}\n", Style::Bold.paint(plain(&result["name"])));
    let rows: Vec<Vec<String>> = result["modes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(mode, figures)| {
            let mut row = vec![mode.clone()];
            row.extend(
                ["ndcg@10", "recall@10", "mrr"].iter().map(|metric| plain(&figures[*metric])),
            );
            row
        })
        .collect();
    text.push_str(&table(&["mode", "nDCG@10", "recall@10", "MRR"], &rows));
    text.push_str(&format!("{} questions", plain(&result["questions"])));
    let p = &result["p_value"];
    if !p.is_null() {
        text.push_str(&format!(", paired p-value hybrid against bm25: {}", plain(p)));
    }
    text.push('\n');
    text
}
