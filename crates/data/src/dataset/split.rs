//! Which split does a row belong to? Decided by a hash of the seed and the row's key alone, so that
//! rows added later move nobody.

use std::collections::BTreeMap;

use sextant_core::DigestHasher;

/// How far the shares may be from adding up to 1.
const TOLERANCE: f64 = 1e-6;

/// The splits in the order of their names, each with the upper end of its range in 0..1.
#[derive(Debug, Clone)]
pub(crate) struct Splits {
    seed: u64,
    ends: Vec<(String, f64)>,
}

impl Splits {
    /// From the shares as written.
    pub(crate) fn new(shares: &BTreeMap<String, f64>, seed: u64) -> Result<Self, String> {
        if shares.is_empty() {
            return Err("there is no split".to_owned());
        }
        let mut end = 0.0;
        let mut ends = Vec::with_capacity(shares.len());
        for (name, share) in shares {
            if !share.is_finite() || *share <= 0.0 {
                return Err(format!("the share of `{name}` is {share}, not above 0"));
            }
            end += share;
            ends.push((name.clone(), end));
        }
        if (end - 1.0).abs() > TOLERANCE {
            return Err(format!("the shares of the splits add up to {end}, not to 1"));
        }
        Ok(Self { seed, ends })
    }

    /// The names in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().map(|(name, _)| name.as_str())
    }

    /// The index of the split of the row with this key.
    pub(crate) fn of(&self, key: &[u8]) -> usize {
        let mut hasher = DigestHasher::new();
        hasher.update(self.seed.to_le_bytes()).update(key);
        let digest = hasher.finish();
        let mut first = [0_u8; 8];
        first.copy_from_slice(&digest.as_raw()[..8]);
        // 53 bits fill a float exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let at = (u64::from_be_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64;
        let last = self.ends.len() - 1;
        self.ends.iter().position(|(_, end)| at < *end).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shares(parts: &[(&str, f64)]) -> BTreeMap<String, f64> {
        parts.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
    }

    #[test]
    fn shares_are_met_and_the_seed_matters() {
        let ninety = shares(&[("train", 0.9), ("validation", 0.1)]);
        let one = Splits::new(&ninety, 1).unwrap();
        let two = Splits::new(&ninety, 2).unwrap();
        let keys: Vec<String> = (0..10_000).map(|n| format!("row {n}")).collect();
        let held = keys.iter().filter(|key| one.of(key.as_bytes()) == 1).count();
        assert!((900..1100).contains(&held), "{held}");
        assert!(keys.iter().any(|key| one.of(key.as_bytes()) != two.of(key.as_bytes())));
        assert_eq!(one.names().collect::<Vec<_>>(), ["train", "validation"]);
    }

    #[test]
    fn bad_shares_are_refused() {
        for parts in [&[][..], &[("a", 0.5)], &[("a", 1.5), ("b", -0.5)], &[("a", f64::NAN)]] {
            assert!(Splits::new(&shares(parts), 0).is_err(), "{parts:?}");
        }
    }
}
