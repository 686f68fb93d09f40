//! Which words of a question carry its meaning, and is a word of a passage the same word? English
//! stop words and light stemming; other scripts are compared as they are written.

use std::collections::BTreeSet;

/// Words that say nothing about the subject of a question.
const STOP: &[&str] = &[
    "a",
    "about",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "anything",
    "are",
    "as",
    "at",
    "be",
    "been",
    "being",
    "but",
    "by",
    "can",
    "cannot",
    "could",
    "did",
    "do",
    "does",
    "doing",
    "done",
    "each",
    "else",
    "etc",
    "ever",
    "for",
    "from",
    "had",
    "has",
    "have",
    "having",
    "he",
    "her",
    "here",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "itself",
    "just",
    "let",
    "may",
    "me",
    "might",
    "mine",
    "more",
    "most",
    "much",
    "many",
    "must",
    "my",
    "myself",
    "no",
    "nor",
    "not",
    "of",
    "off",
    "on",
    "one",
    "only",
    "or",
    "other",
    "our",
    "ours",
    "out",
    "over",
    "own",
    "please",
    "really",
    "same",
    "shall",
    "she",
    "should",
    "so",
    "some",
    "something",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "thing",
    "this",
    "those",
    "to",
    "too",
    "us",
    "very",
    "was",
    "we",
    "were",
    "what",
    "whatever",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "would",
    "yes",
    "you",
    "your",
    "yours",
    "s",
    "t",
    "d",
    "ll",
    "re",
    "ve",
    "m",
    "don",
    "doesn",
    "isn",
    "aren",
    "won",
    "didn",
];

/// Words that ask rather than name: they count a little, for a passage may well not repeat them.
const WEAK: &[&str] = &[
    "able",
    "actually",
    "allow",
    "ask",
    "available",
    "become",
    "best",
    "call",
    "case",
    "come",
    "contain",
    "detail",
    "difference",
    "different",
    "easy",
    "exact",
    "exactly",
    "example",
    "exist",
    "explain",
    "find",
    "first",
    "get",
    "give",
    "go",
    "good",
    "happen",
    "happens",
    "help",
    "inside",
    "kind",
    "know",
    "like",
    "list",
    "look",
    "made",
    "make",
    "mean",
    "need",
    "new",
    "now",
    "part",
    "possible",
    "purpose",
    "put",
    "say",
    "see",
    "set",
    "show",
    "support",
    "take",
    "tell",
    "think",
    "try",
    "type",
    "use",
    "used",
    "using",
    "want",
    "way",
    "work",
    "works",
    "without",
    "after",
    "before",
    "between",
    "during",
    "again",
    "still",
    "already",
    "every",
    "everything",
    "long",
    "fast",
    "big",
    "often",
    "two",
    "keep",
    "describe",
    "called",
    "name",
    "named",
];

/// Everyday verbs: they matter, but a passage often says them in other words.
const VERBS: &[&str] = &[
    "add",
    "avoid",
    "cause",
    "change",
    "choose",
    "configure",
    "control",
    "create",
    "decide",
    "define",
    "disable",
    "edit",
    "enable",
    "ensure",
    "fix",
    "handle",
    "install",
    "limit",
    "listen",
    "modify",
    "move",
    "pick",
    "prevent",
    "protect",
    "remove",
    "require",
    "return",
    "run",
    "save",
    "setup",
    "start",
    "stop",
    "store",
    "switch",
    "turn",
    "update",
    "write",
    "read",
    "happened",
    "specify",
    "select",
    "view",
    "print",
    "receive",
    "send",
    "provide",
    "undo",
    "recover",
];

/// A word of a text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Lower-case, stemmed.
    pub stem: String,
    /// Lower-case, as written.
    pub text: String,
    /// Whether it was written with a capital, a digit or as code.
    pub marked: bool,
}

/// The words of a text, in order.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut current = String::new();
    for character in text.chars() {
        if is_ideograph(character) {
            push_word(&mut found, &mut current);
            current.push(character);
            push_word(&mut found, &mut current);
        } else if character.is_alphanumeric() {
            current.push(character);
        } else {
            push_word(&mut found, &mut current);
        }
    }
    push_word(&mut found, &mut current);
    found
}

