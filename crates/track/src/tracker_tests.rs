#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sextant_lineage::OpenOptions;

use super::*;

fn open(dir: &std::path::Path) -> (Store, Tracker) {
    let store = Store::open(dir, OpenOptions::default()).unwrap();
    let tracker = Tracker::open(&store).unwrap();
    (store, tracker)
}

fn new_run(asset: &str) -> NewRun {
    NewRun {
        resume: None,
        asset: asset.into(),
        activity: ActivityId::new(),
        params: serde_json::json!({"steps": 10}),
        machine: serde_json::json!({"cores": 2}),
        code: serde_json::json!({"version": "0"}),
        seed: Some(7),
        dataset: Some(Digest::of("dataset")),
        recipe: None,
    }
}

fn points(metric: &str, values: &[(u64, f64)]) -> Vec<MetricPoint> {
    values
        .iter()
        .map(|(step, value)| MetricPoint {
            metric: metric.into(),
            step: *step,
            value: *value,
            at: Timestamp::from_micros(1),
        })
        .collect()
}

fn finished(checkpoints: &[(u64, &str)]) -> Finish {
    Finish {
        status: RunStatus::Finished,
        error: None,
        model: None,
        checkpoints: checkpoints
            .iter()
            .map(|(step, name)| CheckpointRow { step: *step, checkpoint: Digest::of(name) })
            .collect(),
    }
}

#[test]
fn a_run_from_start_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, tracker) = open(dir.path());
    let run = tracker.start_run(new_run("train/a")).unwrap();
    tracker.append(run, &points("loss", &[(1, 3.0), (2, 2.0)])).unwrap();
    assert_eq!(tracker.list(&SortRuns::Newest).unwrap()[0].status, RunStatus::Running);
    tracker.append(run, &points("loss", &[(3, 1.0)])).unwrap();
    tracker.finish(run, &finished(&[(2, "two"), (3, "three")])).unwrap();
    let detail = tracker.get(&run.to_string()[..30]).unwrap();
    assert_eq!(detail.run.status, RunStatus::Finished);
    assert_eq!(detail.run.metrics["loss"], 1.0);
    assert_eq!(detail.run.checkpoint, Some(Digest::of("three")));
    assert_eq!(detail.curves["loss"].len(), 3);
    assert_eq!(detail.checkpoints.len(), 2);
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(json["curves"]["loss"][0], serde_json::json!([1, 3.0, 1]));
    assert_eq!(json["best"]["value"], 1.0);
    let of = tracker.run_of_checkpoint(&Digest::of("two")).unwrap();
    assert_eq!(of, Some(run.to_string()));
    assert!(matches!(tracker.get("zz"), Err(TrackError::NoRun(_))));
    assert!(matches!(tracker.get("%"), Err(TrackError::NoRun(_))));
}

#[test]
fn the_best_checkpoint_over_all_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, tracker) = open(dir.path());
    assert!(matches!(tracker.best(None, None, None), Err(TrackError::NoMetric(_))));
    let mut ids = Vec::new();
    for (asset, loss) in [("train/a", 0.9), ("train/a", 0.2), ("train/b", 0.1)] {
        let run = tracker.start_run(new_run(asset)).unwrap();
        tracker.append(run, &points("loss", &[(5, loss)])).unwrap();
        tracker.finish(run, &finished(&[(5, &run.to_string())])).unwrap();
        ids.push(run);
    }
    let running = tracker.start_run(new_run("train/a")).unwrap();
    tracker.append(running, &points("loss", &[(5, 0.001)])).unwrap();
    let best = tracker.best(None, None, None).unwrap();
    assert_eq!((best.run, best.compared), (ids[2], 4));
    assert_eq!(best.best.checkpoint, Some(Digest::of(ids[2].to_string())));
    assert_eq!(tracker.best(Some("loss"), Some("train/a"), None).unwrap().run, ids[1]);
    let worst = tracker.best(Some("loss"), Some("train/a"), Some(Direction::Max)).unwrap();
    assert_eq!(worst.run, ids[0]);
    assert!(tracker.best(Some("nothing"), None, None).is_err());
    let sorted = tracker.list(&SortRuns::Metric("loss".into())).unwrap();
    assert_eq!(sorted[1].id, ids[2]);
}

#[test]
fn a_run_of_a_dead_process_is_interrupted_and_goes_on_under_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let (store, tracker) = open(dir.path());
    let run = tracker.start_run(new_run("train/a")).unwrap();
    tracker.append(run, &points("loss", &[(1, 3.0), (2, 9.0)])).unwrap();
    let mut act = store.begin(ActivityKind::Train, "as if another process had it");
    act.execute("UPDATE track_runs SET owner = 'gone'", vec![]);
    act.commit().unwrap();
    assert_eq!(tracker.get(&run.to_string()).unwrap().run.status, RunStatus::Interrupted);
    let again = NewRun { resume: Some(run), ..new_run("train/a") };
    assert_eq!(tracker.start_run(again).unwrap(), run);
    tracker.append(run, &points("loss", &[(2, 2.0)])).unwrap();
    let detail = tracker.get(&run.to_string()).unwrap();
    assert_eq!((detail.run.status, detail.run.attempts), (RunStatus::Running, 2));
    assert_eq!(detail.curves["loss"].iter().map(|p| p.1).collect::<Vec<_>>(), [3.0, 2.0]);
    let unknown = NewRun { resume: Some(ActivityId::new()), ..new_run("train/a") };
    assert_ne!(tracker.start_run(unknown).unwrap(), run);
}
