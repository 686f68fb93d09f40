//! What does a list show of what went in and came out? The last message of a conversation, or the
//! beginning of the text.

use serde_json::Value;

const PREVIEW_CHARS_MAX: usize = 1000;
/// A request may hold a request, so deep.
const NESTED_MAX: usize = 4;

/// The preview of a text that may be JSON, in which messages of this role count.
pub(super) fn preview(text: &str, role: &str) -> String {
    let value: Option<Value> = serde_json::from_str(text).ok();
    let said = value.as_ref().and_then(|value| messages(value, NESTED_MAX)).and_then(|messages| {
        let mine = messages.iter().rev().find(|message| message["role"] == role);
        said(mine.or(messages.last())?)
    });
    let shown = said.filter(|said| !said.is_empty()).unwrap_or_else(|| text.to_owned());
    if shown.chars().nth(PREVIEW_CHARS_MAX).is_none() {
        return shown;
    }
    let kept: String = shown.chars().take(PREVIEW_CHARS_MAX - 3).collect();
    format!("{kept}...")
}

/// The messages in what is sent to and comes from a model.
fn messages(value: &Value, depth: usize) -> Option<Vec<&Value>> {
    let is_message = |value: &&Value| value.get("role").is_some() && value.get("content").is_some();
    let list = |name: &str| -> Option<Vec<&Value>> {
        let items = value.get(name)?.as_array().filter(|items| !items.is_empty())?;
        Some(items.iter().filter(is_message).collect())
    };
    let choice = || Some(vec![value.get("choices")?.get(0)?.get("message").filter(is_message)?]);
    let nested = || messages(value.get("request").filter(|_| depth > 0)?, depth - 1);
    list("messages")
        .or_else(choice)
        .or_else(|| list("input"))
        .or_else(|| list("output"))
        .or_else(nested)
}

/// The text of a message.
fn said(message: &Value) -> Option<String> {
    match message.get("content")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().find_map(|part| {
            let kind = part.get("type").and_then(Value::as_str);
            match part {
                Value::String(text) => Some(text.clone()),
                _ if matches!(kind, Some("text" | "output_text")) => {
                    Some(part.get("text")?.as_str()?.to_owned())
                }
                _ => None,
            }
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_of_a_role_is_shown() {
        for (text, role, shown) in [
            ("plain", "user", "plain"),
            (r#"{"q": "why?"}"#, "user", r#"{"q": "why?"}"#),
            (
                r#"{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "system", "content": "c"}]}"#,
                "user",
                "b",
            ),
            (
                r#"{"choices": [{"message": {"role": "assistant", "content": "yes"}}]}"#,
                "assistant",
                "yes",
            ),
            (
                r#"{"request": {"input": [{"role": "user", "content": [{"type": "text", "text": "deep"}]}]}}"#,
                "user",
                "deep",
            ),
        ] {
            assert_eq!(preview(text, role), shown);
        }
        let long = preview(&"ü".repeat(1001), "user");
        assert!(long.ends_with("ü...") && long.chars().count() == 1000);
    }
}
