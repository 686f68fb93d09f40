//! How did a metric move? Every point of it, page by page; and for charts so many points of each run as
//! its width has pixels.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Answer, Call, Fields, Mlflow, Refusal,
    call::look,
    metrics::run_key,
    point::Point,
    refusal::invalid,
    runs::{run_field, shown_point, shown_value},
    search::Page,
};

const POINTS_MAX: i64 = 25_000;
const RUNS_MAX: usize = 100;
const CHART_POINTS_MAX: i64 = 2500;

/// The calls of this file.
pub(super) const CALLS: &[Call] = &[
    look("GET", "2.0/mlflow/metrics/get-history", Mlflow::metric_history),
    look("GET", "2.0/mlflow/metrics/get-history-bulk", Mlflow::metric_history_bulk),
    look("GET", "2.0/mlflow/metrics/get-history-bulk-interval", Mlflow::metric_history_interval),
];

impl Mlflow {
    /// The points of one metric of a run.
    fn points(&self, run: &str, key: &str) -> Result<Vec<Point>, Refusal> {
        let Some(run) = run_key(run) else { return Ok(Vec::new()) };
        Ok(self.0.metrics.of_run(&run, key)?)
    }

    pub(super) fn metric_history(&self, fields: Fields<'_>) -> Answer {
        let run = run_field(&fields)?;
        let key = fields.need("metric_key")?;
        let size = match fields.int("max_results").unwrap_or(None) {
            Some(size @ ..=0) => {
                return Err(invalid(format!(
                    "Invalid value {size} for parameter 'max_results' supplied. It must be a positive \
                     integer."
                )));
            }
            size => size.unwrap_or(POINTS_MAX).min(POINTS_MAX),
        };
        let page = Page::of(fields.text("page_token")?, size)?;
        let points = self.points(run, key)?;
        let rest = points.len().saturating_sub(page.begin());
        let shown = points.iter().skip(page.begin()).take(page.size()).map(shown_point).collect();
        Ok(page.answer("metrics", shown, rest))
    }

    pub(super) fn metric_history_bulk(&self, fields: Fields<'_>) -> Answer {
        let refuse =
            |what: &str| Err(invalid(format!("GetMetricHistoryBulk request must specify {what}.")));
        let runs = fields.texts("run_id")?;
        if runs.is_empty() {
            return refuse("at least one run_id");
        }
        let Some(key) = fields.text("metric_key")? else { return refuse("a metric_key") };
        if runs.len() > RUNS_MAX {
            return Err(invalid(format!(
                "GetMetricHistoryBulk request cannot specify more than {RUNS_MAX} run_ids. Received {} \
                 run_ids.",
                runs.len()
            )));
        }
        let most = fields.int("max_results")?.unwrap_or(POINTS_MAX).clamp(0, POINTS_MAX);
        let mut shown = Vec::new();
        let mut ordered = runs;
        ordered.sort_unstable();
        for run in ordered {
            let left = usize::try_from(most).unwrap_or(0).saturating_sub(shown.len());
            shown.extend(self.points(run, key)?.iter().take(left).map(|point| of_run(point, run)));
        }
        Ok(json!({ "metrics": shown }))
    }

    pub(super) fn metric_history_interval(&self, fields: Fields<'_>) -> Answer {
        let runs = fields.texts("run_ids")?;
        if runs.is_empty() {
            return Err(fields.absent("run_ids"));
        }
        if runs.len() > RUNS_MAX {
            let told = format!(
                "GetMetricHistoryBulkInterval request must specify at most {RUNS_MAX} run_ids. Received {} run_ids.",
                runs.len()
            );
            return Err(invalid(told));
        }
        let key = fields.need("metric_key")?;
        let most = fields.int("max_results")?.unwrap_or(CHART_POINTS_MAX);
        if !(1..=CHART_POINTS_MAX).contains(&most) {
            return Err(invalid(format!(
                "max_results must be between 1 and {CHART_POINTS_MAX}. See the API docs for more \
                 information about request parameters."
            )));
        }
        let steps = interval(&fields)?;
        let mut histories = Vec::with_capacity(runs.len());
        for run in &runs {
            let mut points = self.points(run, key)?;
            if let Some((first, last)) = steps {
                points.retain(|point| (first..=last).contains(&point.step));
            }
            histories.push((*run, points));
        }
        let kept = sampled(&histories, usize::try_from(most).unwrap_or(1));
        let shown: Vec<Value> = histories
            .iter()
            .flat_map(|(run, points)| {
                let kept = points.iter().filter(|point| kept.contains(&point.step));
                kept.map(|point| of_run(point, run))
            })
            .collect();
        let mut answer = Map::new();
        if !shown.is_empty() {
            answer.insert("metrics".to_owned(), Value::Array(shown));
        }
        Ok(Value::Object(answer))
    }
}

/// The steps that a chart shows; all when it names none.
fn interval(fields: &Fields<'_>) -> Result<Option<(i64, i64)>, Refusal> {
    match (fields.int("start_step")?, fields.int("end_step")?) {
        (None, None) => Ok(None),
        (Some(first), Some(last)) if first <= last => Ok(Some((first, last))),
        (Some(first), Some(last)) => Err(invalid(format!(
            "end_step must be greater than start_step. Found start_step={first} and end_step={last}."
        ))),
        _ => {
            Err(invalid("If either start step or end step are specified, both must be specified."))
        }
    }
}

/// The steps that are shown when there are more than `most`: evenly spread over all runs' steps, with
/// the first and the last of each run.
fn sampled(histories: &[(&str, Vec<Point>)], most: usize) -> BTreeSet<i64> {
    let all: BTreeSet<i64> =
        histories.iter().flat_map(|(_, points)| points).map(|point| point.step).collect();
    if all.len() <= most {
        return all;
    }
    let all: Vec<i64> = all.into_iter().collect();
    let mut kept: BTreeSet<i64> = (0..most.saturating_sub(1))
        .filter_map(|at| all.get((at * all.len()).div_ceil(most)))
        .copied()
        .collect();
    kept.extend(all.last());
    for (_, points) in histories {
        let steps = points.iter().map(|point| point.step);
        kept.extend(steps.clone().min());
        kept.extend(steps.max());
    }
    kept
}

fn of_run(point: &Point, run: &str) -> Value {
    json!({
        "key": point.key,
        "run_id": run,
        "value": shown_value(point.value),
        "timestamp": point.timestamp,
        "step": point.step,
    })
}
