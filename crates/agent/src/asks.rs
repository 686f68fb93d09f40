//! What shape of answer does a question ask for: a way, a definition, a reason, a value?

use crate::{
    blocks::UnitKind,
    words::{Word, words},
};

/// What shape of answer the question asks for.
pub(crate) struct Asks {
    how: bool,
    what: bool,
    why: bool,
    value: bool,
    /// The stems of what is to be defined, when the question is `What is …?` of one or two words.
    subject: Option<Vec<String>>,
}

const ARTICLES: [&str; 3] = ["a", "an", "the"];

/// The subject of `What is a release?`; none when the question asks for more than a meaning.
fn subject(all: &[Word]) -> Option<Vec<String>> {
    let texts: Vec<&str> = all.iter().map(|word| word.text.as_str()).collect();
    let skipped = match texts[..] {
        ["what", "is" | "are", "a" | "an" | "the", ..] => 3,
        ["what", "is" | "are", ..] => 2,
        _ => return None,
    };
    let named = &all[skipped..];
    let plain = matches!(named.len(), 1 | 2) && named.iter().all(|word| word.text != "in");
    plain.then(|| named.iter().map(|word| word.stem.clone()).collect())
}

impl Asks {
    /// Reads it from the question's words.
    pub(crate) fn of(question: &str) -> Self {
        let all = words(question);
        let first = all.first().map(|word| word.text.clone()).unwrap_or_default();
        let has = |list: &[&str]| all.iter().any(|word| list.contains(&word.text.as_str()));
        Self {
            how: first == "how" && !has(&["many", "much", "long", "often", "large", "big"]),
            what: first == "what" || has(&["define", "mean", "definition"]),
            why: first == "why" || has(&["reason"]),
            subject: subject(&all),
            value: has(&[
                "many", "much", "long", "often", "which", "where", "when", "default", "port",
                "limit", "size", "code", "file", "command", "flag", "large", "big", "maximum",
            ]),
        }
    }

    /// Whether a text begins by saying what the subject is: `A hole is …`, `**Hole**: …`.
    fn defines(&self, text: &str) -> bool {
        let Some(subject) = &self.subject else { return false };
        let opening = text.trim_start_matches(['-', '*', '`', '|', ' ']);
        let all = words(opening);
        let article = all.first().is_some_and(|word| ARTICLES.contains(&word.text.as_str()));
        let mut rest = all.iter().skip(usize::from(article));
        if !subject.iter().all(|stem| rest.next().is_some_and(|word| word.stem == *stem)) {
            return false;
        }
        let says = rest.next().is_some_and(|word| ["is", "are", "means"].contains(&&*word.text));
        says || opening.split_once(':').is_some_and(|(term, _)| words(term).len() == subject.len())
    }

    /// What the shape of a unit adds to its score; `position` is its place in its passage.
    pub(crate) fn bonus(&self, text: &str, kind: UnitKind, position: usize) -> f32 {
        let mut bonus = 0.0;
        let sentence = kind == UnitKind::Sentence;
        if self.how && (text.contains('`') || kind == UnitKind::Code) {
            bonus += 0.06;
        }
        if self.what && sentence && position == 0 {
            bonus += 0.08;
        }
        if self.why
            && ["because", "so that", "therefore", "otherwise", "this way"]
                .iter()
                .any(|w| text.contains(w))
        {
            bonus += 0.1;
        }
        if self.value && (text.contains('`') || text.bytes().any(|b| b.is_ascii_digit())) {
            bonus += 0.06;
        }
        if self.defines(text) {
            bonus += 0.25;
        }
        if sentence && position == 0 {
            bonus += 0.04;
        }
        if kind == UnitKind::Code && !self.how {
            bonus -= 0.08;
        }
        bonus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_told_from_other_sentences() {
        for (question, text, defines) in [
            ("What is a hole?", "A hole is an input.", true),
            ("What are holes?", "Holes are inputs.", true),
            ("What is the live name?", "**Live name**: a pointer.", true),
            ("What is a gate?", "- `Gate` means a rule.", true),
            ("What is a hole?", "Every hole is shown.", false),
            ("What is a hole?", "A hole in the chain is shown.", false),
            ("What is in a hole?", "A hole is an input.", false),
            ("How is a hole shown?", "A hole is an input.", false),
            ("What is the maximum size of a page?", "The size is small.", false),
            ("What is", "It is.", false),
        ] {
            assert_eq!(Asks::of(question).defines(text), defines, "{question} / {text}");
        }
    }

    #[test]
    fn the_shape_that_fits_scores_more() {
        for (question, better, worse) in [
            ("How do I go back?", "Run `back`.", "It goes."),
            ("Why is it held?", "It is held because it is slow.", "It is held."),
            ("Which port is it?", "It is 7700.", "It is a port."),
            ("What is a gate?", "A gate is a rule.", "See the gate."),
        ] {
            let asks = Asks::of(question);
            let bonus = |text| asks.bonus(text, UnitKind::Sentence, 1);
            assert!(bonus(better) > bonus(worse), "{question}");
        }
    }
}
