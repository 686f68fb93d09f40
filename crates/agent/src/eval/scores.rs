//! What do nDCG, recall and MRR mean here?
//!
//! A search's list of passages is first made a list of *sections* (path and heading), each kept at
//! its first rank, and cut at `k`. A section is relevant (gain 1) when the question names it.
//!
//! * `ndcg@k`: Σ 1/log2(rank+1) over the relevant sections in the list, divided by the same sum for
//!   an ideal list (all relevant sections first, at most `k`).
//! * `recall@k`: relevant sections in the list, divided by all relevant sections.
//! * `mrr@k`: 1/rank of the first relevant section in the list, 0 when there is none.
//!
//! A figure of an evaluation is the mean over its questions. Two modes are compared by a paired
//! permutation test (random signs of the differences) with a fixed seed.

use serde::{Deserialize, Serialize};

use super::Relevant;

/// Rounds of the permutation test when there are too many sign patterns to try all.
const PERMUTATION_ROUNDS: u32 = 20_000;
/// Up to so many differences, every pattern of signs is tried.
const EXACT_DIFFERENCES_MAX: usize = 14;

/// The figures of one question, or their means.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct QuestionScores {
    /// Normalised discounted cumulative gain.
    pub ndcg: f64,
    /// Share of the relevant sections that were found.
    pub recall: f64,
    /// Reciprocal rank of the first relevant section.
    pub mrr: f64,
}

/// One section in a ranked list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The document's path.
    pub path: String,
    /// The section's heading.
    pub heading: String,
}

/// What one mode did with one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuestionRow {
    /// The question's id.
    pub id: String,
    /// The mode.
    pub mode: crate::Mode,
    /// The figures.
    pub scores: QuestionScores,
    /// Rank of the first relevant section, from 1.
    pub rank: Option<usize>,
    /// The sections found, best first.
    pub found: Vec<Ranked>,
}

/// The figures of one ranked list, which holds each section once.
pub fn score_question(
    found: &[Ranked],
    relevant: &[Relevant],
    k: usize,
) -> (QuestionScores, Option<usize>) {
    let hit = |section: &Ranked| {
        relevant.iter().any(|known| known.path == section.path && known.heading == section.heading)
    };
    let hits: Vec<usize> = found
        .iter()
        .take(k)
        .enumerate()
        .filter(|(_, section)| hit(section))
        .map(|(index, _)| index + 1)
        .collect();
    let gain = |rank: usize| 1.0 / ((rank + 1) as f64).log2();
    let ideal: f64 = (1..=relevant.len().min(k)).map(gain).sum();
    let first = hits.first().copied();
    let scores = QuestionScores {
        ndcg: if ideal > 0.0 {
            hits.iter().map(|rank| gain(*rank)).sum::<f64>() / ideal
        } else {
            0.0
        },
        recall: if relevant.is_empty() { 0.0 } else { hits.len() as f64 / relevant.len() as f64 },
        mrr: first.map_or(0.0, |rank| 1.0 / rank as f64),
    };
    (scores, first)
}

/// The means.
pub fn mean_scores(rows: &[QuestionScores]) -> QuestionScores {
    let count = rows.len().max(1) as f64;
    let mean = |part: fn(&QuestionScores) -> f64| rows.iter().map(part).sum::<f64>() / count;
    QuestionScores { ndcg: mean(|r| r.ndcg), recall: mean(|r| r.recall), mrr: mean(|r| r.mrr) }
}

