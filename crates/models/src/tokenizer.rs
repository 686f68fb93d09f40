//! Which pieces are texts made of? Byte-pair encoding learned from the corpus and saved as an
//! ordinary `tokenizer.json`. The same corpus gives the same bytes.

use std::collections::{BTreeMap, HashSet};

use tokenizers::{
    AddedToken, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Tokenizer, Trainer, TruncationParams,
    models::bpe::{BPE, BpeTrainer},
    normalizers::{Lowercase, NFKC, Sequence as Normalizers},
    pre_tokenizers::{
        bert::BertPreTokenizer,
        metaspace::{Metaspace, PrependScheme},
        sequence::Sequence as PreTokenizers,
    },
};

use crate::{BYTES_PER_TOKEN_MAX, ModelsError, WINDOWS_MAX};

/// Fills nothing here (texts lie end to end), but every reader of the file expects it.
const PAD: &str = "[PAD]";
/// Stands for a character that the corpus did not have, and for an empty text.
const UNKNOWN: &str = "[UNK]";
/// Most different characters that are kept, the most frequent first.
const ALPHABET_MAX: usize = 1_000;
/// A pair of pieces seen less often is not joined.
const FREQUENCY_MIN: u64 = 2;

fn fail(error: impl std::fmt::Display) -> ModelsError {
    ModelsError::Tokenizer { reason: error.to_string() }
}

fn normalizer() -> Normalizers {
    Normalizers::new(vec![NormalizerWrapper::NFKC(NFKC), NormalizerWrapper::Lowercase(Lowercase)])
}

/// Words and punctuation; each begins with a mark, so that the start of a word differs from its
/// middle.
fn pre_tokenizer() -> PreTokenizers {
    PreTokenizers::new(vec![
        PreTokenizerWrapper::BertPreTokenizer(BertPreTokenizer),
        PreTokenizerWrapper::Metaspace(Metaspace::new('▁', PrependScheme::Always, true)),
    ])
}

/// Learns a tokenizer of at most `vocab` tokens and returns its `tokenizer.json`.
///
/// # Errors
/// When the corpus has no text, or the tokenizer library refuses.
pub fn train_tokenizer<'a>(
    corpus: impl Iterator<Item = &'a str>,
    vocab: usize,
    max_tokens: usize,
) -> Result<Vec<u8>, ModelsError> {
    let words = count_words(corpus)?;
    if words.is_empty() {
        return Err(fail("the corpus has no words"));
    }
    let alphabet = alphabet(&words, vocab);
    let kept = words.iter().filter(|(word, _)| word.chars().all(|c| alphabet.contains(&c)));
    let special = [PAD, UNKNOWN].map(|token| AddedToken::from(token, true));
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab)
        .min_frequency(FREQUENCY_MIN)
        .show_progress(false)
        .special_tokens(special.to_vec())
        .initial_alphabet(alphabet.iter().copied().collect())
        .build();
    let repeated: Vec<&str> =
        kept.flat_map(|(word, count)| std::iter::repeat_n(word.as_str(), *count)).collect();
    trainer.feed(repeated.into_iter(), |word| Ok(vec![word.to_owned()])).map_err(fail)?;
    let mut model =
        BPE::builder().unk_token(UNKNOWN.to_owned()).fuse_unk(true).build().map_err(fail)?;
    let special = trainer.train(&mut model).map_err(fail)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer())).map_err(fail)?;
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer()));
    tokenizer.add_special_tokens(special).map_err(fail)?;
    let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(fail)?;
    let mut text = tokenizer.to_string(true).map_err(fail)?;
    text.push('\n');
    Ok(text.into_bytes())
}

fn count_words<'a>(
    corpus: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, usize>, ModelsError> {
    let (normalizer, pre_tokenizer) = (normalizer(), pre_tokenizer());
    let mut words = BTreeMap::new();
    for text in corpus {
        let mut text = NormalizedString::from(text);
        normalizer.normalize(&mut text).map_err(fail)?;
        let mut pieces = PreTokenizedString::from(text);
        pre_tokenizer.pre_tokenize(&mut pieces).map_err(fail)?;
        for (word, _, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::None) {
            *words.entry(word.to_owned()).or_insert(0) += 1;
        }
    }
    Ok(words)
}

/// The most frequent characters, in a fixed order where counts are equal. The trainer's own limit
/// leaves that order to chance.
fn alphabet(words: &BTreeMap<String, usize>, vocab: usize) -> HashSet<char> {
    let mut counts = BTreeMap::<char, usize>::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    let mut order: Vec<(char, usize)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(ALPHABET_MAX.min(vocab / 2));
    order.into_iter().map(|(c, _)| c).collect()
}