fn push_word(found: &mut Vec<Word>, current: &mut String) {
    if current.is_empty() {
        return;
    }
    let text = current.to_lowercase();
    let marked = current.chars().any(|c| c.is_uppercase() || c.is_numeric());
    found.push(Word { stem: stem(&text), text, marked });
    current.clear();
}

fn is_ideograph(character: char) -> bool {
    matches!(u32::from(character), 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF)
}

/// The set of stems of a text, with neighbours joined too: `roll back` also holds `rollback`.
pub(crate) fn stems(text: &str) -> BTreeSet<String> {
    let all = words(text);
    let mut found: BTreeSet<String> =
        all.windows(2).map(|pair| joined(&pair[0].text, &pair[1].text)).collect();
    found.extend(all.into_iter().map(|word| word.stem));
    found
}

fn joined(one: &str, two: &str) -> String {
    stem(&format!("{one}{two}"))
}

/// One term of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Term {
    /// The stem that is looked for.
    pub stem: String,
    /// The stems of the term joined with its neighbours: `roll back` may be written `rollback`.
    pub joined: Vec<String>,
    /// As the question wrote it, in lower case.
    pub text: String,
    /// How much it says about the subject before rarity is known.
    pub weight: f32,
}

/// The terms of a question: its words without stop words, each once. A question that consists of
/// stop words alone keeps them all, so that it can still match something.
pub(crate) fn terms(question: &str) -> Vec<Term> {
    let all = words(question);
    let mut found: Vec<Term> = Vec::new();
    for (position, word) in all.iter().enumerate() {
        if STOP.contains(&word.text.as_str()) || found.iter().any(|term| term.stem == word.stem) {
            continue;
        }
        let weight = if among(WEAK, word) {
            0.3
        } else if among(VERBS, word) {
            0.6
        } else if word.marked && position > 0 {
            1.25
        } else {
            1.0
        };
        let before = position.checked_sub(1).and_then(|index| all.get(index));
        let joined = [
            before.map(|other| joined(&other.text, &word.text)),
            all.get(position + 1).map(|other| joined(&word.text, &other.text)),
        ];
        found.push(Term {
            stem: word.stem.clone(),
            joined: joined.into_iter().flatten().collect(),
            text: word.text.clone(),
            weight,
        });
    }
    if found.is_empty() {
        found = all
            .into_iter()
            .map(|word| Term { stem: word.stem, joined: Vec::new(), text: word.text, weight: 0.3 })
            .collect();
        found.dedup();
    }
    found
}

/// Whether a list holds the word in any of its forms.
fn among(list: &[&str], word: &Word) -> bool {
    list.iter().any(|entry| *entry == word.text || stem(entry) == word.stem)
}

/// How well a set of stems holds a term: 1 the same stem, 0.6 a word of the same family.
pub(crate) fn holds_term(stems: &BTreeSet<String>, term: &Term) -> f32 {
    if term.joined.iter().any(|joined| stems.contains(joined)) {
        return 1.0;
    }
    holds(stems, &term.stem)
}

fn holds(stems: &BTreeSet<String>, term: &str) -> f32 {
    if stems.contains(term) {
        return 1.0;
    }
    let length = term.chars().count();
    if length < 5 {
        return 0.0;
    }
    let prefix: String = term.chars().take((length * 4).div_ceil(5).max(5)).collect();
    let kin = stems
        .range(prefix.clone()..)
        .take_while(|stem| stem.starts_with(&prefix))
        .any(|stem| stem.chars().count() <= length + 3);
    if kin { 0.6 } else { 0.0 }
}

