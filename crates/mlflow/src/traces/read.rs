//! How is a trace read with its spans? From the log, the root first, then by their beginnings.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sextant_lineage::Reader;

use super::{
    super::{
        Answer, Fault, Fields, Mlflow, MlflowError, Refusal,
        refusal::{invalid, missing},
    },
    SIZES, SPANS_AT, SPANS_HERE,
    info::Info,
    span::{shown_span, trace_key},
};

const TRACES_MAX: usize = 1000;
/// So much of spans one answer holds.
const BYTES_MAX: i64 = 256 << 20;
/// How long, and how often, one waits for spans that are on their way.
const WAIT: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(100);

impl Mlflow {
    pub(in super::super) fn get_trace_info(&self, fields: Fields<'_>) -> Answer {
        let info = self.info(&self.store().read()?, fields.place("trace_id"))?;
        Ok(json!({ "trace": { "trace_info": info.shown() } }))
    }

    pub(in super::super) fn get_trace_infos(&self, fields: Fields<'_>) -> Answer {
        let infos = self.wanted(&self.store().read()?, &fields)?;
        Ok(listed("trace_infos", infos.iter().map(Info::shown).collect()))
    }

    pub(in super::super) fn get_traces(&self, fields: Fields<'_>) -> Answer {
        let _kept = self.0.bodies.keep();
        let reader = self.store().read()?;
        let infos = self.wanted(&reader, &fields)?;
        bounded(&reader, &infos)?;
        let mut shown = Vec::new();
        for info in infos {
            let Some(spans) = self.spans(&reader, &info)? else { continue };
            // Those whose spans are still on their way are left out.
            if !spans.is_empty() && spans.len() >= spans_told(&info) {
                shown.push(with_spans(&info, &spans));
            }
        }
        Ok(listed("traces", shown))
    }

    pub(in super::super) fn get_trace(&self, fields: Fields<'_>) -> Answer {
        let id = fields.need("trace_id")?;
        let partial = fields.flag("allow_partial")?.unwrap_or_default();
        let until = Instant::now() + WAIT;
        loop {
            if let Some(trace) = self.whole_trace(id, partial)? {
                return Ok(json!({ "trace": trace }));
            }
            if Instant::now() >= until {
                return Err(missing(format!(
                    "Trace with ID {id} is not fully exported yet, please try again later."
                )));
            }
            thread::sleep(STEP);
        }
    }

    /// A trace with its spans; none while some of them are on their way.
    fn whole_trace(&self, id: &str, partial: bool) -> Result<Option<Value>, Refusal> {
        let _kept = self.0.bodies.keep();
        let reader = self.store().read()?;
        let info = self.info_if(&reader, id)?;
        let info = info.ok_or_else(|| missing(format!("Trace with ID {id} is not found.")))?;
        bounded(&reader, std::slice::from_ref(&info))?;
        let Some(spans) = self.spans(&reader, &info)? else {
            let message = "Trace data not stored in tracking store".to_owned();
            return Err(Refusal { fault: Fault::Internal, message });
        };
        let whole = !spans.is_empty() && spans.len() >= spans_told(&info);
        Ok((partial || whole).then(|| with_spans(&info, &spans)))
    }

    /// The traces that a call names.
    fn wanted(&self, reader: &Reader, fields: &Fields<'_>) -> Result<Vec<Info>, Refusal> {
        let ids = fields.texts("trace_ids")?;
        if ids.is_empty() {
            return Err(fields.absent("trace_ids"));
        }
        if ids.len() > TRACES_MAX {
            return Err(invalid(format!("at most {TRACES_MAX} traces are read at once")));
        }
        let experiments = fields.texts("experiment_ids")?;
        let mut infos = self.infos_of(reader, &ids)?;
        if !experiments.is_empty() {
            infos.retain(|info| experiments.contains(&info.experiment.to_string().as_str()));
        }
        Ok(infos)
    }

    /// The spans of a trace as they are kept; none when they are not here. Nothing may be forgotten
    /// since `reader` was opened.
    fn spans(&self, reader: &Reader, info: &Info) -> Result<Option<Vec<Value>>, Refusal> {
        let Some(key) = trace_key(&info.id) else { return Ok(None) };
        if info.tag(SPANS_AT) != Some(SPANS_HERE) {
            return Ok(None);
        }
        let sql = "SELECT stamp, id FROM mlflow_spans WHERE trace = ?1
                   ORDER BY parent IS NOT NULL, started, id";
        let rows = reader.query(sql, &[(&info.id).into()])?;
        let bodies = self.0.bodies.of_trace(&key)?;
        let mut spans = Vec::with_capacity(rows.len());
        for row in rows {
            let body = bodies.get(&row.int(0)?).map(|body| serde_json::from_str(body));
            let lost = |reason: String| MlflowError::Stored { what: "span", reason };
            match body {
                Some(Ok(span)) => spans.push(span),
                Some(Err(error)) => return Err(lost(error.to_string()).into()),
                None => return Err(lost(format!("the log has no {}", row.text(1)?)).into()),
            }
        }
        Ok(Some(spans))
    }
}

/// Refuses traces whose spans are too large for one answer.
fn bounded(reader: &Reader, infos: &[Info]) -> Result<(), Refusal> {
    let ids: Vec<&str> = infos.iter().map(|info| info.id.as_str()).collect();
    let sql = "SELECT COALESCE(SUM(bytes), 0) FROM mlflow_spans
               WHERE trace IN (SELECT value FROM json_each(?1))";
    let rows = reader.query(sql, &[json!(ids).to_string().into()])?;
    let bytes = rows.first().map_or(Ok(0), |row| row.int(0))?;
    if bytes <= BYTES_MAX {
        return Ok(());
    }
    Err(invalid(format!("the spans have {bytes} bytes; at most {BYTES_MAX} are read at once")))
}

/// How many spans a trace has, as its client told.
fn spans_told(info: &Info) -> usize {
    let sizes: Option<Value> = info.told(SIZES).and_then(|text| serde_json::from_str(text).ok());
    let told = sizes.and_then(|sizes| sizes["num_spans"].as_u64());
    told.and_then(|told| usize::try_from(told).ok()).unwrap_or_default()
}

fn with_spans(info: &Info, spans: &[Value]) -> Value {
    let mut shown = json!({ "trace_info": info.shown() });
    if !spans.is_empty() {
        shown["spans"] = spans.iter().map(shown_span).collect();
    }
    shown
}

fn listed(name: &str, items: Vec<Value>) -> Value {
    if items.is_empty() { json!({}) } else { json!({ name: items }) }
}
