//! Is the best run the one that had the best value at any step, with the model of that step?

use serde_json::json;
use sextant_track::Direction;

use super::{super::MatchBy, Bench};

/// Two runs whose loss was best before the end, with models logged at some steps.
fn filled() -> Bench {
    let bench = Bench::new();
    for (name, losses) in [("early", [0.5, 0.1, 0.9, 0.1]), ("late", [0.6, 0.4, 0.3, 0.2])] {
        let run = bench.run(name, 1);
        for (step, loss) in losses.into_iter().enumerate() {
            bench.log(&run, json!({ "key": "loss", "value": loss, "timestamp": 1, "step": step }));
        }
        for step in [0, 2] {
            let model = bench.model(&format!("{name}-{step}"), &run);
            let fields = json!({ "run_id": run, "models": [{ "model_id": model, "step": step }] });
            bench.good("POST", "runs/outputs", fields);
        }
        bench.log(&run, json!({ "key": "acc", "value": "NaN", "timestamp": 1, "step": 0 }));
    }
    bench
}

#[test]
fn a_run_is_judged_by_its_best_step_not_its_last() {
    let bench = filled();
    for (direction, run, value, step, model, match_by) in [
        (Direction::Min, "early", 0.1, 1, "early-0", MatchBy::Before),
        (Direction::Max, "early", 0.9, 2, "early-2", MatchBy::Step),
    ] {
        let best = bench.mlflow.best("loss", direction, None).unwrap().unwrap();
        let kept = best.checkpoint.unwrap();
        let seen = (best.name.as_str(), best.value, best.step, kept.name.as_str(), kept.match_by);
        assert_eq!(seen, (run, value, step, model, match_by));
        assert_eq!(best.compared, 2);
    }
    let none = |metric| bench.mlflow.best(metric, Direction::Min, None).unwrap();
    assert!(none("accuracy").is_none());
    assert!(none("acc").is_none(), "what is no number is not best");
    let best = |experiment| bench.mlflow.best("loss", Direction::Min, Some(experiment));
    assert_eq!(best("Default").unwrap().unwrap().name, "early");
    assert_eq!(best("other").unwrap_err().status(), 404);
}

#[test]
fn the_model_that_a_value_names_comes_first_and_deleted_runs_do_not_count() {
    let bench = filled();
    let best = || bench.mlflow.best("loss", Direction::Min, None).unwrap().unwrap();
    let run = best().run;
    let model = bench.model("measured", &run);
    let point =
        json!({ "key": "loss", "value": 0.05, "timestamp": 9, "step": 7, "model_id": model });
    bench.log(&run, point);
    let found = best().checkpoint.unwrap();
    let seen = (found.name.as_str(), found.step, found.match_by, found.version);
    assert_eq!(seen, ("measured", 7, MatchBy::Value, None));
    bench.good("DELETE", &format!("logged-models/{model}"), json!({}));
    assert_eq!(best().checkpoint.unwrap().name, "early-2");
    bench.good("POST", "runs/delete", json!({ "run_id": run }));
    let left = best();
    assert_eq!((left.name.as_str(), left.value, left.step), ("late", 0.2, 3));
    assert_eq!(left.shown()["checkpoint_is"], "the last one before this step");
}