/// How often would chance alone make a mean difference this large, in either direction? Exact for
/// few differences, else over a fixed number of random sign patterns.
pub fn paired_permutation_p(one: &[f64], two: &[f64]) -> f64 {
    let differences: Vec<f64> =
        one.iter().zip(two).map(|(a, b)| a - b).filter(|d| d.abs() > 1e-12).collect();
    if differences.is_empty() {
        return 1.0;
    }
    let observed = differences.iter().sum::<f64>().abs() - 1e-9;
    let signed = |bits: &mut dyn FnMut() -> bool| {
        differences.iter().map(|d| if bits() { *d } else { -*d }).sum::<f64>().abs()
    };
    if differences.len() <= EXACT_DIFFERENCES_MAX {
        let patterns = 1_u32 << differences.len();
        let extreme = (0..patterns)
            .filter(|pattern| {
                let mut rest = *pattern;
                signed(&mut || {
                    let bit = rest & 1 == 1;
                    rest >>= 1;
                    bit
                }) >= observed
            })
            .count();
        return extreme as f64 / f64::from(patterns);
    }
    let mut random = SplitMix(0x5e87_a27e);
    let extreme = (0..PERMUTATION_ROUNDS)
        .filter(|_| signed(&mut || random.next() >> 63 == 1) >= observed)
        .count();
    // The observed pattern itself is one of the patterns.
    (extreme as f64 + 1.0) / (f64::from(PERMUTATION_ROUNDS) + 1.0)
}

/// A small generator with a fixed seed: the same report for the same data, everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(names: &str) -> Vec<Ranked> {
        names.chars().map(|c| Ranked { path: format!("{c}.md"), heading: c.to_string() }).collect()
    }

    fn check(found: &str, relevant: &str, k: usize, expected: [f64; 3], first: Option<usize>) {
        let relevant: Vec<_> = sections(relevant)
            .into_iter()
            .map(|s| Relevant { path: s.path, heading: s.heading })
            .collect();
        let (scores, rank) = score_question(&sections(found), &relevant, k);
        let [ndcg, recall, mrr] = expected;
        assert!((scores.ndcg - ndcg).abs() < 1e-9, "ndcg {} {ndcg}", scores.ndcg);
        assert!((scores.recall - recall).abs() < 1e-9, "recall {}", scores.recall);
        assert!((scores.mrr - mrr).abs() < 1e-9, "mrr {}", scores.mrr);
        assert_eq!(rank, first);
    }

    #[test]
    fn hand_computed_cases() {
        check("abc", "a", 10, [1.0, 1.0, 1.0], Some(1));
        check("abc", "b", 10, [0.630_929_753_571_457_4, 1.0, 0.5], Some(2));
        check("abc", "c", 10, [0.5, 1.0, 1.0 / 3.0], Some(3));
        check("abc", "z", 10, [0.0, 0.0, 0.0], None);
        check("", "a", 10, [0.0, 0.0, 0.0], None);
        check("abc", "c", 2, [0.0, 0.0, 0.0], None);
        // Two relevant at ranks 1 and 3: (1 + 1/2) / (1 + 1/log2 3).
        check("axb", "ab", 10, [1.5 / 1.630_929_753_571_457_4, 1.0, 1.0], Some(1));
        // One of two found at rank 2.
        check(
            "xa",
            "ab",
            10,
            [0.630_929_753_571_457_4 / 1.630_929_753_571_457_4, 0.5, 0.5],
            Some(2),
        );
        // More relevant than k: the ideal list is cut too.
        check("ab", "abc", 2, [1.0, 2.0 / 3.0, 1.0], Some(1));
    }

    #[test]
    fn a_section_counts_only_when_path_and_heading_agree() {
        let relevant = [Relevant { path: "a.md".into(), heading: "B".into() }];
        let (scores, _) = score_question(&sections("ab"), &relevant, 10);
        assert_eq!(scores, QuestionScores::default());
    }

    #[test]
    fn chance_is_measured() {
        assert_eq!(paired_permutation_p(&[1.0, 0.5], &[1.0, 0.5]), 1.0);
        // Three equal differences: 2 of 8 patterns are as extreme.
        assert!((paired_permutation_p(&[1.0; 3], &[0.0; 3]) - 0.25).abs() < 1e-12);
        let (one, two) = (vec![1.0; 40], vec![0.0; 40]);
        assert!(paired_permutation_p(&one, &two) < 1e-3);
        let mixed: Vec<f64> = (0..40).map(|i| f64::from(i % 2)).collect();
        let flipped: Vec<f64> = (0..40).map(|i| f64::from((i + 1) % 2)).collect();
        assert!(paired_permutation_p(&mixed, &flipped) > 0.5);
    }
}
