//! How does one answer come about? Search, read or generate, cite, or abstain: one flow for every
//! caller, pinned to one configuration.

use std::{ops::Range, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use sextant_core::{Cancel, Digest, Failure, limits};

use crate::{
    AgentError, Extraction, ExtractiveReader, Generator, Message, Mode, Passage, PassageSearch,
    Prompt, Quote, ReaderKind, Role, ServingConfig,
    extract::closest_unit,
    words::{terms, words},
};

/// One quoted passage of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// The number of its mark in the text: `[1]`.
    pub n: usize,
    /// The chunk artifact.
    pub chunk: Digest,
    /// The document's path.
    pub path: String,
    /// The section's heading.
    pub heading: String,
    /// The words quoted, exactly as the raw document has them.
    pub quote: String,
    /// Where the quote begins in the raw document.
    pub byte_start: u64,
    /// Where it ends in the raw document.
    pub byte_end: u64,
    /// The document version.
    pub doc_version: Digest,
    /// The passage's score in the search.
    pub score: f32,
}

/// A passage that search returned for the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsedPassage {
    /// The chunk artifact.
    pub chunk: Digest,
    /// Its score.
    pub score: f32,
    /// Whether the answer cites it.
    pub cited: bool,
}

/// An answer before it has an id and is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerDraft {
    /// What is said.
    pub text: String,
    /// Whether it says that nothing was found.
    pub abstained: bool,
    /// What it quotes, in the order of the marks.
    pub citations: Vec<Citation>,
    /// What search returned, best first.
    pub passages: Vec<UsedPassage>,
    /// How they were found.
    pub mode: Mode,
    /// Who wrote: `extractive`, or the name of the model that really answered.
    pub model: String,
    /// Marks in a generated text that pointed at no passage; they were taken out.
    pub dropped_citations: usize,
    /// Share of the question's meaning that the best passage holds (extractive reader only).
    pub support: Option<f32>,
    /// Time spent searching, in microseconds.
    pub search_micros: u64,
    /// Time spent reading or generating, in microseconds.
    pub read_micros: u64,
    /// Tokens of the prompt, when counted.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the answer, when counted.
    pub completion_tokens: Option<u32>,
}

/// Answers questions for one release.
#[derive(Clone)]
pub struct Assistant {
    /// Search over the release's index.
    pub search: Arc<dyn PassageSearch>,
    /// The release's prompt.
    pub prompt: Arc<Prompt>,
    /// The release's configuration.
    pub config: Arc<ServingConfig>,
    /// The model, when the configuration names one.
    pub generator: Option<Arc<dyn Generator>>,
}

