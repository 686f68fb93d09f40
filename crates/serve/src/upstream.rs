//! How is a model behind an OpenAI-compatible endpoint asked? One client with bounds on time and
//! size, no redirects, retries only before the first word, and a connection that closes when the
//! caller drops the future.

use std::{cell::RefCell, fmt, future::Future as _, task::Poll, time::Duration};

use reqwest::{Client, Response, StatusCode, header, redirect};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::Cancel;

use crate::{
    ServeError,
    reply::{Reply, Usage},
    sse::Events,
};

/// Largest reply.
const REPLY_BYTES_MAX: usize = 8 << 20;
/// Longest part of an upstream's error message that is passed on.
const MESSAGE_CHARS_MAX: usize = 300;
/// A request is sent again at most so often.
const RETRIES_MAX: u32 = 2;
/// The first pause before a request is sent again; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that an upstream may ask for before we give up instead.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a blocked caller's flag is looked at.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Where the key comes from. The key itself is read when a request is sent, marked as sensitive,
/// and never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum ApiKey {
    /// The endpoint wants none.
    #[default]
    None,
    /// From this environment variable.
    Env(String),
    /// This text, from a secret store.
    Text(String),
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Env(name) => write!(f, "Env({name})"),
            Self::Text(_) => f.write_str("Text(hidden)"),
        }
    }
}

/// How long each part may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the first bytes of the reply, and between any two pieces.
    pub silence: Duration,
    /// For the whole answer.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(60),
            total: Duration::from_secs(300),
        }
    }
}

/// One upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamOptions {
    /// Address up to and with `/v1`.
    pub base_url: String,
    /// The model to ask for.
    pub model: String,
    /// Where the key comes from.
    pub api_key: ApiKey,
    /// How freely it writes.
    pub temperature: f64,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// How long each part may take.
    pub timeouts: Timeouts,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// What the model wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamCompletion {
    /// The whole text.
    pub text: String,
    /// The model that says it answered.
    pub model: String,
    /// Tokens of the prompt, when counted.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the text, when counted.
    pub completion_tokens: Option<u32>,
}

/// Asks one upstream. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client,
    options: UpstreamOptions,
}

