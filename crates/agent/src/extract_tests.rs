#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

pub(crate) mod support {
    use crate::Passage;
    use sextant_core::Digest;

    /// A passage as search would return it, 100 bytes into its document.
    pub(crate) fn passage(path: &str, heading: &str, body: &str) -> Passage {
        Passage {
            chunk: Digest::of(format!("{path}{body}")),
            doc_version: Digest::of(path),
            path: path.to_owned(),
            heading: heading.to_owned(),
            breadcrumb: heading.to_owned(),
            body: body.to_owned(),
            byte_start: 100,
            byte_end: 100 + body.len() as u64,
            score: 1.0,
            bm25: Some(1.0),
            cosine: None,
        }
    }
}

use support::passage;

fn corpus() -> Vec<Passage> {
    vec![
        passage(
            "releases.md",
            "Roll back a release",
            "## Roll back a release\n\nA rollback moves one pointer in one transaction. It takes \
             effect for the next request; requests that were admitted before keep their release. \
             Nothing is deleted.\n\nTo go back to the release before:\n\n```sh\nsextant rollback\n```\n\n\
             The command prints both digests.\n",
        ),
        passage(
            "server.md",
            "Addresses and ports",
            "The server listens on 127.0.0.1:7700. Set another port with `--port` or in \
             `sextant.toml`:\n\n```toml\n[server]\nport = 7800\n```\n\nAny other address needs \
             authentication.\n",
        ),
        passage(
            "checks.md",
            "Kinds of checks",
            "Checks stop what depends on a table.\n\n- `not_null`: no row is empty in the column.\n\
             - `unique`: no value occurs twice.\n- `accepted_values`: each value is in a list.\n\
             - `row_count`: the table has between min and max rows.\n",
        ),
        passage(
            "lineage.md",
            "What a hole is",
            "A hole is an input whose origin nobody recorded. `sextant doctor` counts the holes. \
             `why` prints them in place, so that nobody takes a broken chain for a whole one.\n",
        ),
    ]
}

fn read(question: &str) -> (Extraction, Vec<String>) {
    let passages = corpus();
    let found = ExtractiveReader::default().read(question, None, &passages).unwrap();
    let quotes = found
        .quotes
        .iter()
        .map(|quote| passages[quote.passage].body[quote.range.clone()].to_owned())
        .collect();
    (found, quotes)
}

fn answers(question: &str, words: &[&str]) {
    let (found, quotes) = read(question);
    let all = quotes.join("\n");
    assert!(
        !quotes.is_empty(),
        "{question}: abstained at {} without {:?}",
        found.support,
        found.missing
    );
    for word in words {
        assert!(all.contains(word), "{question}: `{word}` is not in:\n{all}");
    }
}

fn abstains(question: &str) {
    let (found, quotes) = read(question);
    assert!(quotes.is_empty(), "{question}: answered at {} with {quotes:?}", found.support);
}

#[test]
fn the_sentences_that_answer_are_quoted() {
    answers("How do I roll back a release?", &["sextant rollback", "```sh"]);
    answers("What happens to running requests after a rollback?", &["keep their release"]);
    answers("Which port does the server listen on?", &["7700"]);
    answers("How can I change the port?", &["port = 7800"]);
    answers("What is a hole?", &["A hole is an input whose origin nobody recorded."]);
    answers("Which check finds values that occur twice?", &["`unique`: no value occurs twice."]);
    answers("What counts holes?", &["`sextant doctor` counts the holes."]);
}

#[test]
fn nothing_is_made_up() {
    abstains("What is the capital of France?");
    abstains("How much does the enterprise licence cost per month?");
    abstains("How do I connect Kafka to Snowflake?");
    abstains("Who founded the company?");
    abstains("Does the server support IPv6 multicast routing?");
}

#[test]
fn a_sentence_that_leans_on_another_brings_it_along() {
    let (_, quotes) = read("When does a rollback take effect?");
    assert!(quotes[0].contains("moves one pointer"), "{quotes:?}");
    assert!(quotes[0].contains("takes effect"), "{quotes:?}");
}

