//! Which pairs are in a step's batch? A function of the seed and the step only, so that a resumed
//! training sees what an uninterrupted one would.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::TrainSpec;

/// Which of `pairs` pairs a step shows, counted from 0, in order. For another trainer to repeat.
pub fn batch_indices(spec: &TrainSpec, pairs: usize, step: u64) -> Vec<usize> {
    Batches::new(spec.seed, pairs, spec.batch).at(step)
}

/// Walks through shuffled epochs of `pairs` indices.
pub(crate) struct Batches {
    seed: u64,
    pairs: usize,
    batch: usize,
    /// The last epoch's number and order.
    epoch: Option<(u64, Vec<u32>)>,
}

impl Batches {
    pub(crate) fn new(seed: u64, pairs: usize, batch: usize) -> Self {
        Self { seed, pairs, batch: batch.min(pairs), epoch: None }
    }

    /// The pairs of a step, counted from 0.
    pub(crate) fn at(&mut self, step: u64) -> Vec<usize> {
        let first = step * self.batch as u64;
        (first..first + self.batch as u64).map(|position| self.pair(position)).collect()
    }

    fn pair(&mut self, position: u64) -> usize {
        let (epoch, within) =
            (position / self.pairs as u64, (position % self.pairs as u64) as usize);
        match &self.epoch {
            Some((number, order)) if *number == epoch => order[within] as usize,
            _ => {
                let mut order: Vec<u32> = (0..self.pairs as u32).collect();
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5EED_0FBA_7C4E_5000);
                rng.set_stream(epoch);
                order.shuffle(&mut rng);
                let pair = order[within] as usize;
                self.epoch = Some((epoch, order));
                pair
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Batches;

    #[test]
    fn an_epoch_shows_each_pair_once_and_any_step_can_be_asked_first() {
        let mut walk = Batches::new(3, 10, 4);
        let seen: Vec<Vec<usize>> = (0..10).map(|step| walk.at(step)).collect();
        for epoch in seen.concat().chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(Batches::new(3, 10, 4).at(7), seen[7]);
        assert_ne!(Batches::new(4, 10, 4).at(7), seen[7]);
        assert_eq!(Batches::new(3, 2, 64).at(0).len(), 2);
    }
}
