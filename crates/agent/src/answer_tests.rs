#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, sync::Mutex};

use super::*;
use crate::{
    Completion, Retrieval, Thresholds, config::CONFIG_FORMAT, extract::tests_support::passage,
};

struct Fixed(Vec<Passage>, Mutex<Vec<String>>);

impl PassageSearch for Fixed {
    fn search(&self, query: &str, k: usize, _mode: Mode) -> Result<Vec<Passage>, Failure> {
        self.1.lock().unwrap().push(query.to_owned());
        Ok(self.0.iter().take(k).cloned().collect())
    }
}

struct Says(&'static str);

impl Generator for Says {
    fn complete(
        &self,
        messages: &[Message],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&str),
    ) -> Result<Completion, Failure> {
        if cancel.is_cancelled() {
            return Err(AgentError::NoGenerator("nobody reads on".into()).into());
        }
        assert!(messages[0].content.contains("<passage-"), "{}", messages[0].content);
        on_delta(self.0);
        Ok(Completion { text: self.0.into(), model: "really-this".into(), ..Completion::default() })
    }
}

fn assistant(generator: Option<&'static str>) -> (Assistant, Arc<Fixed>) {
    let search = Arc::new(Fixed(
        vec![
            passage("a.md", "Ports", "The server listens on port 7700. Nothing else listens."),
            passage("b.md", "Keys", "The admin key is in `.sextant/admin.key`. Its mode is 0600."),
        ],
        Mutex::default(),
    ));
    let config = ServingConfig {
        format: CONFIG_FORMAT,
        reader: if generator.is_some() { ReaderKind::Generator } else { ReaderKind::Extractive },
        generator: None,
        retrieval: Retrieval { requested: "bm25".into(), mode: Mode::Bm25, reason: "asked".into() },
        passages: 4,
        thresholds: Thresholds::default(),
        prompt: Digest::of("prompt"),
    };
    let prompt = Prompt {
        template: "{% for p in passages %}{{ p.text }}{% endfor %}".into(),
        variables: BTreeMap::new(),
        description: String::new(),
    };
    let assistant = Assistant {
        search: search.clone(),
        prompt: Arc::new(prompt),
        config: Arc::new(config),
        generator: generator.map(|text| Arc::new(Says(text)) as Arc<dyn Generator>),
    };
    (assistant, search)
}

fn ask(assistant: &Assistant, question: &str) -> (AnswerDraft, String) {
    let mut streamed = String::new();
    let draft = assistant
        .answer(question, &[], &Cancel::new(), &mut |delta| streamed.push_str(delta))
        .unwrap();
    (draft, streamed)
}

#[test]
fn an_extractive_answer_quotes_and_cites_exact_bytes() {
    let (assistant, _) = assistant(None);
    let (draft, streamed) = ask(&assistant, "Which port does the server listen on?");
    assert_eq!(draft.text, streamed);
    assert!(draft.text.starts_with("The server listens on port 7700. [1]"), "{}", draft.text);
    let citation = &draft.citations[0];
    assert_eq!((citation.byte_start, citation.byte_end), (100, 132));
    assert_eq!(citation.quote, "The server listens on port 7700.");
    assert!(draft.passages[0].cited && !draft.abstained);
    assert_eq!(draft.model, "extractive");
    assert_eq!(sources_footer(&draft.citations).lines().next(), Some("[1] a.md › Ports"));
}

#[test]
fn it_abstains_in_plain_words() {
    let (assistant, _) = assistant(None);
    let (draft, streamed) = ask(&assistant, "How do I connect Kafka to Snowflake?");
    assert!(draft.abstained && draft.citations.is_empty());
    assert!(draft.text.starts_with("I found nothing in the documents"), "{}", draft.text);
    assert!(draft.text.contains("“kafka”"), "{}", draft.text);
    assert_eq!(draft.text, streamed);
}

#[test]
fn a_follow_up_searches_with_the_question_before() {
    let (assistant, search) = assistant(None);
    let before = Message { role: Role::User, content: "Where is the admin key?".into() };
    assistant.answer("And what is its mode?", &[before], &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(*search.1.lock().unwrap(), ["And what is its mode? Where is the admin key?"]);
}

#[test]
fn marks_of_a_generator_are_mapped_or_dropped() {
    let text = "The port is 7700 [1]. The key is in a file [2, 9]. Made up [7]. Code `a[3]`.";
    let (assistant, _) = assistant(Some(text));
    let (draft, _) = ask(&assistant, "Which port?");
    assert_eq!(draft.text, "The port is 7700 [1]. The key is in a file [2]. Made up. Code `a[3]`.");
    assert_eq!(draft.dropped_citations, 2);
    assert_eq!(draft.model, "really-this");
    let quotes: Vec<_> = draft.citations.iter().map(|c| (c.n, c.quote.as_str())).collect();
    assert_eq!(
        quotes,
        [(1, "The server listens on port 7700."), (2, "The admin key is in `.sextant/admin.key`."),]
    );
}

#[test]
fn questions_have_limits() {
    let (assistant, _) = assistant(None);
    let long = "a".repeat(limits::QUESTION_BYTES_MAX + 1);
    for (question, code) in [("  \n", 6009), (long.as_str(), 6008)] {
        let failure = assistant.answer(question, &[], &Cancel::new(), &mut |_| {}).unwrap_err();
        assert_eq!(failure.code().number, code);
    }
}

#[test]
fn the_mark_stands_outside_of_code_and_tables() {
    for (quote, mark) in [
        ("A sentence.", " [1]"),
        ("- item", " [1]"),
        ("Do:\n\n```sh\nx\n```", "\n\n[1]"),
        ("| a |\n|---|\n| 1 |", "\n\n[1]"),
    ] {
        assert_eq!(mark_after(quote, 1), mark, "{quote}");
    }
}

#[test]
fn a_reader_who_leaves_is_known_to_the_generator() {
    let (assistant, _) = assistant(Some("Port 7700 [1]."));
    let gone = Cancel::new();
    gone.cancel();
    let failure = assistant.answer("Which port?", &[], &gone, &mut |_| {}).unwrap_err();
    assert!(failure.to_string().contains("nobody reads on"), "{failure}");
}
