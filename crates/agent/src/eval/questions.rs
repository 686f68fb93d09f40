//! Which questions are asked, and which sections answer them? One JSON object a line; lines that
//! share an id name further sections for the same question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sextant_core::limits;
use sextant_project::AssetFile;

use crate::AgentError;

/// Most lines of a question file.
const QUESTIONS_MAX: usize = 100_000;

/// A section that answers a question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Relevant {
    /// The document's path.
    pub path: String,
    /// The section's heading.
    pub heading: String,
}

/// A question with the sections that answer it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its id, unique in the file.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// Each section that answers it.
    pub relevant: Vec<Relevant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    question: String,
    path: String,
    heading: String,
}

/// Reads a question file.
///
/// # Errors
/// With the file's line, when a line is not such an object, a field is empty, the same id has two
/// questions, a section is named twice, or there is no question at all.
pub fn parse_questions(file: &AssetFile) -> Result<Vec<Question>, AgentError> {
    let mut order: Vec<Question> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = 0;
    for (index, text) in file.text.lines().enumerate() {
        let refuse = |column: Option<usize>, reason: String| AgentError::Question {
            place: file.place(Some(index + 1), column),
            reason,
        };
        if text.trim().is_empty() {
            continue;
        }
        count += 1;
        if count > QUESTIONS_MAX {
            return Err(refuse(None, format!("more than {QUESTIONS_MAX} lines")));
        }
        let line: Line = serde_json::from_str(text).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
            refuse(Some(error.column()), reason)
        })?;
        check(&line).map_err(|reason| refuse(None, reason))?;
        let relevant = Relevant { path: line.path, heading: line.heading.trim().to_owned() };
        match known.get(&line.id).and_then(|at| order.get_mut(*at)) {
            None => {
                known.insert(line.id.clone(), order.len());
                let relevant = vec![relevant];
                order.push(Question { id: line.id, question: line.question, relevant });
            }
            Some(first) if first.question != line.question => {
                return Err(refuse(None, format!("id `{}` already has another question", line.id)));
            }
            Some(first) if first.relevant.contains(&relevant) => {
                return Err(refuse(None, format!("id `{}` already has this section", line.id)));
            }
            Some(first) => first.relevant.push(relevant),
        }
    }
    if order.is_empty() {
        let place = file.place(None, None);
        return Err(AgentError::Question { place, reason: "the file has no question".into() });
    }
    Ok(order)
}

fn check(line: &Line) -> Result<(), String> {
    for (name, text) in [("id", &line.id), ("question", &line.question), ("path", &line.path)] {
        if text.trim().is_empty() {
            return Err(format!("`{name}` is empty"));
        }
    }
    if line.question.len() > limits::QUESTION_BYTES_MAX {
        return Err(format!("`question` has more than {} bytes", limits::QUESTION_BYTES_MAX));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn parse(text: &str) -> Result<Vec<Question>, AgentError> {
        parse_questions(&AssetFile {
            root: "/p".into(),
            path: "evals/q.jsonl".into(),
            text: text.to_owned(),
        })
    }

    const GOOD: &str = r#"{"id":"1","question":"a?","path":"a.md","heading":"A"}"#;

    #[test]
    fn lines_with_one_id_are_one_question() {
        let more = GOOD.replace("a.md", "b.md");
        let found = parse(&format!("{GOOD}\n\n{more}\n")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].relevant.len(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (bad, words) in [
            ("{", "EOF"),
            (r#"{"id":"2"}"#, "missing field"),
            (r#"{"id":"2","question":"","path":"x","heading":"y"}"#, "`question` is empty"),
            (r#"{"id":"2","question":"q","path":"x","heading":"y","extra":1}"#, "unknown field"),
            (r#"{"id":"1","question":"other","path":"x","heading":"y"}"#, "another question"),
            (GOOD, "this section"),
        ] {
            let Err(error) = parse(&format!("{GOOD}\n{bad}\n")) else { panic!("accepted {bad}") };
            let place = sextant_core::Explain::place(&error).unwrap().to_string();
            assert!(place.starts_with("evals/q.jsonl:2"), "{place}");
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(parse("\n").is_err());
    }
}