/// A tokenizer that turns texts into ids within a model's limits.
pub(crate) struct TextEncoder {
    tokenizer: Tokenizer,
    unknown: u32,
    max_tokens: usize,
}

impl TextEncoder {
    pub(crate) fn from_bytes(json: &[u8], max_tokens: usize) -> Result<Self, ModelsError> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(fail)?;
        // Cut here, not by the file: a file of another maker may leave it out.
        tokenizer.with_truncation(None).map_err(fail)?;
        tokenizer.with_padding(None);
        let Some(unknown) = tokenizer.token_to_id(UNKNOWN) else {
            return Err(fail(format!("it has no `{UNKNOWN}` token")));
        };
        Ok(Self { tokenizer, unknown, max_tokens })
    }

    /// One more than the largest id.
    pub(crate) fn vocab_size(&self) -> usize {
        let most = self.tokenizer.get_vocab(true).into_values().max();
        most.map_or(0, |id| id as usize + 1)
    }

    /// The ids of a text's first window: at least one, at most the model's limit.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, ModelsError> {
        let mut ids = self.ids(text, 1)?;
        ids.truncate(self.max_tokens);
        Ok(ids)
    }

    /// The ids of a text in windows of the model's limit, of like length: at least one window, none
    /// empty.
    pub(crate) fn windows(&self, text: &str) -> Result<Vec<Vec<u32>>, ModelsError> {
        let mut ids = self.ids(text, WINDOWS_MAX)?;
        ids.truncate(self.max_tokens * WINDOWS_MAX);
        let length = ids.len().div_ceil(ids.len().div_ceil(self.max_tokens));
        Ok(ids.chunks(length).map(<[u32]>::to_vec).collect())
    }

    /// The ids of as much of a text as so many windows can hold; at least one.
    fn ids(&self, text: &str, windows: usize) -> Result<Vec<u32>, ModelsError> {
        let most = self.max_tokens * windows * BYTES_PER_TOKEN_MAX;
        let end = text.floor_char_boundary(text.len().min(most));
        let encoding = self.tokenizer.encode_fast(&text[..end], false).map_err(fail)?;
        let ids = encoding.get_ids();
        Ok(if ids.is_empty() { vec![self.unknown] } else { ids.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{TextEncoder, train_tokenizer};

    const CORPUS: &[&str] = &[
        "A release pins one version of every asset. A release is the only thing that serves.",
        "Every answer remembers its release; every release remembers its assets.",
        "Ｆｕｌｌ width becomes plain, ﬁ becomes two letters. Zwölf Boxkämpfer, 日本語",
        "rollback, roll back, rolled back, rolling",
    ];

    #[test]
    fn the_same_corpus_gives_the_same_bytes_in_any_order() {
        let first = train_tokenizer(CORPUS.iter().copied(), 200, 32).unwrap();
        for _ in 0..8 {
            assert_eq!(first, train_tokenizer(CORPUS.iter().rev().copied(), 200, 32).unwrap());
        }
    }

    #[test]
    fn words_that_repeat_become_one_token_whatever_their_case() {
        let json = train_tokenizer(CORPUS.iter().copied(), 200, 4).unwrap();
        let encoder = TextEncoder::from_bytes(&json, 4).unwrap();
        let ids = encoder.encode("release").unwrap();
        assert_eq!(ids.len(), 1);
        assert_eq!(ids, encoder.encode("  ＲＥＬＥＡＳＥ ").unwrap());
        assert_eq!(encoder.encode("").unwrap(), [1]);
        assert_eq!(encoder.encode("☃☃").unwrap().last(), Some(&1));
        assert_eq!(encoder.encode(&"release ".repeat(100_000)).unwrap().len(), 4);
        assert!(encoder.vocab_size() <= 200);
    }

    #[test]
    fn a_long_text_is_read_in_windows_of_like_length() {
        let json = train_tokenizer(CORPUS.iter().copied(), 200, 4).unwrap();
        let encoder = TextEncoder::from_bytes(&json, 4).unwrap();
        let lengths =
            |text: &str| encoder.windows(text).unwrap().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(""), [1]);
        assert_eq!(lengths(&"release ".repeat(4)), [4]);
        assert_eq!(lengths(&"release ".repeat(6)), [3, 3]);
        assert_eq!(lengths(&"release ".repeat(100_000)), [4; crate::WINDOWS_MAX]);
    }

    #[test]
    fn nothing_to_learn_from_and_nothing_to_read_are_errors() {
        assert!(train_tokenizer(["  ", ""].into_iter(), 200, 4).is_err());
        assert!(TextEncoder::from_bytes(b"{}", 4).is_err());
        assert!(TextEncoder::from_bytes(b"", 4).is_err());
    }
}