#[test]
fn missing_words_are_told() {
    let (found, _) = read("How do I connect Kafka to Snowflake?");
    assert!(found.missing.contains(&"kafka".to_owned()), "{:?}", found.missing);
}

#[test]
fn no_passages_is_no_answer() {
    let found = ExtractiveReader::default().read("anything at all?", None, &[]).unwrap();
    assert!(found.quotes.is_empty());
    assert_eq!(found.closest, None);
}

#[test]
fn a_passage_that_disagrees_with_its_range_is_refused() {
    let mut passages = corpus();
    passages[0].byte_end += 1;
    assert!(ExtractiveReader::default().read("hole?", None, &passages).is_err());
}

#[test]
fn quotes_are_slices_in_reading_order_and_never_overlap() {
    let passages = corpus();
    for question in [
        "release",
        "port server",
        "checks not_null unique",
        "hole doctor why chain",
        "a",
        "??",
        "everything about rollback, ports, checks and holes",
    ] {
        let found = ExtractiveReader::default().read(question, None, &passages).unwrap();
        for pair in found.quotes.windows(2) {
            let apart =
                pair[0].passage != pair[1].passage || pair[0].range.end <= pair[1].range.start;
            assert!(apart, "{question}: {pair:?}");
        }
        for quote in &found.quotes {
            assert!(passages[quote.passage].body.get(quote.range.clone()).is_some());
        }
    }
}

fn quotes_of(question: &str, passages: &[Passage]) -> Vec<String> {
    let found = ExtractiveReader::default().read(question, None, passages).unwrap();
    let slice = |quote: &Quote| passages[quote.passage].body[quote.range.clone()].to_owned();
    found.quotes.iter().map(slice).collect()
}

#[test]
fn an_example_of_something_else_is_not_quoted_beside_the_answer() {
    let mut all = corpus();
    all.push(passage(
        "questions.md",
        "The questions file",
        "Each line names a section:\n\n```json\n{\"question\":\"How do I undo a bad rollout?\"}\n\
         ```\n",
    ));
    let quotes = quotes_of("How do I undo a release, roll it back?", &all);
    assert!(quotes[0].contains("sextant rollback"), "{quotes:?}");
    assert!(quotes.iter().all(|quote| !quote.contains("json")), "{quotes:?}");
}

#[test]
fn a_definition_is_among_the_quotes() {
    for (question, body, expected) in [
        (
            "What is a gate?",
            "Every gate has its file. Here a gate waits. A gate is a set of rules.",
            "A gate is a set of rules.",
        ),
        (
            "What is an embedder?",
            "Some words first.\n\n- **Generator**: writes the embedder's text.\n\
             - **Embedder**: a model that turns text into vectors.\n",
            "- **Embedder**: a model that turns text into vectors.",
        ),
        (
            "What are live names?",
            "You move live names. Live names are pointers to releases.",
            "Live names are pointers to releases.",
        ),
    ] {
        let quotes = quotes_of(question, &[passage("words.md", "Words", body)]);
        assert!(quotes.concat().contains(expected), "{question}: {quotes:?}");
    }
}

#[test]
fn code_at_the_start_of_a_section_brings_the_sentence_that_explains_it() {
    let body = "```\n$ sextant replay ID\n```\n\nIt asks the same question once more. More here.\n";
    let quotes =
        quotes_of("How do I replay an answer?", &[passage("a.md", "Replay an answer", body)]);
    let expected = "```\n$ sextant replay ID\n```\n\nIt asks the same question once more.";
    assert!(quotes[0].starts_with(expected), "{quotes:?}");
}

#[test]
fn among_equal_units_the_search_decides() {
    let body = "The backup holds the whole data folder.";
    let mut passages = vec![passage("a.md", "One", body), passage("b.md", "Two", body)];
    for (first, second, expected) in [(9.0, 1.0, 0), (1.0, 9.0, 1), (0.0, 0.0, 0)] {
        (passages[0].score, passages[1].score) = (first, second);
        let found = ExtractiveReader::default()
            .read("What does the backup hold?", None, &passages)
            .unwrap();
        let chosen: Vec<usize> = found.quotes.iter().map(|quote| quote.passage).collect();
        assert_eq!(chosen, [expected], "{first} {second}");
    }
}
