//! How does an unmodified OpenAI client ask a release? `/v1/chat/completions`, streaming or not,
//! with the release's name as the model.
//!
//! The request is pinned to its release when it is admitted. Its answer's id is made here, so that
//! it is in the header before the first word. A stream that fails midway ends with an error event
//! and without `[DONE]`; one that fails before its first word is an ordinary HTTP error.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::Value;
use sextant_core::{ActivityId, Cancel, ExitKind, Failure, limits as core_limits};
use sextant_wire::openai::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Choice, ChunkChoice, Delta,
    FinishReason, Model, ModelList, ReplyMessage, Role, Stop, Usage,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    body::JsonBody,
    error::ServerError,
    jobs::{CancelOnDrop, Pieces, blocking, defect},
    limits,
    port::{Backend, ChatRequest, ChatTurn, PinnedRelease},
    reply::Refusal,
    state::{Shared, Slot},
};

/// `GET /v1/models`
pub(crate) async fn models(State(shared): State<Arc<Shared>>) -> Result<Json<ModelList>, Refusal> {
    let backend = Arc::clone(&shared.backend);
    let names = blocking(move |_| Ok(backend.releases())).await?;
    Ok(Json(ModelList::new(names.into_iter().map(Model::release).collect())))
}

/// `GET /v1/models/{id}`
pub(crate) async fn model(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Model>, Refusal> {
    pin(&shared, &id).await?;
    Ok(Json(Model::release(id)))
}

/// `POST /v1/chat/completions`
pub(crate) async fn chat(
    State(shared): State<Arc<Shared>>,
    Extension(slot): Extension<Arc<Slot>>,
    JsonBody(request): JsonBody<ChatCompletionRequest>,
) -> Result<Response, Refusal> {
    let turns = turns(&request)?;
    let release = pin(&shared, &request.model).await?;
    let stop = match request.stop.clone() {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Many(texts)) => texts,
    };
    let heading = Heading {
        id: ActivityId::new(),
        created: shared.now().seconds(),
        model: request.model.clone(),
        release: release.digest.clone(),
        prompt_words: turns.iter().map(|turn| words(&turn.text)).sum(),
        wants_usage: request.wants_usage(),
    };
    let question = ChatRequest {
        answer_id: heading.id,
        release,
        turns,
        streamed: request.stream,
        tokens_max: request.tokens_max(),
        temperature: request.temperature,
        stop,
        user: request.user.clone(),
    };
    if request.stream {
        return stream(&shared, heading, question, slot).await;
    }
    let backend = Arc::clone(&shared.backend);
    let answer = blocking(move |cancel| backend.chat(question, &mut |_| (), cancel)).await?;
    Ok((heading.headers(), Json(heading.whole(answer))).into_response())
}

async fn pin(shared: &Arc<Shared>, model: &str) -> Result<PinnedRelease, Refusal> {
    let (backend, name) = (Arc::clone(&shared.backend), model.to_owned());
    blocking(move |_| backend.pin(&name)).await.map_err(|refusal| {
        if refusal.failure.code().kind == ExitKind::NotFound {
            return refusal.blame("model", "model_not_found");
        }
        refusal
    })
}

/// The conversation, when it is one that a release can answer.
fn turns(request: &ChatCompletionRequest) -> Result<Vec<ChatTurn>, ServerError> {
    if let Some(field) = request.unsupported() {
        return Err(ServerError::field(field, format!("`{field}` is not supported by releases")));
    }
    let count = request.messages.len();
    if count > core_limits::CHAT_MESSAGES_MAX {
        let reason = format!("{count} messages; at most {}", core_limits::CHAT_MESSAGES_MAX);
        return Err(ServerError::field("messages", reason));
    }
    if let Some(kind) = request.messages.iter().find_map(|message| message.foreign_part()) {
        return Err(ServerError::field(
            "messages",
            format!("a part of type `{kind}` cannot be read"),
        ));
    }
    let turns: Vec<_> = request
        .messages
        .iter()
        .map(|message| {
            let role = match message.role {
                Role::System | Role::Developer => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
                Role::Tool | Role::Function => "tool",
            };
            ChatTurn { role: role.to_owned(), text: message.text() }
        })
        .collect();
    match turns.last() {
        Some(last) if last.role == "user" && !last.text.trim().is_empty() => {
            if last.text.len() > core_limits::QUESTION_BYTES_MAX {
                let most = core_limits::QUESTION_BYTES_MAX;
                let reason = format!("the question is longer than {most} bytes");
                return Err(ServerError::field("messages", reason));
            }
            Ok(turns)
        }
        _ => Err(ServerError::field("messages", "the last message must be a question of the user")),
    }
}

/// What every piece of one answer has in common.
#[derive(Clone)]
struct Heading {
    id: ActivityId,
    created: i64,
    model: String,
    release: String,
    prompt_words: u64,
    wants_usage: bool,
}

