//! How is a request of OTLP read? Its bytes become spans, or it is refused as MLflow's server refuses it:
//! all of it or nothing.

use prost::Message as _;
use serde_json::{Value, json};
use sextant_wire::otlp::{NotOtlp, Span, TracesRequest};

use super::{
    super::{Mlflow, Refusal},
    span::NewSpan,
};

/// Spans of one request.
const SPANS_MAX: usize = 50_000;

/// Why spans were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpansRefused {
    /// They cannot be read; the status of HTTP, and why.
    Unread(u16, String),
    /// They can, and were refused.
    Refused(Refusal),
}

impl SpansRefused {
    /// The status of HTTP.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Unread(status, _) => *status,
            Self::Refused(refusal) => refusal.status(),
        }
    }

    /// The body.
    pub fn body(&self) -> Value {
        match self {
            Self::Unread(_, detail) => json!({ "detail": detail }),
            Self::Refused(refusal) => refusal.body(),
        }
    }
}

impl Mlflow {
    /// Takes the spans of a request of OTLP for an experiment; they are durable when this returns.
    /// Those traces whose root is among them belong to `run`, when one is named.
    ///
    /// # Errors
    /// As MLflow refuses it: then none was taken.
    pub fn take_spans(
        &self,
        experiment: &str,
        run: Option<&str>,
        body: &SpansBody,
    ) -> Result<(), SpansRefused> {
        let not_otlp = |_| unread(400, "Invalid OpenTelemetry format");
        let request = match body {
            SpansBody::Protobuf(bytes) => {
                TracesRequest::decode(bytes.as_slice()).map_err(|_| NotOtlp).map_err(not_otlp)?
            }
            SpansBody::Json(json) => TracesRequest::of_json(json).map_err(not_otlp)?,
        };
        if request.resource_spans.is_empty() {
            return Err(unread(400, "Invalid OpenTelemetry format - no spans found"));
        }
        let count: usize = request
            .resource_spans
            .iter()
            .flat_map(|part| &part.scope_spans)
            .map(|scope| scope.spans.len())
            .sum();
        if count > SPANS_MAX {
            return Err(unread(413, &format!("a request holds at most {SPANS_MAX} spans")));
        }
        let mut spans = Vec::with_capacity(count);
        for part in &request.resource_spans {
            let resource = part.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
            for bytes in part.scope_spans.iter().flat_map(|scope| &scope.spans) {
                let span = Span::decode(bytes.as_slice()).map_err(|_| not_otlp(NotOtlp))?;
                let span = NewSpan::of(&span, resource);
                spans.push(span.ok_or_else(|| {
                    unread(422, "Cannot convert OpenTelemetry span to MLflow span")
                })?);
            }
        }
        if spans.is_empty() {
            return Ok(());
        }
        self.take(experiment, run, &spans).map_err(SpansRefused::Refused)
    }
}

/// The body of a request of OTLP.
#[derive(Debug, Clone, PartialEq)]
pub enum SpansBody {
    /// Protobuf.
    Protobuf(Vec<u8>),
    /// JSON.
    Json(Value),
}

fn unread(status: u16, detail: &str) -> SpansRefused {
    SpansRefused::Unread(status, detail.to_owned())
}
