//! What does an OpenAI client send to `/v1/chat/completions` and `/v1/models`, and what does it
//! expect back?
//!
//! Unknown request fields are kept in `extra` and tolerated. Fields whose meaning would be lost by
//! ignoring them (`n`, `tools`, `logprobs`, a structured `response_format`) are named by
//! [`ChatCompletionRequest::unsupported`], so that the caller can refuse instead of guessing.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The body of `POST /v1/chat/completions`.
#[derive(Debug, Clone, Deserialize)]
pub struct ChatCompletionRequest {
    /// Which model; here the name of a release, or `name@digest`.
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<RequestMessage>,
    /// Whether the answer comes as server-sent events.
    #[serde(default, deserialize_with = "null_is_default")]
    pub stream: bool,
    /// What a stream carries besides text.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Sampling temperature, for releases that generate.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Nucleus sampling, for releases that generate.
    #[serde(default)]
    pub top_p: Option<f64>,
    /// The older name of `max_completion_tokens`.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// The most tokens the answer may have.
    #[serde(default)]
    pub max_completion_tokens: Option<u32>,
    /// Where generation stops.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// How many answers; only one is given.
    #[serde(default)]
    pub n: Option<u32>,
    /// The caller's own name for its end user.
    #[serde(default)]
    pub user: Option<String>,
    /// Every field not named above.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ChatCompletionRequest {
    /// The most tokens asked for, by either name.
    pub fn tokens_max(&self) -> Option<u32> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Whether the last chunk of a stream carries [`Usage`].
    pub fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// The first field that asks for something a release cannot do, so that it is refused by name.
    pub fn unsupported(&self) -> Option<&'static str> {
        let filled = |name: &str| match self.extra.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(_) => true,
        };
        if self.n.is_some_and(|n| n != 1) {
            return Some("n");
        }
        let format = self.extra.get("response_format").and_then(|format| format.get("type"));
        if format.is_some_and(|kind| kind != "text") {
            return Some("response_format");
        }
        ["tools", "functions", "logprobs", "audio", "web_search_options"]
            .into_iter()
            .find(|name| filled(name))
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What a stream carries besides text.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StreamOptions {
    /// Whether a last chunk with [`Usage`] and no choices is sent.
    #[serde(default)]
    pub include_usage: bool,
}

/// Where generation stops: one text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    /// One text.
    One(String),
    /// Several texts.
    Many(Vec<String>),
}

/// One message of the conversation.
#[derive(Debug, Clone, Deserialize)]
pub struct RequestMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(default)]
    pub content: Option<Content>,
}

impl RequestMessage {
    /// The words of the message; parts that are not text have none.
    pub fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts: Vec<&str> =
                    parts.iter().filter_map(|part| part.text.as_deref()).collect();
                texts.join("\n")
            }
        }
    }

    /// The type of the first part that is not text (an image, a sound), if there is one.
    pub fn foreign_part(&self) -> Option<&str> {
        match &self.content {
            Some(Content::Parts(parts)) => {
                parts.iter().map(|part| part.kind.as_str()).find(|kind| *kind != "text")
            }
            _ => None,
        }
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// The newer word for [`Role::System`].
    Developer,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
    /// The older word for [`Role::Tool`].
    Function,
}

/// What a message says: a text, or a list of parts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts, of which only those of type `text` are read.
    Parts(Vec<Part>),
}

/// One part of a message.
#[derive(Debug, Clone, Deserialize)]
pub struct Part {
    /// `text`, `image_url`, `input_audio` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The words of a part of type `text`.
    #[serde(default)]
    pub text: Option<String>,
}

/// The reply to a request that does not stream.
#[derive(Debug, Clone, Serialize)]
pub struct ChatCompletion {
    /// The answer's id, which `why` knows.
    pub id: String,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// The model as it was asked for.
    pub model: String,
    /// Exactly one.
    pub choices: Vec<Choice>,
    /// What it cost.
    pub usage: Usage,
    /// The release that answered.
    pub system_fingerprint: String,
}

/// One answer.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// Always 0.
    pub index: u32,
    /// The answer itself.
    pub message: ReplyMessage,
    /// Always null: no token probabilities are given.
    pub logprobs: Option<()>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// The message of an answer.
#[derive(Debug, Clone, Serialize)]
pub struct ReplyMessage {
    /// Always [`Role::Assistant`].
    pub role: Role,
    /// The text, with `[n]` where passage n is cited.
    pub content: String,
    /// Always null: a release that cannot answer says so in plain words.
    pub refusal: Option<String>,
    /// Ours: the whole answer with its citations, ignored by clients that do not know it.
    pub sextant: Value,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was complete.
    Stop,
    /// It reached the most tokens allowed.
    Length,
}

