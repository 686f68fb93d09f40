//! What do clients of MLflow 2 ask of traces? To start and to end one, and to read what is told of it.
//! Later clients ask this when they find nothing newer.

use serde_json::{Map, Value, json};
use sextant_core::ActivityId;

use super::{
    super::{Answer, Fields, Mlflow, Refusal, batch::cut, metrics::run_id, refusal::invalid},
    info::{Info, put_metadata, put_tag},
    start::{ARTIFACTS, TAG_CHARS_MAX, artifacts, check_tags, normal_metadata},
};

const PAIRS_MAX: usize = 1000;
const STATES: &[&str] = &["TRACE_STATUS_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"];

impl Mlflow {
    pub(in super::super) fn start_old_trace(&self, fields: Fields<'_>) -> Answer {
        let experiment = fields.need("experiment_id")?;
        let started = fields.int("timestamp_ms")?.unwrap_or_default();
        let (metadata, tags) = told(&fields)?;
        let _turn = self.turn();
        let experiment = self.experiment(&self.store().read()?, experiment)?.active()?;
        let id = format!("tr-{}", run_id(ActivityId::new().as_raw()));
        let mut act = self.act(format!("start trace {id}"));
        let state = "IN_PROGRESS".to_owned();
        Info { experiment: experiment.id, started, state, ..Info::new(&id) }.put(&mut act);
        put_tag(&mut act, &id, ARTIFACTS, &artifacts(&experiment.location, &id));
        for (key, value) in &tags {
            put_tag(&mut act, &id, key, cut(value, TAG_CHARS_MAX));
        }
        for (key, value) in &metadata {
            put_metadata(&mut act, &id, key, value);
        }
        act.commit()?;
        self.old_trace(&id)
    }

    pub(in super::super) fn end_old_trace(&self, fields: Fields<'_>) -> Answer {
        let id = fields.place("trace_id");
        let ended = fields.int("timestamp_ms")?.unwrap_or_default();
        let state = match fields.int("status").ok().flatten() {
            Some(number) => usize::try_from(number).ok().and_then(|at| STATES.get(at).copied()),
            None => {
                let word = fields.text("status")?.unwrap_or(STATES[0]);
                STATES.iter().copied().find(|state| *state == word)
            }
        };
        let state = state.unwrap_or(STATES[0]);
        let state = if state == STATES[0] { "STATE_UNSPECIFIED" } else { state };
        let (metadata, tags) = told(&fields)?;
        let _turn = self.turn();
        let mut info = self.info(&self.store().read()?, id)?;
        info.duration = Some(ended.saturating_sub(info.started));
        state.clone_into(&mut info.state);
        let mut act = self.act(format!("end trace {id}"));
        info.put(&mut act);
        for (key, value) in &tags {
            put_tag(&mut act, id, key, cut(value, TAG_CHARS_MAX));
        }
        for (key, value) in &metadata {
            put_metadata(&mut act, id, key, value);
        }
        act.commit()?;
        self.old_trace(id)
    }

    pub(in super::super) fn get_old_trace(&self, fields: Fields<'_>) -> Answer {
        self.old_trace(fields.place("trace_id"))
    }

    fn old_trace(&self, id: &str) -> Answer {
        let info = self.info(&self.store().read()?, id)?;
        Ok(json!({ "trace_info": info.shown_old() }))
    }
}

type Pairs = Vec<(String, String)>;

/// Metadata and tags, as lists of keys and values.
fn told(fields: &Fields<'_>) -> Result<(Pairs, Pairs), Refusal> {
    let pairs = |name: &str| -> Result<Pairs, Refusal> {
        let objects = fields.objects(name)?;
        if objects.len() > PAIRS_MAX {
            return Err(invalid(format!("{name} has at most {PAIRS_MAX} entries")));
        }
        let pair = |object: &Map<String, Value>| {
            let fields = Fields::new(object);
            Ok((
                fields.need("key")?.to_owned(),
                fields.text("value")?.unwrap_or_default().to_owned(),
            ))
        };
        objects.into_iter().map(pair).collect()
    };
    let tags = pairs("tags")?;
    check_tags(&tags)?;
    Ok((normal_metadata(pairs("request_metadata")?)?, tags))
}
