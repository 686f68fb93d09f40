//! How do spans come in? First into the durable log, then what finds them into the catalog, in one
//! transaction with what follows from them for their traces. A span that is sent again takes its own
//! place.
//!
//! What was told of a trace as a whole stays. Else it begins with its first span, ends with its last,
//! and has the state of its root; tokens and costs are those of all its spans.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sextant_core::ActivityId;
use sextant_lineage::{Act, Reader};

use super::{
    super::{
        Mlflow, Refusal,
        batch::cut,
        experiments::Experiment,
        names::{at_most, check_key},
        refusal::invalid,
    },
    COSTS, FINAL, ID_CHARS_MAX, SESSION, SPANS_AT, SPANS_HERE, TOKENS, USER,
    bodies::{Body, SPAN_BYTES_MAX},
    dialects::{INPUTS, OUTPUTS},
    info::{Info, put_metadata, put_tag},
    label::put_link,
    preview::preview,
    span::NewSpan,
    start::{ARTIFACTS, TAG_CHARS_MAX, artifacts},
    text::json_text,
    usage::{Node, Sum},
};

const NANOS_PER_MILLI: i64 = 1_000_000;
const WORDS_CHARS_MAX: usize = 250;
/// What begins the name of an attribute of the root that becomes a tag of the trace.
const TAG_PREFIX: &str = "mlflow.traceTag.";
/// Attributes of a program that say nothing of it, or belong to us.
const SKIPPED: &[&str] = &["telemetry.sdk.", "mlflow."];
const SESSIONS: &[&str] = &["session.id", "gen_ai.conversation.id"];

impl Mlflow {
    /// Takes spans for an experiment; they are durable when this returns.
    pub(super) fn take(
        &self,
        experiment: &str,
        run: Option<&str>,
        spans: &[NewSpan],
    ) -> Result<(), Refusal> {
        if let Some(large) = spans.iter().find(|span| span.content.len() > SPAN_BYTES_MAX) {
            let bytes = large.content.len();
            return Err(invalid(format!(
                "the span '{}' has {bytes} bytes; at most {SPAN_BYTES_MAX} are kept",
                cut(&large.name, WORDS_CHARS_MAX)
            )));
        }
        at_most(run.unwrap_or_default(), ID_CHARS_MAX, "x-mlflow-run-id")?;
        let experiment = self.experiment(&self.store().read()?, experiment)?;
        let mut traces: BTreeMap<String, Vec<&NewSpan>> = BTreeMap::new();
        for span in spans {
            traces.entry(span.trace()).or_default().push(span);
        }
        let _kept = self.0.bodies.keep();
        let first = stamp();
        let stamps: Vec<i64> =
            (0..).map(|n: i64| first.wrapping_add(n)).take(spans.len()).collect();
        let bodies: Vec<Body<'_>> = spans
            .iter()
            .zip(&stamps)
            .map(|(span, stamp)| Body { trace: span.key, stamp: *stamp, content: &span.content })
            .collect();
        let places = self.0.bodies.append(&bodies)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let mut act = self.act(format!("take {} spans", spans.len()));
        for ((span, stamp), place) in spans.iter().zip(&stamps).zip(&places) {
            put_span(&mut act, span, *stamp, *place);
        }
        for (id, spans) in &traces {
            let known = self.info_if(&reader, id)?;
            self.put_trace(&reader, &mut act, &experiment, known, spans)?;
            if let (Some(run), Some(_)) = (run, root(spans)) {
                put_link(&mut act, id, "run", run);
            }
        }
        act.commit()?;
        Ok(())
    }

    /// What follows from spans for their trace.
    fn put_trace(
        &self,
        reader: &Reader,
        act: &mut Act,
        experiment: &Experiment,
        known: Option<Info>,
        spans: &[&NewSpan],
    ) -> Result<(), Refusal> {
        let Some(id) = spans.first().map(|span| span.trace()) else { return Ok(()) };
        let mut info = match known {
            Some(info) => info,
            None => {
                put_tag(act, &id, ARTIFACTS, &artifacts(&experiment.location, &id));
                new_info(&id, experiment.id, spans)
            }
        };
        let is_final = info.told(FINAL).is_some();
        if !is_final {
            widen(&mut info, spans);
        }
        if let Some(root) = root(spans) {
            if matches!(info.state.as_str(), "IN_PROGRESS" | "STATE_UNSPECIFIED") {
                let state = if root.status == "ERROR" { "ERROR" } else { "OK" };
                state.clone_into(&mut info.state);
            }
            let shown = |key, role| Some(preview(root.attributes.get(key)?.as_str()?, role));
            info.request = info.request.or_else(|| shown(INPUTS, "user"));
            info.response = info.response.or_else(|| shown(OUTPUTS, "assistant"));
        }
        info.put(act);
        for (sum, key) in [(Sum::Tokens, TOKENS), (Sum::Costs, COSTS)] {
            let is_told = is_final && info.told(key).is_some();
            if !is_told
                && spans.iter().any(|span| span.told(sum).is_some())
                && let Some(total) = sum.of(&nodes(reader, &id, sum, spans)?)
            {
                put_metadata(act, &id, key, &total);
            }
        }
        let first = |keys: &[&str]| {
            spans.iter().find_map(|span| keys.iter().find_map(|key| span.text(key)))
        };
        for (key, found) in [(SESSION, first(SESSIONS)), (USER, first(&["user.id"]))] {
            if let (None, Some(found)) = (info.told(key), found) {
                put_metadata(act, &id, key, cut(&found, WORDS_CHARS_MAX));
            }
        }
        put_tag(act, &id, SPANS_AT, SPANS_HERE);
        put_tags(act, &id, spans);
        Ok(())
    }
}