/// What an answer cost. A release that only quotes has no tokenizer; its words are counted instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens (or words) of the conversation.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens (or words) of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
    /// Their sum.
    #[serde(default)]
    pub total_tokens: u64,
}

impl Usage {
    /// From the two parts.
    pub const fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// One event of a stream.
#[derive(Debug, Clone, Serialize)]
pub struct ChatCompletionChunk {
    /// The same id in every chunk: the answer's id.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since the Unix epoch, the same in every chunk.
    pub created: i64,
    /// The model as it was asked for.
    pub model: String,
    /// The release that answers.
    pub system_fingerprint: String,
    /// One, or none in the chunk that carries the usage.
    pub choices: Vec<ChunkChoice>,
    /// Only in the last chunk, and only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Ours: the whole answer with its citations, in the chunk that ends the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sextant: Option<Value>,
}

/// What one event adds.
#[derive(Debug, Clone, Serialize)]
pub struct ChunkChoice {
    /// Always 0.
    pub index: u32,
    /// The piece.
    pub delta: Delta,
    /// Always null.
    pub logprobs: Option<()>,
    /// Null until the last piece.
    pub finish_reason: Option<FinishReason>,
}

/// A piece of a message.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Delta {
    /// Only in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The words that this piece adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// The reply of `GET /v1/models`.
#[derive(Debug, Clone, Serialize)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// The releases that can be asked.
    pub data: Vec<Model>,
}

impl ModelList {
    /// Of these models.
    pub const fn new(data: Vec<Model>) -> Self {
        Self { object: "list", data }
    }
}

/// One model: here a release.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    /// What goes into `model` of a request.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// Seconds since the Unix epoch; 0 where it is not known.
    pub created: i64,
    /// Always `sextant`.
    pub owned_by: &'static str,
}

impl Model {
    /// A release by its name.
    pub fn release(name: impl Into<String>) -> Self {
        Self { id: name.into(), object: "model", created: 0, owned_by: "sextant" }
    }
}

/// The body of every refusal on `/v1`, and an event of a stream that fails midway.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: ErrorObject,
}

/// What went wrong, in the shape that clients turn into an exception.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorObject {
    /// In words.
    pub message: String,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error`, `server_error`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The field of the request that is to blame.
    pub param: Option<String>,
    /// `model_not_found`, or one of our codes `SXT-nnnn`.
    pub code: Option<String>,
    /// Ours: what the caller can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(body: &str) -> ChatCompletionRequest {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn content_is_a_text_or_parts_or_nothing() {
        let request = request(
            r#"{"model":"m","messages":[
                {"role":"developer","content":"be short"},
                {"role":"assistant","content":null,"tool_calls":[]},
                {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],
               "parallel_tool_calls":true,"stream":null,"metadata":{"x":"y"}}"#,
        );
        let texts: Vec<_> = request.messages.iter().map(RequestMessage::text).collect();
        assert_eq!(texts, ["be short", "", "a\nb"]);
        assert!(!request.stream && request.extra.contains_key("metadata"));
        assert_eq!(request.unsupported(), None);
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (field, expected) in [
            (r#""n":2"#, Some("n")),
            (r#""n":1"#, None),
            (r#""tools":[{"type":"function"}]"#, Some("tools")),
            (r#""tools":[]"#, None),
            (r#""logprobs":true"#, Some("logprobs")),
            (r#""logprobs":false"#, None),
            (r#""response_format":{"type":"json_schema"}"#, Some("response_format")),
            (r#""response_format":{"type":"text"}"#, None),
        ] {
            let body = format!(r#"{{"model":"m","messages":[],{field}}}"#);
            assert_eq!(request(&body).unsupported(), expected, "{field}");
        }
    }

    #[test]
    fn a_chunk_has_only_what_clients_expect() {
        let chunk = ChatCompletionChunk {
            id: "a".to_owned(),
            object: "chat.completion.chunk",
            created: 1,
            model: "m".to_owned(),
            system_fingerprint: "f".to_owned(),
            choices: vec![ChunkChoice {
                index: 0,
                delta: Delta { role: None, content: Some("x".to_owned()) },
                logprobs: None,
                finish_reason: None,
            }],
            usage: None,
            sextant: None,
        };
        assert_eq!(
            serde_json::to_string(&chunk).unwrap(),
            r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"content":"x"},"logprobs":null,"finish_reason":null}]}"#
        );
    }

    #[test]
    fn an_image_part_is_seen() {
        let request = request(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
        );
        assert_eq!(request.messages[0].foreign_part(), Some("image_url"));
    }
}
