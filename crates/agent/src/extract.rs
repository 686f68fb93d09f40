//! Which sentences of the passages answer the question, word for word? Or does none?
//!
//! A unit (sentence, list item, code block, table) is scored by how much of the question's meaning
//! it holds itself and together with its heading. Words that are rare among the passages weigh
//! more, and a word that no passage holds weighs most: that is what makes the reader abstain. Every
//! quote is a slice of a passage, so its byte range in the raw document is exact.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    AgentError, Passage, Thresholds,
    asks::Asks,
    blocks::{Unit, UnitKind, units},
    words::{Term, holds_term, stems, terms, words},
};

/// A code block or list that completes a sentence is quoted with it up to this size.
const ATTACHED_BYTES_MAX: usize = 700;
/// A unit longer than this says too much at once to be a good quote.
const LONG_UNIT_BYTES: usize = 450;

/// A further quote must score at least this share of the best one. One of another passage has no
/// part in the first quote's context, so it must be nearly as good.
const SAME_PASSAGE_SHARE: f32 = 0.8;
const OTHER_PASSAGE_SHARE: f32 = 0.88;
/// And its own words must hold at least this share of what the first one's own words hold.
const OWN_WORDS_SHARE: f32 = 0.6;
/// How much the search's own judgement of a passage counts beside the words of a unit.
const SEARCH_WEIGHT: f32 = 0.3;

/// A slice of a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Which passage, counted from 0 in the order of the search.
    pub passage: usize,
    /// The bytes of the passage's body.
    pub range: Range<usize>,
}

/// What the reader found.
#[derive(Debug, Clone, PartialEq)]
pub struct Extraction {
    /// The quotes in reading order; empty when nothing supports an answer.
    pub quotes: Vec<Quote>,
    /// The share of the question's meaning that the best passage holds, 0 to 1.
    pub support: f32,
    /// Words of the question that no passage holds.
    pub missing: Vec<String>,
    /// The passage that comes closest.
    pub closest: Option<usize>,
}

/// Chooses quotes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractiveReader {
    /// When to abstain and how much to quote.
    pub thresholds: Thresholds,
}

/// A unit that may be quoted.
struct Candidate {
    passage: usize,
    unit: usize,
    kind: UnitKind,
    stems: BTreeSet<String>,
    score: f32,
    /// The share of the question's meaning that its own words hold.
    alone: f32,
    /// The same together with its headings.
    near: f32,
}

/// A passage as the reader sees it.
struct Page {
    units: Vec<Unit>,
    heading: BTreeSet<String>,
    context: BTreeSet<String>,
    all: BTreeSet<String>,
}

impl ExtractiveReader {
    /// Reads the passages. `earlier` is the question before this one, when this one leans on it.
    ///
    /// # Errors
    /// When a passage's text does not fit its byte range.
    pub fn read(
        &self,
        question: &str,
        earlier: Option<&str>,
        passages: &[Passage],
    ) -> Result<Extraction, AgentError> {
        let pages = passages.iter().map(page).collect::<Result<Vec<_>, _>>()?;
        let terms = weigh(question, earlier, &pages);
        let missing = missing_terms(&terms, &pages);
        let candidates = candidates(question, &terms, passages, &pages);
        let mut best = (0.0_f32, None);
        for (index, page) in pages.iter().enumerate() {
            let near = candidates
                .iter()
                .filter(|candidate| candidate.passage == index)
                .map(|candidate| candidate.near)
                .fold(0.0, f32::max);
            let support = 0.5 * coverage(&terms, &[&page.all]) + 0.5 * near;
            if support > best.0 {
                best = (support, Some(index));
            }
        }
        let quotes = if best.0 < self.thresholds.abstain_below {
            Vec::new()
        } else {
            self.choose(question, &terms, passages, &pages, candidates)
        };
        Ok(Extraction { quotes, support: best.0, missing, closest: best.1 })
    }