impl Heading {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-sextant-answer-id", self.id.to_string()),
            ("x-sextant-release", self.release.clone()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers
    }

    fn usage(&self, answer: &Value) -> Usage {
        answer
            .get("usage")
            .and_then(|usage| serde_json::from_value(usage.clone()).ok())
            .unwrap_or_else(|| Usage::new(self.prompt_words, words(text_of(answer))))
    }

    fn whole(&self, answer: Value) -> ChatCompletion {
        let message = ReplyMessage {
            role: Role::Assistant,
            content: text_of(&answer).to_owned(),
            refusal: None,
            sextant: answer.clone(),
        };
        let finish_reason = finish(&answer);
        ChatCompletion {
            id: self.id.to_string(),
            object: "chat.completion",
            created: self.created,
            model: self.model.clone(),
            choices: vec![Choice { index: 0, message, logprobs: None, finish_reason }],
            usage: self.usage(&answer),
            system_fingerprint: self.release.clone(),
        }
    }

    fn chunk(&self, delta: Delta, finish_reason: Option<FinishReason>) -> ChatCompletionChunk {
        ChatCompletionChunk {
            id: self.id.to_string(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.release.clone(),
            choices: vec![ChunkChoice { index: 0, delta, logprobs: None, finish_reason }],
            usage: None,
            sextant: None,
        }
    }

    fn piece(&self, role: Option<Role>, text: &str) -> Bytes {
        event(&self.chunk(Delta { role, content: Some(text.to_owned()) }, None))
    }

    /// The pieces after the last word.
    fn tail(&self, answer: &Value) -> Vec<Bytes> {
        let mut last = self.chunk(Delta::default(), Some(finish(answer)));
        last.sextant = Some(answer.clone());
        let mut pieces = vec![event(&last)];
        if self.wants_usage {
            let mut usage = self.chunk(Delta::default(), None);
            usage.choices.clear();
            usage.usage = Some(self.usage(answer));
            pieces.push(event(&usage));
        }
        pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
        pieces
    }
}

fn text_of(answer: &Value) -> &str {
    answer.get("answer").and_then(Value::as_str).unwrap_or_default()
}

fn finish(answer: &Value) -> FinishReason {
    match answer.get("finish_reason").and_then(Value::as_str) {
        Some("length") => FinishReason::Length,
        _ => FinishReason::Stop,
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn event(value: &impl serde::Serialize) -> Bytes {
    let mut bytes = b"data: ".to_vec();
    bytes.extend(serde_json::to_vec(value).unwrap_or_default());
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}

fn error_event(refusal: &Refusal) -> Bytes {
    event(&refusal.to_wire())
}

async fn stream(
    shared: &Arc<Shared>,
    heading: Heading,
    question: ChatRequest,
    slot: Arc<Slot>,
) -> Result<Response, Refusal> {
    let (sender, receiver) = mpsc::channel(limits::DELTAS_WAITING_MAX);
    let (begun, begins) = oneshot::channel();
    let cancel = Cancel::new();
    let guard = CancelOnDrop::new(&cancel);
    let backend = Arc::clone(&shared.backend);
    let headers = heading.headers();
    let work = tokio::task::spawn_blocking(move || {
        answer_into(&*backend, &heading, question, &sender, begun, &cancel);
        drop(slot);
    });
    match begins.await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => return Err(failure.into()),
        Err(_) => return Err(defect().into()),
    }
    let pieces = Pieces::new(shared, receiver, work, Some(guard), error_event);
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, kind, Body::from_stream(pieces)).into_response())
}

/// Runs the chat and sends its pieces. `begun` is told when the first piece is there, or why there
/// will be none; later failures become the last piece.
fn answer_into(
    backend: &dyn Backend,
    heading: &Heading,
    question: ChatRequest,
    sender: &mpsc::Sender<Bytes>,
    begun: oneshot::Sender<Result<(), Failure>>,
    cancel: &Cancel,
) {
    let mut begun = Some(begun);
    // A full channel makes the answer wait for its reader; a closed one ends it.
    let send = |piece| {
        if sender.blocking_send(piece).is_err() {
            cancel.cancel();
        }
    };
    let mut begin = || {
        if let Some(begun) = begun.take() {
            let _ = begun.send(Ok(()));
            send(heading.piece(Some(Role::Assistant), ""));
        }
    };
    let mut on_delta = |text: &str| {
        begin();
        send(heading.piece(None, text));
    };
    let result = backend.chat(question, &mut on_delta, cancel);
    match result {
        Ok(answer) => {
            begin();
            heading.tail(&answer).into_iter().for_each(send);
        }
        Err(failure) => match begun.take() {
            Some(begun) => drop(begun.send(Err(failure))),
            None => send(error_event(&failure.into())),
        },
    }
}
