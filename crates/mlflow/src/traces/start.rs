//! How is a trace told of as a whole? Once, when it has ended; clients repeat the call. Its spans may be
//! here before, and what the call says then counts more than what followed from them.

use serde_json::{Map, Value, json};
use sextant_lineage::Reader;

use super::{
    super::{Answer, Fields, Mlflow, Refusal, batch::cut, names::at_most, refusal::invalid},
    COSTS, FINAL, ID_CHARS_MAX, NAME, SESSION, TOKENS,
    assessment::Assessment,
    info::{Info, put_metadata, put_tag},
    text::{duration_of, time_of},
    usage::Sum,
};

/// States of a trace, in the order of their numbers.
const STATES: &[&str] = &["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"];
pub(super) const TAG_CHARS_MAX: usize = 8000;
const KEY_CHARS_MAX: usize = 250;
const VALUE_CHARS_MAX: usize = 8000;
const NAME_CHARS_MAX: usize = 4096;
const SESSION_CHARS_MAX: usize = 250;
const PREVIEW_CHARS_MAX: usize = 10_000;
const PAIRS_MAX: usize = 1000;
const ASSESSMENTS_MAX: usize = 1000;

impl Mlflow {
    pub(in super::super) fn start_trace(&self, fields: Fields<'_>) -> Answer {
        let trace = fields.object("trace")?.ok_or_else(|| fields.absent("trace"))?;
        let sent = Fields::inside(trace, "trace.").object("trace_info")?;
        let sent = Fields::inside(sent.unwrap_or(trace), "trace.trace_info.");
        let experiment = experiment_of(&sent)?;
        let mut told = self.told(&sent)?;
        let tags = pairs_of(&sent, "tags")?;
        check_tags(&tags)?;
        let metadata = metadata_of(&sent)?;
        let assessments = self.assessments_of(&sent, &told.id)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let experiment = self.experiment(&reader, experiment)?.active()?;
        told.experiment = experiment.id;
        if let Some(known) = self.info_if(&reader, &told.id)? {
            told.request = told.request.or(known.request);
            told.response = told.response.or(known.response);
        }
        let mut act = self.act(format!("start trace {}", told.id));
        told.put(&mut act);
        put_tag(&mut act, &told.id, ARTIFACTS, &artifacts(&experiment.location, &told.id));
        for (key, value) in &tags {
            put_tag(&mut act, &told.id, key, cut(value, TAG_CHARS_MAX));
        }
        for (key, value) in &metadata {
            put_metadata(&mut act, &told.id, key, value);
        }
        put_metadata(&mut act, &told.id, FINAL, "true");
        for assessment in &assessments {
            if !self.has_assessment(&reader, &assessment.id)? {
                assessment.put(&mut act);
            }
        }
        act.commit()?;
        let info = self.info(&self.store().read()?, &told.id)?;
        Ok(json!({ "trace": { "trace_info": info.shown() } }))
    }

    /// A trace without its tags, metadata and assessments.
    fn told(&self, sent: &Fields<'_>) -> Result<Info, Refusal> {
        let id = sent.need("trace_id")?;
        at_most(id, ID_CHARS_MAX, "trace_id")?;
        let time = sent.text("request_time")?;
        let started = match time {
            None => 0,
            Some(text) => time_of(text).ok_or_else(|| sent.wrong("request_time", &json!(text)))?,
        };
        let duration = match sent.text("execution_duration")? {
            None => None,
            Some(text) => {
                let duration = duration_of(text);
                Some(duration.ok_or_else(|| sent.wrong("execution_duration", &json!(text)))?)
            }
        };
        let number = sent.int("state").ok().flatten().and_then(|state| usize::try_from(state).ok());
        let state = match number {
            Some(number) => STATES.get(number).copied(),
            None => {
                let word = sent.text("state")?.unwrap_or_default();
                STATES.iter().copied().find(|state| *state == word)
            }
        };
        let text = |name: &str, most: usize| {
            let text = sent.text(name)?;
            at_most(text.unwrap_or_default(), most, name)?;
            Ok::<_, Refusal>(text.map(str::to_owned))
        };
        Ok(Info {
            started,
            duration,
            // What a later client may say is not known here.
            state: state.unwrap_or(STATES[0]).to_owned(),
            client_request: text("client_request_id", KEY_CHARS_MAX)?,
            request: text("request_preview", PREVIEW_CHARS_MAX)?,
            response: text("response_preview", PREVIEW_CHARS_MAX)?,
            ..Info::new(id)
        })
    }