    fn choose(
        &self,
        question: &str,
        terms: &[Term],
        passages: &[Passage],
        pages: &[Page],
        mut candidates: Vec<Candidate>,
    ) -> Vec<Quote> {
        candidates.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then((a.passage, a.unit).cmp(&(b.passage, b.unit)))
        });
        let Some(top) = candidates.first().map(|candidate| candidate.score) else {
            return Vec::new();
        };
        let mut chosen: Vec<Quote> = Vec::new();
        let mut covered: BTreeSet<String> = BTreeSet::new();
        let mut picked: Vec<&Candidate> = Vec::new();
        let mut bytes = 0;
        for candidate in &candidates {
            let first = picked.is_empty();
            if picked.len() >= self.thresholds.quotes_max {
                break;
            }
            if picked.first().is_some_and(|best| !stands_beside(candidate, best)) {
                continue;
            }
            let before = coverage(terms, &[&covered]);
            let after = coverage(terms, &[&covered, &candidate.stems]);
            let same = picked.first().is_some_and(|best| best.passage == candidate.passage);
            let close = same && candidate.score >= 0.9 * top && candidate.near >= 0.5;
            if !first && after - before < 0.12 && !close {
                continue;
            }
            if picked.iter().any(|other| similar(&other.stems, &candidate.stems) > 0.6) {
                continue;
            }
            let page = &pages[candidate.passage];
            let body = &passages[candidate.passage].body;
            let range = completed(question, body, &page.units, candidate.unit);
            if chosen.iter().any(|quote| holds_range(quote, candidate.passage, &range)) {
                continue;
            }
            if !first && bytes + range.len() > self.thresholds.quote_bytes_max {
                continue;
            }
            bytes += range.len();
            covered.extend(stems(&body[range.clone()]));
            covered.extend(page.heading.iter().cloned());
            chosen.push(Quote { passage: candidate.passage, range });
            picked.push(candidate);
        }
        merged(passages, chosen)
    }
}

/// Whether a unit is good enough to be quoted after the best one.
fn stands_beside(candidate: &Candidate, best: &Candidate) -> bool {
    let same = candidate.passage == best.passage;
    if candidate.kind == UnitKind::Code && !same {
        // An example of something else says less than nothing.
        return false;
    }
    let share = if same { SAME_PASSAGE_SHARE } else { OTHER_PASSAGE_SHARE };
    candidate.score >= share * best.score && candidate.alone >= OWN_WORDS_SHARE * best.alone
}

/// The unit of a passage that comes closest to a sentence: what a generator's citation points at.
pub(crate) fn closest_unit(sentence: &str, body: &str) -> Option<Range<usize>> {
    let wanted = stems(sentence);
    units(body)
        .into_iter()
        .map(|unit| (similar(&wanted, &stems(&body[unit.range.clone()])), unit.range))
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.start.cmp(&a.1.start)))
        .map(|(_, range)| range)
}

fn page(passage: &Passage) -> Result<Page, AgentError> {
    let range = passage.byte_end.saturating_sub(passage.byte_start);
    if range != passage.body.len() as u64 {
        return Err(AgentError::PassageRange {
            chunk: passage.chunk.to_string(),
            path: passage.path.clone(),
            body: passage.body.len(),
            range,
        });
    }
    let heading = stems(&passage.heading);
    let mut context = stems(&format!("{} {}", passage.breadcrumb, passage.path));
    context.extend(heading.iter().cloned());
    let mut all = stems(&passage.body);
    all.extend(context.iter().cloned());
    Ok(Page { units: units(&passage.body), heading, context, all })
}

/// The question's terms with their weights among these passages.
fn weigh(question: &str, earlier: Option<&str>, pages: &[Page]) -> Vec<Term> {
    let mut found = terms(question);
    for mut term in earlier.map(terms).unwrap_or_default() {
        if found.iter().all(|known| known.stem != term.stem) {
            term.weight *= 0.5;
            found.push(term);
        }
    }
    let count = pages.len() as f32;
    for term in &mut found {
        let holding: f32 = pages.iter().map(|page| holds_term(&page.all, term)).sum();
        term.weight *= 1.0 + 0.5 * ((count + 1.0) / (holding + 1.0)).ln();
    }
    found
}

fn missing_terms(terms: &[Term], pages: &[Page]) -> Vec<String> {
    terms
        .iter()
        .filter(|term| term.weight >= 0.9)
        .filter(|term| pages.iter().all(|page| holds_term(&page.all, term) == 0.0))
        .map(|term| term.text.clone())
        .collect()
}

/// The weighted share of the terms that any of the sets holds.
fn coverage(terms: &[Term], sets: &[&BTreeSet<String>]) -> f32 {
    let all: f32 = terms.iter().map(|term| term.weight).sum();
    let held: f32 = terms
        .iter()
        .map(|term| {
            let best = sets.iter().map(|set| holds_term(set, term)).fold(0.0, f32::max);
            best * term.weight
        })
        .sum();
    if all > 0.0 { held / all } else { 0.0 }
}

fn candidates(
    question: &str,
    terms: &[Term],
    passages: &[Passage],
    pages: &[Page],
) -> Vec<Candidate> {
    let asks = Asks::of(question);
    let mut found = Vec::new();
    for (index, page) in pages.iter().enumerate() {
        let heading = coverage(terms, &[&page.heading]);
        let whole = coverage(terms, &[&page.all]);
        for (position, unit) in page.units.iter().enumerate() {
            let text = &passages[index].body[unit.range.clone()];
            let own_stems = stems(text);
            let alone = coverage(terms, &[&own_stems]);
            let near = coverage(terms, &[&own_stems, &page.context]);
            if alone == 0.0 && heading < 0.3 {
                continue;
            }
            let mut score = 0.55 * alone + 0.3 * near + 0.2 * heading + 0.25 * whole;
            score += SEARCH_WEIGHT * share_of_best(passages, index);
            score += asks.bonus(text, unit.kind, position);
            if unit.range.len() > LONG_UNIT_BYTES {
                score -= 0.1;
            }
            if words(text).len() < 4 && unit.kind != UnitKind::Code {
                score -= 0.2;
            }
            found.push(Candidate {
                passage: index,
                unit: position,
                kind: unit.kind,
                stems: own_stems,
                score,
                alone,
                near,
            });
        }
    }
    found
}

