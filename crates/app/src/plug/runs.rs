//! The tracker, for the job runner of the compute layer.

use std::sync::Arc;

use sextant_compute::{Point, RunEnd, RunSink, RunStart, RunStatus};
use sextant_core::{ActivityId, Failure};
use sextant_lineage::Act;
use sextant_track::{CheckpointRow, Finish, MetricPoint, NewRun, Tracker};

/// Keeps the runs of training jobs.
pub struct TrackedRuns(pub Arc<Tracker>);

impl RunSink for TrackedRuns {
    fn start(&self, start: RunStart) -> Result<ActivityId, Failure> {
        Ok(self.0.start_run(NewRun {
            resume: start.resume,
            asset: start.asset,
            activity: start.activity,
            params: start.params,
            machine: start.machine,
            code: start.code,
            seed: start.seed,
            dataset: Some(start.dataset),
            recipe: Some(start.recipe),
        })?)
    }

    fn points(&self, run: ActivityId, points: &[Point]) -> Result<(), Failure> {
        let points: Vec<MetricPoint> = points
            .iter()
            .map(|point| MetricPoint {
                metric: point.metric.clone(),
                step: point.step,
                value: point.value,
                at: point.at,
            })
            .collect();
        Ok(self.0.append(run, &points)?)
    }

    fn finish(&self, act: &mut Act, run: ActivityId, end: RunEnd) -> Result<(), Failure> {
        Ok(self.0.finish_in(act, run, &finish_of(end))?)
    }

    fn abandon(&self, run: ActivityId, end: RunEnd) -> Result<(), Failure> {
        Ok(self.0.finish(run, &finish_of(end))?)
    }
}

fn finish_of(end: RunEnd) -> Finish {
    let status = match end.status {
        RunStatus::Finished => sextant_track::RunStatus::Finished,
        RunStatus::Failed => sextant_track::RunStatus::Failed,
        RunStatus::Killed => sextant_track::RunStatus::Killed,
    };
    let checkpoints = end
        .checkpoints
        .into_iter()
        .map(|(step, checkpoint)| CheckpointRow { step, checkpoint })
        .collect();
    Finish { status, error: end.error, model: end.model, checkpoints }
}
