//! Where may a long section be divided? At the coarsest boundary that gives pieces that fit:
//! blocks, then list items and rows, then lines, then words.

use std::ops::Range;

/// Places where a document may be divided, found by the parser, in ascending order.
#[derive(Default)]
pub(super) struct Cuts {
    blocks: Vec<usize>,
    inner: Vec<usize>,
}

impl Cuts {
    /// A block (paragraph, list, code block, table) begins here.
    pub(super) fn block(&mut self, at: usize) {
        push_ascending(&mut self.blocks, at);
    }

    /// A list item, a table row or a nested paragraph begins here.
    pub(super) fn inner(&mut self, at: usize) {
        push_ascending(&mut self.inner, at);
    }
}

fn push_ascending(cuts: &mut Vec<usize>, at: usize) {
    // Footnote definitions may arrive out of order; a cut that would go backwards is not needed.
    if cuts.last().is_none_or(|last| *last < at) {
        cuts.push(at);
    }
}

/// How fine the boundaries are.
#[derive(Clone, Copy)]
enum Level {
    Blocks,
    Inner,
    Lines,
    Words,
    Characters,
}

impl Level {
    const fn finer(self) -> Option<Self> {
        match self {
            Self::Blocks => Some(Self::Inner),
            Self::Inner => Some(Self::Lines),
            Self::Lines => Some(Self::Words),
            Self::Words => Some(Self::Characters),
            Self::Characters => None,
        }
    }
}

/// Divides `range` of `text` into consecutive pieces of at most `bytes_max` bytes. Ranges cover
/// everything except pieces of blanks alone, which are dropped.
pub(super) fn pieces(
    text: &str,
    cuts: &Cuts,
    range: Range<usize>,
    bytes_max: usize,
) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    divide(text, cuts, range, bytes_max, Level::Blocks, &mut found);
    found.retain(|piece| !text[piece.clone()].trim().is_empty());
    found
}

/// At most five levels deep: one for each of [`Level`].
fn divide(
    text: &str,
    cuts: &Cuts,
    range: Range<usize>,
    bytes_max: usize,
    level: Level,
    found: &mut Vec<Range<usize>>,
) {
    if text[range.clone()].trim_end().len() <= bytes_max {
        found.push(range);
        return;
    }
    let mut open = range.start..range.start;
    for segment in segments(text, cuts, &range, bytes_max, level) {
        let together = open.start..segment.end;
        if text[together.clone()].trim_end().len() <= bytes_max {
            open = together;
            continue;
        }
        if !open.is_empty() {
            found.push(open.clone());
        }
        open = segment.clone();
        if text[segment.clone()].trim_end().len() > bytes_max {
            match level.finer() {
                Some(finer) => divide(text, cuts, segment.clone(), bytes_max, finer, found),
                None => found.push(segment.clone()),
            }
            open = segment.end..segment.end;
        }
    }
    if !open.is_empty() {
        found.push(open);
    }
}

/// The consecutive stretches between the boundaries of one level.
fn segments(
    text: &str,
    cuts: &Cuts,
    range: &Range<usize>,
    bytes_max: usize,
    level: Level,
) -> Vec<Range<usize>> {
    let points: Vec<usize> = match level {
        Level::Blocks => within(&cuts.blocks, range).to_vec(),
        Level::Inner => within(&cuts.inner, range).to_vec(),
        Level::Lines => after_each(text, range, |c| c == '\n'),
        Level::Words => after_each(text, range, char::is_whitespace),
        Level::Characters => every(text, range, bytes_max),
    };
    let mut stretches = Vec::with_capacity(points.len() + 1);
    let mut start = range.start;
    for point in points.into_iter().chain([range.end]) {
        if point > start {
            stretches.push(start..point);
            start = point;
        }
    }
    stretches
}

/// The cuts strictly inside a range.
fn within<'a>(cuts: &'a [usize], range: &Range<usize>) -> &'a [usize] {
    let from = cuts.partition_point(|cut| *cut <= range.start);
    let to = cuts.partition_point(|cut| *cut < range.end);
    cuts.get(from..to).unwrap_or_default()
}

fn after_each(text: &str, range: &Range<usize>, ends: fn(char) -> bool) -> Vec<usize> {
    let inside = text[range.clone()].char_indices();
    inside.filter(|(_, c)| ends(*c)).map(|(at, c)| range.start + at + c.len_utf8()).collect()
}

fn every(text: &str, range: &Range<usize>, bytes_max: usize) -> Vec<usize> {
    let mut points = Vec::new();
    let mut at = range.start;
    while range.end - at > bytes_max {
        at = text.floor_char_boundary(at + bytes_max);
        points.push(at);
    }
    points
}