/// A passage's score in the search as a share of the best one, 0 to 1.
fn share_of_best(passages: &[Passage], index: usize) -> f32 {
    let best = passages.iter().map(|passage| passage.score).fold(0.0, f32::max);
    let own = passages.get(index).map_or(0.0, |passage| passage.score);
    if best > 0.0 { (own / best).max(0.0) } else { 0.0 }
}

/// Share of the smaller set that both hold.
fn similar(one: &BTreeSet<String>, two: &BTreeSet<String>) -> f32 {
    let least = one.len().min(two.len());
    if least == 0 {
        return 0.0;
    }
    one.intersection(two).count() as f32 / least as f32
}

/// Words that lean on the sentence before.
const LEANING: &[&str] = &[
    "it",
    "this",
    "that",
    "they",
    "these",
    "those",
    "then",
    "but",
    "so",
    "also",
    "otherwise",
    "however",
    "both",
    "its",
    "their",
    "and",
    "instead",
    "there",
    "such",
];

/// The unit with what it needs to be read alone: the sentence before when it leans on it, the list
/// or code after a colon, the sentence that introduces a code block or a list.
fn completed(question: &str, body: &str, units: &[Unit], index: usize) -> Range<usize> {
    let unit = &units[index];
    let (mut first, mut last) = (index, index);
    let text = |at: usize| &body[units[at].range.clone()];
    let before = index.checked_sub(1);
    let introduces = |at: usize| units[at].kind == UnitKind::Sentence && text(at).ends_with(':');
    match unit.kind {
        UnitKind::Sentence => {
            let opening = words(text(index)).into_iter().next().map(|w| w.text).unwrap_or_default();
            if let Some(at) = before
                && units[at].block == unit.block
                && LEANING.contains(&opening.as_str())
            {
                first = at;
            }
        }
        UnitKind::Code | UnitKind::Table => match before {
            Some(at) if units[at].kind == UnitKind::Sentence => first = at,
            None if units.get(index + 1).is_some_and(|next| next.kind == UnitKind::Sentence) => {
                last = index + 1;
            }
            _ => {}
        },
        UnitKind::Item => {}
    }
    let how = question.trim_start().to_lowercase().starts_with("how");
    let shown = units.get(index + 1).is_some_and(|next| next.kind == UnitKind::Code);
    if introduces(index) || (how && shown && unit.kind == UnitKind::Sentence) {
        last = attached(units, index);
    }
    units[first].range.start..units[last].range.end
}

/// The last unit of the block that follows, when it is small enough to be quoted whole.
fn attached(units: &[Unit], index: usize) -> usize {
    let Some(next) = units.get(index + 1) else { return index };
    if next.kind == UnitKind::Sentence {
        return index;
    }
    let mut last = index;
    for (at, unit) in units.iter().enumerate().skip(index + 1) {
        let size = unit.range.end - next.range.start;
        if unit.block != next.block || size > ATTACHED_BYTES_MAX {
            break;
        }
        last = at;
    }
    last
}

fn holds_range(quote: &Quote, passage: usize, range: &Range<usize>) -> bool {
    quote.passage == passage && quote.range.start <= range.start && range.end <= quote.range.end
}

/// Joins quotes that touch or overlap, and puts the quotes of one passage in reading order, the
/// best passage first.
fn merged(passages: &[Passage], chosen: Vec<Quote>) -> Vec<Quote> {
    let mut order: Vec<usize> = Vec::new();
    for quote in &chosen {
        if !order.contains(&quote.passage) {
            order.push(quote.passage);
        }
    }
    let mut found: Vec<Quote> = Vec::new();
    for passage in order {
        let mut ranges: Vec<Range<usize>> =
            chosen.iter().filter(|q| q.passage == passage).map(|q| q.range.clone()).collect();
        ranges.sort_by_key(|range| range.start);
        let body = &passages[passage].body;
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last)
                    if range.start <= last.end || body[last.end..range.start].trim().is_empty() =>
                {
                    last.end = last.end.max(range.end);
                }
                _ => joined.push(range),
            }
        }
        found.extend(joined.into_iter().map(|range| Quote { passage, range }));
    }
    found
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;

#[cfg(test)]
pub(crate) use tests::support as tests_support;
