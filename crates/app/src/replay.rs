//! Would the same question get the same answer? Asked of the same release, and compared byte for
//! byte; what differs is named.

use serde_json::{Value, json};
use sextant_agent::Message;
use sextant_core::{Cancel, Failure};

use crate::{App, AppError};

impl App {
    /// Answers a recorded question again without recording it.
    pub(crate) fn replay(&self, id: &str, cancel: &Cancel) -> Result<Value, Failure> {
        let answer = self.find_answer(id)?;
        let Some(before) = answer.words else {
            let message = "the words of this answer were erased: it cannot be asked again";
            return Err(AppError::BadInput(message.to_owned()).into());
        };
        let serving = self.serving(&answer.record.release)?;
        let question = before["question"].as_str().unwrap_or_default();
        let history: Vec<Message> =
            serde_json::from_value(before["history"].clone()).unwrap_or_default();
        let draft = serving.assistant.answer(question, &history, cancel, &mut |_| {})?;
        let after = json!({
            "question": question,
            "answer": draft.text,
            "abstained": draft.abstained,
            "citations": draft.citations,
            "mode": draft.mode,
            "model": draft.model,
        });
        let mut differs = Vec::new();
        for field in ["mode", "model", "abstained", "citations", "answer"] {
            if before[field] != after[field] {
                differs.push(format!("{field} is not what it was"));
            }
        }
        let turns = before["turns"].as_u64().unwrap_or(0);
        if !differs.is_empty() && turns > history.len() as u64 {
            differs.push(format!("{turns} turns came before it, too long to be kept"));
        }
        if !differs.is_empty() && serving.assistant.generator.is_some() {
            differs
                .push("the generator is outside: its weights and sampling are not pinned".into());
        }
        Ok(json!({
            "id": answer.id, "release": serving.release, "release_name": serving.manifest.name,
            "same": differs.is_empty(), "before": before, "after": after, "differs": differs,
        }))
    }
}
