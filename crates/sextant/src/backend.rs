//! How does the server reach the application? Through its own small port, plugged in here.

use std::{io::Read, sync::Arc};

use serde_json::Value;
use sextant_app::{
    Accepted, App, ChatAsk, MlflowAnswer, MlflowCall, Op, PushBody, PushReply, SpansBody,
};
use sextant_core::{Cancel, Events, Failure};
use sextant_server::{
    Backend, ChatRequest, IngestReply, IngestRequest, MlflowFile, MlflowReply, MlflowRequest,
    OtlpBody, OtlpReply, OtlpRequest, PinnedRelease,
};

/// The application behind the server's port.
pub struct AppBackend(pub Arc<App>);

impl Backend for AppBackend {
    fn run(&self, op: Value, events: &dyn Events, cancel: &Cancel) -> Result<Value, Failure> {
        self.0.run(Op::from_json(op)?, events, cancel)
    }

    fn pin(&self, model: &str) -> Result<PinnedRelease, Failure> {
        let (name, digest) = self.0.pin(Some(model))?;
        Ok(PinnedRelease { name, digest: digest.to_string() })
    }

    fn chat(
        &self,
        request: ChatRequest,
        on_delta: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<Value, Failure> {
        let question = request.question().to_owned();
        let history = request.turns.len().saturating_sub(1);
        let ask = ChatAsk {
            answer: request.answer_id,
            release_name: request.release.name,
            release: request.release.digest,
            question,
            streamed: request.streamed,
            history: request
                .turns
                .into_iter()
                .take(history)
                .map(|turn| (turn.role, turn.text))
                .collect(),
        };
        self.0.chat(&ask, cancel, on_delta)
    }

    fn mlflow(&self, request: &MlflowRequest, body: &mut dyn Read) -> Result<MlflowReply, Failure> {
        let MlflowRequest { method, path, fields, may_change } = request;
        let called = self.0.mlflow(method, path, fields, *may_change, body)?;
        Ok(match called {
            MlflowCall::Ended(ended) => match *ended {
                Ok(MlflowAnswer::Said(body)) => MlflowReply::Said { status: 200, body },
                Ok(MlflowAnswer::Taken(digest)) => MlflowReply::Taken { etag: digest.hex() },
                Ok(MlflowAnswer::File(file)) => MlflowReply::File(MlflowFile {
                    name: file.name,
                    media_type: file.media_type,
                    etag: file.digest.hex(),
                    bytes: file.content.size(),
                    content: Box::new(file.content),
                }),
                Err(refusal) => {
                    MlflowReply::Said { status: refusal.status(), body: refusal.body() }
                }
            },
            MlflowCall::Forbidden => MlflowReply::Forbidden,
            MlflowCall::None(allowed) => MlflowReply::NoSuchCall { allowed },
        })
    }

    fn otlp(&self, request: OtlpRequest) -> Result<OtlpReply, Failure> {
        let OtlpRequest { experiment, run, body } = request;
        let body = match body {
            OtlpBody::Protobuf(bytes) => SpansBody::Protobuf(bytes),
            OtlpBody::Json(json) => SpansBody::Json(json),
        };
        Ok(match self.0.take_spans(&experiment, run.as_deref(), &body)? {
            Ok(()) => OtlpReply::Taken,
            Err(refused) => OtlpReply::Refused { status: refused.status(), body: refused.body() },
        })
    }

    fn ingest(&self, request: &IngestRequest) -> Result<IngestReply, Failure> {
        let body = PushBody {
            content_type: &request.content_type,
            idempotency_key: request.idempotency_key.as_deref(),
            event: &request.event,
            bytes: &request.body,
        };
        Ok(match self.0.ingest(&request.source, &body)? {
            PushReply::Accepted(Accepted { records, offset }) => {
                IngestReply::Accepted { records, offset }
            }
            PushReply::Full { waiting_bytes, limit_bytes } => {
                IngestReply::Full { waiting_bytes, limit_bytes }
            }
        })
    }

    fn releases(&self) -> Vec<String> {
        self.0.live_releases().unwrap_or_default()
    }

    fn ready(&self) -> Result<(), String> {
        self.0.ready().map_err(|failure| failure.to_string())
    }

    fn metrics(&self) -> Vec<(String, String, f64)> {
        self.0.metrics()
    }

    fn manual(&self) -> Vec<(String, String)> {
        sextant_app::manual_pages()
    }

    fn op_schema(&self) -> Value {
        Op::schema()
    }
}