    fn assessments_of(&self, sent: &Fields<'_>, trace: &str) -> Result<Vec<Assessment>, Refusal> {
        let objects = sent.objects("assessments")?;
        if objects.len() > ASSESSMENTS_MAX {
            return Err(invalid(format!(
                "a trace begins with at most {ASSESSMENTS_MAX} assessments"
            )));
        }
        let one = |object: &Map<String, Value>| {
            Assessment::sent(&Fields::new(object), trace, self.now(), || None)
        };
        objects.into_iter().map(one).collect()
    }

    fn has_assessment(&self, reader: &Reader, id: &str) -> Result<bool, Refusal> {
        let sql = "SELECT 1 FROM mlflow_assessments WHERE id = ?1";
        Ok(!reader.query(sql, &[id.into()])?.is_empty())
    }
}

/// The tag that says where the files of a trace go.
pub(super) const ARTIFACTS: &str = "mlflow.artifactLocation";

/// Where the files of a trace go.
pub(super) fn artifacts(experiment: &str, trace: &str) -> String {
    format!("{}/traces/{trace}/artifacts", experiment.trim_end_matches('/'))
}

fn experiment_of<'a>(sent: &Fields<'a>) -> Result<&'a str, Refusal> {
    let location = sent.object("trace_location")?.map(Fields::new);
    let experiment = match location {
        None => None,
        Some(location) => location.object("mlflow_experiment")?,
    };
    let id = experiment.map_or(Ok(None), |found| Fields::new(found).text("experiment_id"))?;
    id.ok_or_else(|| sent.absent("trace_location.mlflow_experiment.experiment_id"))
}

/// The texts of a map.
fn pairs_of(sent: &Fields<'_>, name: &str) -> Result<Vec<(String, String)>, Refusal> {
    let Some(map) = sent.object(name)? else { return Ok(Vec::new()) };
    if map.len() > PAIRS_MAX {
        return Err(invalid(format!("{name} has at most {PAIRS_MAX} entries")));
    }
    let fields = Fields::inside(map, name);
    map.keys()
        .map(|key| Ok((key.clone(), fields.text(key)?.unwrap_or_default().to_owned())))
        .collect()
}

/// Refuses tags that are too long; a value is cut off instead, but a name is not.
pub(super) fn check_tags(tags: &[(String, String)]) -> Result<(), Refusal> {
    for (key, value) in tags {
        at_most(key, KEY_CHARS_MAX, "key")?;
        if key == NAME {
            at_most(value, NAME_CHARS_MAX, "Trace name")?;
        }
    }
    Ok(())
}

fn metadata_of(sent: &Fields<'_>) -> Result<Vec<(String, String)>, Refusal> {
    normal_metadata(pairs_of(sent, "trace_metadata")?)
}

/// Metadata as it is kept: tokens and costs have a form of their own.
pub(super) fn normal_metadata(
    pairs: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Refusal> {
    let mut kept = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        at_most(&key, KEY_CHARS_MAX, "key")?;
        let value = match key.as_str() {
            TOKENS => Sum::Tokens.normal(&value),
            COSTS => Sum::Costs.normal(&value),
            SESSION => {
                at_most(&value, SESSION_CHARS_MAX, "Session ID")?;
                Some(value)
            }
            _ => Some(cut(&value, VALUE_CHARS_MAX).to_owned()),
        };
        kept.extend(value.map(|value| (key, value)));
    }
    Ok(kept)
}