/// A number that no other record has: the random part of a new id.
fn stamp() -> i64 {
    let id = ActivityId::new();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.as_raw()[8..]);
    i64::from_le_bytes(bytes)
}

fn root<'a>(spans: &[&'a NewSpan]) -> Option<&'a NewSpan> {
    spans.iter().copied().find(|span| span.parent.is_none())
}

/// The first beginning and the last end, in milliseconds.
fn range(spans: &[&NewSpan]) -> (i64, Option<i64>) {
    let first = spans.iter().map(|span| span.started).min().unwrap_or_default();
    let last = spans.iter().filter_map(|span| span.ended).max();
    (first / NANOS_PER_MILLI, last.map(|last| last / NANOS_PER_MILLI))
}

fn new_info(id: &str, experiment: i64, spans: &[&NewSpan]) -> Info {
    let (started, ended) = range(spans);
    Info {
        experiment,
        started,
        duration: ended.map(|ended| ended - started),
        state: "IN_PROGRESS".to_owned(),
        ..Info::new(id)
    }
}

fn widen(info: &mut Info, spans: &[&NewSpan]) {
    let (first, last) = range(spans);
    let known = info.duration.map(|duration| info.started.saturating_add(duration));
    info.started = info.started.min(first);
    info.duration = known.max(last).map(|ended| ended.saturating_sub(info.started));
}

fn put_span(act: &mut Act, span: &NewSpan, stamp: i64, place: i64) {
    act.execute(
        "INSERT INTO mlflow_spans
             (trace, id, parent, name, type, status, started, usage, cost, stamp, at, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (trace, id) DO UPDATE SET parent = excluded.parent, name = excluded.name,
             type = excluded.type, status = excluded.status, started = excluded.started,
             usage = excluded.usage, cost = excluded.cost, stamp = excluded.stamp,
             at = excluded.at, bytes = excluded.bytes",
        vec![
            span.trace().into(),
            (&span.id).into(),
            span.parent.as_deref().into(),
            (&span.name).into(),
            span.kind.as_deref().into(),
            span.status.into(),
            span.started.into(),
            span.told(Sum::Tokens).into(),
            span.told(Sum::Costs).into(),
            stamp.into(),
            place.into(),
            i64::try_from(span.content.len()).unwrap_or(i64::MAX).into(),
        ],
    );
}

/// All spans of a trace with what they tell: those that are here, and those that come.
fn nodes(reader: &Reader, trace: &str, sum: Sum, spans: &[&NewSpan]) -> Result<Vec<Node>, Refusal> {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let column = if sum == Sum::Tokens { "usage" } else { "cost" };
    let sql = format!("SELECT id, parent, {column} FROM mlflow_spans WHERE trace = ?1");
    let text = |text: Option<&str>| text.map(str::to_owned);
    for row in reader.query(&sql, &[trace.into()])? {
        let (id, parent) = (row.text(0)?.to_owned(), text(row.opt_text(1)?));
        nodes.insert(id.clone(), Node { id, parent, told: text(row.opt_text(2)?) });
    }
    for span in spans {
        let (id, parent) = (span.id.clone(), span.parent.clone());
        nodes.insert(id.clone(), Node { id, parent, told: span.told(sum) });
    }
    Ok(nodes.into_values().collect())
}

/// Tags from what the program says of itself, then those that the root carries.
fn put_tags(act: &mut Act, trace: &str, spans: &[&NewSpan]) {
    let mut done = BTreeSet::from([SPANS_AT.to_owned()]);
    let mut put = |key: &str, value: &str| {
        let fine = check_key(key, "key", "key").is_ok();
        if fine && done.insert(key.to_owned()) {
            put_tag(act, trace, key, cut(value, TAG_CHARS_MAX));
        }
    };
    for (key, text) in root(spans).iter().flat_map(|root| &root.attributes) {
        let Some(tag) = key.strip_prefix(TAG_PREFIX) else { continue };
        let text = text.as_str().unwrap_or_default();
        let value: Option<String> = serde_json::from_str(text).ok();
        put(tag, value.as_deref().unwrap_or(text));
    }
    let resource = spans.iter().map(|span| &span.resource).find(|resource| !resource.is_empty());
    for (key, value) in resource.into_iter().flatten() {
        if SKIPPED.iter().any(|prefix| key.starts_with(prefix)) {
            continue;
        }
        match value {
            Value::String(text) => put(key, text),
            other => put(key, &json_text(other)),
        }
    }
}