impl Assistant {
    /// Answers one question. `on_delta` gets the text piece by piece; the pieces joined equal the
    /// draft's text, except that marks which point at nothing are only taken out of the draft.
    ///
    /// # Errors
    /// When the question is empty or too long, search fails, or the generator fails or is cancelled.
    pub fn answer(
        &self,
        question: &str,
        history: &[Message],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&str),
    ) -> Result<AnswerDraft, Failure> {
        let question = question.trim();
        if question.is_empty() {
            return Err(AgentError::QuestionEmpty.into());
        }
        if question.len() > limits::QUESTION_BYTES_MAX {
            let limit = limits::QUESTION_BYTES_MAX;
            return Err(AgentError::QuestionTooLong { bytes: question.len(), limit }.into());
        }
        let earlier = leans_on(question, history);
        let query = match earlier {
            Some(earlier) => format!("{question} {earlier}"),
            None => question.to_owned(),
        };
        let mode = self.config.retrieval.mode;
        let count = self.config.passages.clamp(1, limits::CITATIONS_MAX);
        let began = Instant::now();
        let mut passages = self.search.search(&query, count, mode)?;
        passages.truncate(count);
        let search_micros = micros(began);
        let began = Instant::now();
        let mut draft = match self.config.reader {
            ReaderKind::Extractive => self.extract(question, earlier, &passages)?,
            ReaderKind::Generator => {
                self.generate(question, history, &passages, cancel, on_delta)?
            }
        };
        if self.config.reader == ReaderKind::Extractive {
            deliver(&draft.text, on_delta);
        }
        draft.search_micros = search_micros;
        draft.read_micros = micros(began);
        Ok(draft)
    }

    fn extract(
        &self,
        question: &str,
        earlier: Option<&str>,
        passages: &[Passage],
    ) -> Result<AnswerDraft, Failure> {
        let reader = ExtractiveReader { thresholds: self.config.thresholds };
        let found = reader.read(question, earlier, passages)?;
        let mut draft = self.draft(passages, "extractive".to_owned());
        draft.support = Some(found.support);
        if found.quotes.is_empty() {
            draft.abstained = true;
            draft.text = abstention(&found, passages);
            return Ok(draft);
        }
        for (index, quote) in found.quotes.iter().enumerate() {
            let passage = &passages[quote.passage];
            let words = &passage.body[quote.range.clone()];
            if index > 0 {
                draft.text.push_str("\n\n");
            }
            draft.text.push_str(words);
            draft.text.push_str(&mark_after(words, index + 1));
            draft.citations.push(citation(index + 1, passage, quote.range.clone()));
        }
        mark_cited(&mut draft, found.quotes.iter().map(|quote: &Quote| quote.passage));
        Ok(draft)
    }

    fn generate(
        &self,
        question: &str,
        history: &[Message],
        passages: &[Passage],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&str),
    ) -> Result<AnswerDraft, Failure> {
        let Some(generator) = &self.generator else {
            let model = self.config.generator.as_ref().map(|g| g.model.clone());
            return Err(AgentError::NoGenerator(model.unwrap_or_default()).into());
        };
        if passages.is_empty() {
            let mut draft = self.draft(passages, "extractive".to_owned());
            draft.abstained = true;
            draft.text = "I found nothing in the documents that answers this.".to_owned();
            on_delta(&draft.text);
            return Ok(draft);
        }
        let messages = self.prompt.messages(question, passages, history)?;
        let completion = generator.complete(&messages, cancel, on_delta)?;
        let mut draft = self.draft(passages, completion.model);
        draft.prompt_tokens = completion.prompt_tokens;
        draft.completion_tokens = completion.completion_tokens;
        let marks = marks(&completion.text);
        draft.text = without_unknown(&completion.text, &marks, passages.len());
        draft.dropped_citations =
            marks.iter().filter(|mark| !(1..=passages.len()).contains(&mark.n)).count();
        let mut cited: Vec<usize> = Vec::new();
        for mark in marks.iter().filter(|mark| (1..=passages.len()).contains(&mark.n)) {
            if !cited.contains(&(mark.n - 1)) {
                cited.push(mark.n - 1);
                let passage = &passages[mark.n - 1];
                let claim = claim_before(&completion.text, mark.range.start);
                let whole = 0..passage.body.len();
                let range = closest_unit(claim, &passage.body).unwrap_or(whole);
                draft.citations.push(citation(mark.n, passage, range));
            }
        }
        draft.citations.sort_by_key(|citation| citation.n);
        mark_cited(&mut draft, cited);
        Ok(draft)
    }

    fn draft(&self, passages: &[Passage], model: String) -> AnswerDraft {
        AnswerDraft {
            text: String::new(),
            abstained: false,
            citations: Vec::new(),
            passages: passages
                .iter()
                .map(|p| UsedPassage { chunk: p.chunk, score: p.score, cited: false })
                .collect(),
            mode: self.config.retrieval.mode,
            model,
            dropped_citations: 0,
            support: None,
            search_micros: 0,
            read_micros: 0,
            prompt_tokens: None,
            completion_tokens: None,
        }
    }
}

/// The list of sources for a reader who sees only the text: one line per mark.
pub fn sources_footer(citations: &[Citation]) -> String {
    let mut lines = String::new();
    for citation in citations {
        let heading = if citation.heading.is_empty() {
            String::new()
        } else {
            format!(" › {}", citation.heading)
        };
        lines.push_str(&format!("[{}] {}{heading}\n", citation.n, citation.path));
    }
    lines
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The question before, when this one cannot be understood alone.
fn leans_on<'a>(question: &str, history: &'a [Message]) -> Option<&'a str> {
    const LEANING: &[&str] = &["it", "its", "this", "that", "they", "them", "those", "these"];
    let previous = history.iter().rev().find(|turn| turn.role == Role::User)?;
    let leans = words(question).iter().any(|word| LEANING.contains(&word.text.as_str()));
    let thin = terms(question).iter().filter(|term| term.weight >= 0.9).count() <= 1;
    let previous = previous.content.trim();
    let usable = !previous.is_empty() && previous.len() <= limits::QUESTION_BYTES_MAX;
    (usable && (leans || thin)).then_some(previous)
}

