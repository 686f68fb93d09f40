//! How is a question answered and remembered? By the release it was pinned to; the record and the
//! words are durable before the answer is handed over.

use std::time::Instant;

use serde_json::{Value, json};
use sextant_agent::{AnswerRecord, Message, Role, Transcript};
use sextant_core::{ActivityId, Cancel, Digest, Failure};
use sextant_lineage::LogRecord;

use crate::{App, AppError};

/// One question for a pinned release.
#[derive(Debug, Clone)]
pub struct ChatAsk {
    /// The id to record the answer under.
    pub answer: ActivityId,
    /// The release's name.
    pub release_name: String,
    /// The release's digest.
    pub release: String,
    /// The question.
    pub question: String,
    /// The conversation before it: role and text.
    pub history: Vec<(String, String)>,
    /// Whether the caller reads it piece by piece.
    pub streamed: bool,
}

/// Most answers in one list.
const ANSWERS_MAX: u32 = 10_000;

impl App {
    pub(crate) fn ask(
        &self,
        question: &str,
        release: Option<&str>,
        cancel: &Cancel,
    ) -> Result<Value, Failure> {
        let (release_name, digest) = self.pin(release)?;
        let ask = ChatAsk {
            answer: ActivityId::new(),
            release_name,
            release: digest.to_string(),
            question: question.to_owned(),
            history: Vec::new(),
            streamed: false,
        };
        self.chat(&ask, cancel, &mut |_| {})
    }

    /// Answers one question. The last piece of text is handed over only after the answer is
    /// durable.
    ///
    /// # Errors
    /// When the release cannot be opened, answering fails or is cancelled, or the record cannot be
    /// made durable.
    pub fn chat(
        &self,
        ask: &ChatAsk,
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&str),
    ) -> Result<Value, Failure> {
        let begun = Instant::now();
        let release: Digest =
            ask.release.parse().map_err(|_| AppError::not_found("release", &ask.release, ""))?;
        let serving = self.serving(&release)?;
        let history: Vec<Message> = ask
            .history
            .iter()
            .map(|(role, text)| Message { role: role_of(role), content: text.clone() })
            .collect();
        let mut held = HoldLast { waiting: None, on_delta };
        let draft = serving
            .assistant
            .answer(&ask.question, &history, cancel, &mut |piece| held.take(piece))?;
        let at = self.store.now();
        let question = ask.question.trim();
        let record = AnswerRecord::of(&draft, release, question, at, ask.streamed).encode();
        let pinned = (release, ask.release_name.as_str());
        let transcript = Transcript::of(&draft, ask.answer, at, question, pinned, None);
        let transcript = transcript.after(history).encode()?;
        let key = *ask.answer.as_raw();
        let words = self.transcripts.submit(vec![(key, transcript)])?;
        let facts = self.answers.submit(vec![(key, record)])?;
        words.wait()?;
        facts.wait()?;
        held.release();
        let mut result = json!({
            "id": ask.answer,
            "question": question,
            "answer": draft.text,
            "abstained": draft.abstained,
            "citations": draft.citations,
            "release": release,
            "release_name": ask.release_name,
            "mode": draft.mode,
            "model": draft.model,
            "at": at.to_string(),
            "seconds": begun.elapsed().as_secs_f64(),
        });
        if let (Some(prompt), Some(completion)) = (draft.prompt_tokens, draft.completion_tokens) {
            result["usage"] = json!({ "prompt_tokens": prompt, "completion_tokens": completion });
        }
        Ok(result)
    }

    /// The newest answers, without the `skip` very newest.
    pub(crate) fn answer_list(&self, limit: u32, skip: u64) -> Result<Value, Failure> {
        let total = self.answers.len();
        let end = total.saturating_sub(skip);
        let first = end.saturating_sub(u64::from(limit.min(ANSWERS_MAX)));
        let mut found = Vec::new();
        self.answers.scan(first, &mut |sequence, key, payload| {
            if sequence < end {
                found.push(LogRecord { sequence, key, payload: payload.to_vec() });
            }
            sequence + 1 < end
        })?;
        let mut rows = Vec::new();
        for record in found.into_iter().rev() {
            let answer = self.read_answer(&record)?;
            let text = |field: &str| answer.words.as_ref().map(|words| words[field].clone());
            rows.push(json!({
                "id": answer.id,
                "at": answer.record.at.to_string(),
                "question": text("question"),
                "answer": text("answer"),
                "release": answer.record.release,
                "abstained": answer.record.flags.abstained,
                "mode": answer.record.mode,
            }));
        }
        Ok(json!({ "answers": rows, "total": total }))
    }

    pub(crate) fn answer_show(&self, id: &str) -> Result<Value, Failure> {
        let answer = self.find_answer(id)?;
        let mut shown = answer.words.unwrap_or_else(|| json!({}));
        shown["id"] = json!(answer.id);
        shown["release"] = json!(answer.record.release);
        shown["at"] = json!(answer.record.at.to_string());
        Ok(shown)
    }

    /// A recorded answer by its id, or `last`.
    pub(crate) fn find_answer(&self, id: &str) -> Result<FoundAnswer, Failure> {
        let hint = "`sextant answers` lists the newest";
        let record = match id.trim() {
            "last" => self.answers.last()?,
            id => match id.parse::<ActivityId>() {
                Ok(id) => self.answers.get(id.as_raw())?.map(|payload| LogRecord {
                    sequence: 0,
                    key: *id.as_raw(),
                    payload,
                }),
                Err(_) => None,
            },
        };
        let record = record.ok_or_else(|| AppError::not_found("answer", id, hint))?;
        self.read_answer(&record)
    }

    pub(crate) fn read_answer(&self, record: &LogRecord) -> Result<FoundAnswer, Failure> {
        let words = match self.transcripts.get(&record.key)? {
            Some(bytes) => Some(json!(Transcript::decode(&bytes)?)),
            None => None,
        };
        Ok(FoundAnswer {
            id: ActivityId::from_raw(record.key),
            record: AnswerRecord::decode(&record.payload)?,
            words,
        })
    }
}

/// A recorded answer.
pub struct FoundAnswer {
    /// Its id.
    pub id: ActivityId,
    /// What was recorded.
    pub record: AnswerRecord,
    /// What was said, unless it was erased.
    pub words: Option<Value>,
}

fn role_of(word: &str) -> Role {
    match word {
        "system" | "developer" => Role::System,
        "assistant" => Role::Assistant,
        _ => Role::User,
    }
}

/// Keeps back the last piece until the answer is durable.
struct HoldLast<'a> {
    waiting: Option<String>,
    on_delta: &'a mut dyn FnMut(&str),
}

impl HoldLast<'_> {
    fn take(&mut self, piece: &str) {
        if let Some(earlier) = self.waiting.replace(piece.to_owned()) {
            (self.on_delta)(&earlier);
        }
    }

    fn release(mut self) {
        if let Some(last) = self.waiting.take() {
            (self.on_delta)(&last);
        }
    }
}