impl Upstream {
    /// A client for this upstream. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address makes no sense or the client cannot be set up.
    pub fn new(mut options: UpstreamOptions) -> Result<Self, ServeError> {
        options.base_url = options.base_url.trim_end_matches('/').to_owned();
        let refuse = |reason: String| ServeError::Configuration {
            base_url: options.base_url.clone(),
            reason,
        };
        let url =
            reqwest::Url::parse(&options.base_url).map_err(|error| refuse(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.password().is_some() {
            let reason = "it must be http or https, without credentials".to_owned();
            return Err(refuse(reason));
        }
        let client = Client::builder()
            .connect_timeout(options.timeouts.connect)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("sextant/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| refuse(chain(&error)))?;
        Ok(Self { client, options })
    }

    /// Asks. With `stream`, `on_delta` gets the text piece by piece as it arrives; without, once.
    /// Dropping the future closes the connection, which stops the upstream.
    ///
    /// # Errors
    /// When the upstream cannot be reached, refuses, is too slow, or breaks off. Nothing is sent
    /// again once `on_delta` was called.
    pub async fn complete<F: FnMut(&str) + ?Sized>(
        &self,
        messages: &[ChatMessage],
        stream: bool,
        on_delta: &mut F,
    ) -> Result<UpstreamCompletion, ServeError> {
        let total = self.options.timeouts.total;
        let work = self.with_retries(messages, stream, on_delta);
        match tokio::time::timeout(total, work).await {
            Ok(result) => result,
            Err(_elapsed) => Err(self.slow("no whole answer", total)),
        }
    }

    /// Asks from a thread that may block (never from an async worker), until `cancel` is raised.
    ///
    /// # Errors
    /// As [`Upstream::complete`]; and when it is cancelled.
    pub fn complete_blocking(
        &self,
        runtime: &tokio::runtime::Handle,
        messages: &[ChatMessage],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&str),
    ) -> Result<UpstreamCompletion, ServeError> {
        let mut cancelled = std::pin::pin!(async {
            while !cancel.is_cancelled() {
                tokio::time::sleep(CANCEL_POLL).await;
            }
        });
        let arrived = RefCell::new(Vec::new());
        let mut keep = |delta: &str| arrived.borrow_mut().push(delta.to_owned());
        let mut work = std::pin::pin!(self.complete(messages, true, &mut keep));
        loop {
            let step = runtime.block_on(async {
                let step = std::future::poll_fn(|context| match work.as_mut().poll(context) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending if arrived.borrow().is_empty() => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                });
                tokio::select! {
                    step = step => step,
                    () = &mut cancelled => Some(Err(ServeError::Cancelled)),
                }
            });
            // Outside the runtime: whoever takes the pieces may block.
            for delta in arrived.take() {
                on_delta(&delta);
            }
            if let Some(result) = step {
                return result;
            }
        }
    }

    async fn with_retries<F: FnMut(&str) + ?Sized>(
        &self,
        messages: &[ChatMessage],
        stream: bool,
        on_delta: &mut F,
    ) -> Result<UpstreamCompletion, ServeError> {
        let mut pause = RETRY_PAUSE;
        for attempt in 0.. {
            let mut spoke = false;
            let mut pass_on = |delta: &str| {
                spoke = true;
                on_delta(delta);
            };
            let error = match self.once(messages, stream, &mut pass_on).await {
                Ok(completion) => return Ok(completion),
                Err(error) => error,
            };
            let wait = error.retry_after().unwrap_or(pause);
            if spoke || attempt >= RETRIES_MAX || !error.is_transient() || wait > RETRY_PAUSE_MAX {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        Err(ServeError::Cancelled)
    }

    async fn once(
        &self,
        messages: &[ChatMessage],
        stream: bool,
        on_delta: &mut impl FnMut(&str),
    ) -> Result<UpstreamCompletion, ServeError> {
        let response = self.send(messages, stream).await?;
        let is_stream = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        if is_stream {
            self.read_stream(response, on_delta).await
        } else {
            let body = self.read_body(response).await?;
            let completion = self.read_reply(&body)?;
            on_delta(&completion.text);
            Ok(completion)
        }
    }

    async fn send(&self, messages: &[ChatMessage], stream: bool) -> Result<Response, ServeError> {
        let mut body = json!({
            "model": self.options.model,
            "messages": messages,
            "temperature": self.options.temperature,
            "max_tokens": self.options.max_tokens,
            "stream": stream,
        });
        if stream {
            body["stream_options"] = json!({"include_usage": true});
        }
        let url = format!("{}/chat/completions", self.options.base_url);
        let mut request = self.client.post(url).json(&body);
        if let Some(value) = self.authorization()? {
            request = request.header(header::AUTHORIZATION, value);
        }
        let silence = self.options.timeouts.silence;
        let response = match tokio::time::timeout(silence, request.send()).await {
            Err(_elapsed) => return Err(self.slow("no reply", silence)),
            Ok(Err(error)) if error.is_timeout() => {
                return Err(self.slow("no connection", self.options.timeouts.connect));
            }
            Ok(Err(error)) => {
                let reason = chain(&error);
                let base_url = self.base_url();
                return Err(ServeError::Unreachable { base_url, reason });
            }
            Ok(Ok(response)) => response,
        };
        if response.status() == StatusCode::OK {
            Ok(response)
        } else {
            Err(self.refused(response).await)
        }
    }

    fn authorization(&self) -> Result<Option<header::HeaderValue>, ServeError> {
        let key = match &self.options.api_key {
            ApiKey::None => return Ok(None),
            ApiKey::Env(name) => {
                std::env::var(name).map_err(|_| ServeError::MissingKey(name.clone()))?
            }
            ApiKey::Text(text) => text.clone(),
        };
        let mut value =
            header::HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| {
                let reason = "the key has characters that a header cannot have".to_owned();
                ServeError::Configuration { base_url: self.base_url(), reason }
            })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The next piece of a reply, or its end.
    async fn piece(
        &self,
        response: &mut Response,
        so_far: usize,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, ServeError> {
        let silence = self.options.timeouts.silence;
        match tokio::time::timeout(silence, response.chunk()).await {
            Err(_elapsed) => Err(self.slow("no next piece", silence)),
            Ok(Err(error)) => Err(self.broke_off(so_far, chain(&error))),
            Ok(Ok(piece)) => Ok(piece),
        }
    }

    async fn read_body(&self, mut response: Response) -> Result<Vec<u8>, ServeError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut response, body.len()).await? {
            body.extend_from_slice(piece.as_ref());
            if body.len() > REPLY_BYTES_MAX {
                return Err(self.bad_reply(format!("it has more than {REPLY_BYTES_MAX} bytes")));
            }
        }
        Ok(body)
    }

    fn read_reply(&self, body: &[u8]) -> Result<UpstreamCompletion, ServeError> {
        let reply: Reply =
            serde_json::from_slice(body).map_err(|error| self.bad_reply(error.to_string()))?;
        if let Some(error) = &reply.error {
            return Err(self.bad_reply(message_of(error)));
        }
        let text = reply
            .choices
            .into_iter()
            .find_map(|choice| choice.message)
            .ok_or_else(|| self.bad_reply("it has no choice with a message".into()))?
            .content
            .unwrap_or_default();
        let mut completion = UpstreamCompletion { text, model: reply.model, ..Default::default() };
        completion.count(reply.usage);
        self.named(completion)
    }

    async fn read_stream(
        &self,
        mut response: Response,
        on_delta: &mut impl FnMut(&str),
    ) -> Result<UpstreamCompletion, ServeError> {
        let mut completion = UpstreamCompletion::default();
        let mut events = Events::default();
        let mut ended = false;
        loop {
            let piece = self.piece(&mut response, completion.text.len()).await?;
            let last = piece.is_none();
            let found = match &piece {
                Some(bytes) => events.push(bytes.as_ref()),
                None => events.finish().map(Vec::from_iter),
            };
            for data in found.map_err(|reason| self.bad_reply(reason))? {
                if data.trim() == "[DONE]" {
                    return self.named(completion);
                }
                ended |= self.take_chunk(&data, &mut completion, on_delta)?;
            }
            if completion.text.len() > REPLY_BYTES_MAX {
                return Err(self.bad_reply(format!("it has more than {REPLY_BYTES_MAX} bytes")));
            }
            if last && ended {
                return self.named(completion);
            }
            if last {
                return Err(self.broke_off(completion.text.len(), "the stream ended early".into()));
            }
        }
    }

    /// Takes one chunk of a stream and says whether the model has finished.
    fn take_chunk(
        &self,
        data: &str,
        completion: &mut UpstreamCompletion,
        on_delta: &mut impl FnMut(&str),
    ) -> Result<bool, ServeError> {
        let chunk: Reply =
            serde_json::from_str(data).map_err(|error| self.bad_reply(error.to_string()))?;
        if let Some(error) = &chunk.error {
            return Err(self.broke_off(completion.text.len(), message_of(error)));
        }
        if !chunk.model.is_empty() {
            completion.model = chunk.model;
        }
        completion.count(chunk.usage);
        let mut ended = false;
        for choice in chunk.choices {
            let text = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
            if !text.is_empty() {
                completion.text.push_str(&text);
                on_delta(&text);
            }
            ended |= choice.finish_reason.is_some();
        }
        Ok(ended)
    }

    fn named(&self, mut completion: UpstreamCompletion) -> Result<UpstreamCompletion, ServeError> {
        if completion.model.is_empty() {
            completion.model.clone_from(&self.options.model);
        }
        Ok(completion)
    }

    async fn refused(&self, response: Response) -> ServeError {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = self.read_body(response).await.unwrap_or_default();
        let message = match serde_json::from_slice::<Value>(&body) {
            Ok(value) => message_of(value.get("error").unwrap_or(&value)),
            Err(_) => shortened(&String::from_utf8_lossy(&body)),
        };
        ServeError::Refused { base_url: self.base_url(), status, message, retry_after }
    }

    fn base_url(&self) -> String {
        self.options.base_url.clone()
    }

    fn slow(&self, phase: &'static str, limit: Duration) -> ServeError {
        ServeError::Slow { base_url: self.base_url(), phase, seconds: limit.as_secs() }
    }

    fn bad_reply(&self, reason: String) -> ServeError {
        ServeError::BadReply { base_url: self.base_url(), reason }
    }

    fn broke_off(&self, bytes: usize, reason: String) -> ServeError {
        ServeError::BrokeOff { base_url: self.base_url(), bytes, reason }
    }
}

impl UpstreamCompletion {
    fn count(&mut self, usage: Option<Usage>) {
        if let Some(usage) = usage {
            self.prompt_tokens = usage.prompt_tokens.or(self.prompt_tokens);
            self.completion_tokens = usage.completion_tokens.or(self.completion_tokens);
        }
    }
}

/// The message of an error object, whichever of the usual shapes it has.
fn message_of(error: &Value) -> String {
    let text = error.as_str().or_else(|| error.get("message").and_then(Value::as_str));
    shortened(&text.map_or_else(|| error.to_string(), str::to_owned))
}

fn shortened(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_CHARS_MAX)
        .collect();
    if plain.trim().is_empty() { "no message".to_owned() } else { plain.trim().to_owned() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
