//! What does an upstream send back? The parts of its JSON that are read; a whole reply and a piece of a
//! stream have the same form.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Reply {
    #[serde(default)]
    pub model: String,
    #[serde(default)]
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
    pub error: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct Choice {
    pub message: Option<Words>,
    pub delta: Option<Words>,
    pub finish_reason: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Words {
    pub content: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Usage {
    pub prompt_tokens: Option<u32>,
    pub completion_tokens: Option<u32>,
}