fn abstention(found: &Extraction, passages: &[Passage]) -> String {
    let mut text = "I found nothing in the documents that answers this.".to_owned();
    if !found.missing.is_empty() {
        let list: Vec<_> = found.missing.iter().take(4).map(|word| format!("“{word}”")).collect();
        text.push_str(&format!(" None of the closest passages mentions {}.", list.join(" or ")));
    }
    if let Some(closest) = found.closest.and_then(|index| passages.get(index)) {
        let heading = match closest.heading.as_str() {
            "" => String::new(),
            heading => format!("“{heading}” in "),
        };
        text.push_str(&format!(" The closest section is {heading}{}.", closest.path));
    }
    text
}

/// Where the mark goes so that the Markdown around it stays whole.
fn mark_after(quote: &str, n: usize) -> String {
    let last = quote.trim_end().rsplit('\n').next().unwrap_or_default().trim_start();
    let block = last.starts_with("```") || last.starts_with("~~~") || last.starts_with('|');
    let indented = quote.rsplit('\n').next().is_some_and(|line| line.starts_with("    "));
    if block || indented { format!("\n\n[{n}]") } else { format!(" [{n}]") }
}

fn citation(n: usize, passage: &Passage, range: Range<usize>) -> Citation {
    Citation {
        n,
        chunk: passage.chunk,
        path: passage.path.clone(),
        heading: passage.heading.clone(),
        byte_start: passage.byte_start + range.start as u64,
        byte_end: passage.byte_start + range.end as u64,
        quote: passage.body[range].to_owned(),
        doc_version: passage.doc_version,
        score: passage.score,
    }
}

fn mark_cited(draft: &mut AnswerDraft, cited: impl IntoIterator<Item = usize>) {
    for index in cited {
        if let Some(passage) = draft.passages.get_mut(index) {
            passage.cited = true;
        }
    }
}

/// Hands a finished text over in pieces of about a line, so that a reader sees it grow.
fn deliver(text: &str, on_delta: &mut dyn FnMut(&str)) {
    let mut start = 0;
    for (at, character) in text.char_indices() {
        if at - start >= 48 && character == ' ' || character == '\n' {
            let end = at + character.len_utf8();
            on_delta(&text[start..end]);
            start = end;
        }
    }
    if start < text.len() {
        on_delta(&text[start..]);
    }
}

struct Mark {
    n: usize,
    range: Range<usize>,
}

/// The citation marks of a text: `[1]`, `[2]`, and each number of `[1, 3]`. Marks inside code do
/// not count.
fn marks(text: &str) -> Vec<Mark> {
    let mut found = Vec::new();
    let mut in_code = false;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'`' => in_code = !in_code,
            b'[' if !in_code => {
                if let Some(length) = text[at..].find(']')
                    && let Some(numbers) = numbers(&text[at + 1..at + length])
                    && bytes.get(at + length + 1) != Some(&b'(')
                {
                    let range = at..at + length + 1;
                    found.extend(numbers.into_iter().map(|n| Mark { n, range: range.clone() }));
                    at += length;
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn numbers(inside: &str) -> Option<Vec<usize>> {
    if inside.is_empty() || inside.len() > 40 {
        return None;
    }
    inside.split(',').map(|part| part.trim().parse().ok().filter(|n| *n < 10_000)).collect()
}

/// The text without marks that point at no passage.
fn without_unknown(text: &str, marks: &[Mark], passages: usize) -> String {
    let known = |n: usize| (1..=passages).contains(&n);
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut index = 0;
    while index < marks.len() {
        let range = marks[index].range.clone();
        let group: Vec<usize> = marks[index..]
            .iter()
            .take_while(|mark| mark.range == range)
            .map(|mark| mark.n)
            .collect();
        index += group.len();
        if group.iter().all(|n| known(*n)) {
            continue;
        }
        let kept: Vec<String> = group.iter().filter(|n| known(**n)).map(usize::to_string).collect();
        let before = &text[copied..range.start];
        if kept.is_empty() {
            out.push_str(before.strip_suffix(' ').unwrap_or(before));
        } else {
            out.push_str(before);
            out.push_str(&format!("[{}]", kept.join(", ")));
        }
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    out
}

/// The sentence that a mark stands behind.
fn claim_before(text: &str, at: usize) -> &str {
    let head = text[..at].trim_end();
    let head = head.trim_end_matches(['.', '!', '?']);
    let start = head.rfind(['.', '!', '?', '\n', ']']).map_or(0, |index| index + 1);
    &head[start..]
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
