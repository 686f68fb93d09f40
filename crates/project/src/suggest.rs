//! Which known word did the user probably mean?

/// The candidate nearest to `word` by edits, when it is near enough to be worth naming.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let reach = (word.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= reach || related(word, candidate))
        .min_by_key(|(edits, candidate)| (*edits, candidate.len()))
        .map(|(_, candidate)| candidate.to_owned())
}

/// One contains the other, or they begin alike, for long enough to mean something.
fn related(word: &str, candidate: &str) -> bool {
    let alike = word.chars().zip(candidate.chars()).take_while(|(left, right)| left == right);
    let contains = word.contains(candidate) || candidate.contains(word);
    alike.count() >= 4 || (contains && word.len().min(candidate.len()) >= 4)
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().flat_map(char::to_lowercase).take(128).collect();
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).take(128).collect();
    let width = right.len() + 1;
    let mut table = vec![0_usize; (left.len() + 1) * width];
    for (column, cell) in table.iter_mut().take(width).enumerate() {
        *cell = column;
    }
    for i in 1..=left.len() {
        table[i * width] = i;
        for j in 1..=right.len() {
            let cost = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (table[(i - 1) * width + j] + 1)
                .min(table[i * width + j - 1] + 1)
                .min(table[(i - 1) * width + j - 1] + cost);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(table[(i - 2) * width + j - 2] + 1);
            }
            table[i * width + j] = best;
        }
    }
    table[left.len() * width + right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_was_probably_meant() {
        let known = ["models/sections", "sources/manual", "jobs", "timeout_s", "retries"];
        for (word, expected) in [
            ("models/sectoins", Some("models/sections")),
            ("job", Some("jobs")),
            ("timeout", Some("timeout_s")),
            ("retry", Some("retries")),
            ("sections", Some("models/sections")),
            ("zebra", None),
        ] {
            assert_eq!(nearest(word, known).as_deref(), expected, "{word}");
        }
    }
}