/// Cuts the usual endings of English words. Light on purpose: two words that differ in meaning
/// should not meet.
pub(crate) fn stem(word: &str) -> String {
    if word.len() < 4 || !word.is_ascii() || word.bytes().any(|b| b.is_ascii_digit()) {
        return word.to_owned();
    }
    let mut base = plural(word).to_owned();
    for (ending, least) in [("ing", 4), ("ed", 3), ("ly", 4)] {
        if let Some(cut) = base.strip_suffix(ending)
            && cut.len() >= least.min(3)
            && cut.bytes().any(|b| b"aeiouy".contains(&b))
        {
            base = undouble(cut).to_owned();
            break;
        }
    }
    for (ending, instead) in
        [("ization", "ize"), ("ation", "ate"), ("ition", "it"), ("ion", ""), ("ment", "")]
    {
        if let Some(cut) = base.strip_suffix(ending)
            && cut.len() >= 4
        {
            base = format!("{cut}{instead}");
            break;
        }
    }
    if base.len() > 3 && base.ends_with('e') {
        base.pop();
    }
    if base.len() > 3 && base.ends_with('y') {
        base.pop();
        base.push('i');
    }
    base
}

fn plural(word: &str) -> &str {
    if word.ends_with("ss") || word.ends_with("us") || word.ends_with("is") {
        return word;
    }
    for ending in ["sses", "shes", "ches", "xes", "zes"] {
        if word.ends_with(ending) {
            return &word[..word.len() - 2];
        }
    }
    if word.len() > 4
        && let Some(cut) = word.strip_suffix("ies")
    {
        // "policies" and "policy" both end as "polici".
        return &word[..cut.len() + 1];
    }
    word.strip_suffix('s').unwrap_or(word)
}

fn undouble(word: &str) -> &str {
    let bytes = word.as_bytes();
    let count = bytes.len();
    let doubled =
        count > 3 && bytes[count - 1] == bytes[count - 2] && !b"lsz".contains(&bytes[count - 1]);
    if doubled { &word[..count - 1] } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_share_a_stem() {
        for family in [
            &["release", "releases", "released", "releasing"][..],
            &["policy", "policies"],
            &["stop", "stopped", "stopping", "stops"],
            &["index", "indexes", "indexed", "indexing"],
            &["configure", "configures", "configured", "configuring"],
            &["evaluate", "evaluation", "evaluations", "evaluated"],
            &["check", "checks", "checking"],
        ] {
            let stems: BTreeSet<_> = family.iter().map(|word| stem(word)).collect();
            assert_eq!(stems.len(), 1, "{family:?} {stems:?}");
        }
        for (one, two) in [("port", "part"), ("class", "clash"), ("status", "state")] {
            assert_ne!(stem(one), stem(two));
        }
    }

    #[test]
    fn terms_leave_out_what_says_nothing() {
        let found: Vec<_> =
            terms("How do I roll back a Release?").into_iter().map(|term| term.text).collect();
        assert_eq!(found, ["roll", "back", "release"]);
        assert!(!terms("what is it?").is_empty());
        assert!(terms("").is_empty());
    }

    #[test]
    fn kin_counts_less_than_the_word_itself() {
        let set = stems("configuration and training");
        assert_eq!(holds(&set, &stem("training")), 1.0);
        assert!((holds(&set, &stem("configured")) - 0.6).abs() < 0.5);
        assert_eq!(holds(&set, "zebra"), 0.0);
    }

    #[test]
    fn a_term_is_held_by_its_word_its_family_or_its_joined_form() {
        for (passage, question, held) in [
            ("one rollback", "roll back", true),
            ("we roll back now", "rollback", true),
            ("three policies", "policy", true),
            ("configured", "configuration", true),
            ("the port", "part", false),
            ("", "release", false),
            ("releases", "lease", false),
        ] {
            let set = stems(passage);
            let best =
                terms(question).iter().map(|term| holds_term(&set, term)).fold(0.0, f32::max);
            assert_eq!(best > 0.0, held, "{passage} / {question}");
        }
    }

    #[test]
    fn words_are_cut_at_marks_and_every_ideograph_is_one() {
        for (text, expected) in [
            ("snake_case, `--flag`", &["snake", "case", "flag"][..]),
            ("日本 a1", &["日", "本", "a1"]),
            ("Ünïcode’s", &["ünïcode", "s"]),
            ("…", &[]),
        ] {
            let found: Vec<String> = words(text).into_iter().map(|word| word.text).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
