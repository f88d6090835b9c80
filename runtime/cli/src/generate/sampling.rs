//! Choosing the next token from logits, on the host.
//!
//! In: logits `[vocabulary]`. Out: a token id.
//! Invariant: one seed gives one sequence of choices on every machine (ChaCha8); at temperature 0 the largest logit wins,
//! the lower id on a tie.
//! Source of top-p: Holtzman et al., "The Curious Case of Neural Text Degeneration", arXiv 1904.09751.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Only the most probable tokens that together reach this probability take part; 1 is all.
    pub top_p: f32,
    /// Seed of the random numbers.
    pub seed: u64,
}

/// Logits that no token can be chosen from.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// No logits.
    #[error("the model returned no logits")]
    Empty,
    /// NaN or positive infinity.
    #[error("the model returned the logit {value} for token {id}")]
    NotANumber {
        /// The token.
        id: usize,
        /// Its logit.
        value: f32,
    },
}

/// A stream of choices.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    /// A stream that starts at the seed.
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed) }
    }

    /// The next token.
    ///
    /// # Errors
    /// [`SamplingError`] if there are no logits, or one is NaN or positive infinity: a model's bug, never chosen from.
    pub fn pick(&mut self, logits: &[f32]) -> Result<u32, SamplingError> {
        let broken = |&(_, &value): &(usize, &f32)| value.is_nan() || value == f32::INFINITY;
        if let Some((id, &value)) = logits.iter().enumerate().find(broken) {
            return Err(SamplingError::NotANumber { id, value });
        }
        let best = greedy(logits).ok_or(SamplingError::Empty)?;
        if self.sampling.temperature == 0.0 || logits[best] == f32::NEG_INFINITY {
            return Ok(best as u32);
        }
        Ok(self.draw(logits, logits[best]))
    }

    fn draw(&mut self, logits: &[f32], largest: f32) -> u32 {
        let temperature = f64::from(self.sampling.temperature);
        let weight = |&logit: &f32| (f64::from(logit - largest) / temperature).exp();
        let weights: Vec<f64> = logits.iter().map(weight).collect();
        let total: f64 = weights.iter().sum();
        let wanted = f64::from(self.sampling.top_p) * total;
        let mut nucleus = candidates(&weights, total - wanted);
        let mut kept = 0.0;
        let enough = nucleus.iter().position(|&id| {
            kept += weights[id as usize];
            kept >= wanted
        });
        nucleus.truncate(enough.map_or(nucleus.len(), |last| last + 1));
        let mut left = self.random.random::<f64>() * kept;
        for &id in &nucleus {
            left -= weights[id as usize];
            if left < 0.0 {
                return id;
            }
        }
        nucleus.last().copied().expect("invariant: the largest weight is always a candidate")
    }
}

/// Ids by falling weight, lower ids first on ties. Those that cannot be needed to leave at most `rest` outside are not
/// sorted: n tokens below rest / n together stay below it.
fn candidates(weights: &[f64], rest: f64) -> Vec<u32> {
    let needless = (rest / weights.len() as f64).clamp(0.0, 1.0);
    let mut ids: Vec<u32> = (0..weights.len() as u32).filter(|&id| weights[id as usize] >= needless).collect();
    ids.sort_unstable_by(|&a, &b| weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b)));
    ids
}

/// The index of the largest logit, the lower one on a tie.
fn greedy(logits: &[f32]) -> Option<usize> {
    let better = |best: usize, id: usize| if logits[id] > logits[best] { id } else { best };
    (0..logits.len()).reduce(better)
}

#[cfg(test)]
mod tests {
    use super::{Sampler, Sampling, SamplingError};

    fn picks(temperature: f32, top_p: f32, seed: u64, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(Sampling { temperature, top_p, seed });
        (0..count).map(|_| sampler.pick(logits).expect("finite logits")).collect()
    }

    #[test]
    fn greedy_takes_the_largest_and_the_lower_id_on_a_tie() {
        assert_eq!(picks(0.0, 1.0, 0, &[1.0, 3.0, 3.0, -9.0], 3), [1, 1, 1]);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        // Probabilities 1/7, 2/7, 4/7.
        let logits = [0.0, 2f32.ln(), 4f32.ln()];
        let drawn = picks(1.0, 1.0, 3, &logits, 70_000);
        for (id, expected) in [10_000_f64, 20_000.0, 40_000.0].into_iter().enumerate() {
            let count = drawn.iter().filter(|&&pick| pick as usize == id).count() as f64;
            // Five standard deviations of a binomial count are below 700 here.
            assert!((count - expected).abs() < 700.0, "token {id}: {count} of an expected {expected}");
        }
    }

    #[test]
    fn temperature_sharpens() {
        let logits = [0.0, 1.0];
        let share = |temperature| picks(temperature, 1.0, 5, &logits, 10_000).iter().sum::<u32>();
        assert!(share(0.2) > 9_800 && share(5.0) < 6_000, "{} and {}", share(0.2), share(5.0));
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_it() {
        // Probabilities 0.5, 0.3, 0.2: 0.75 needs the first two, 0.5 the first alone.
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
        assert!(picks(1.0, 0.75, 1, &logits, 2_000).iter().all(|&id| id < 2));
        assert!(picks(1.0, 0.75, 1, &logits, 2_000).contains(&1));
        assert!(picks(1.0, 0.49, 1, &logits, 2_000).iter().all(|&id| id == 0));
        assert!(picks(1.0, 1.0, 1, &logits, 2_000).contains(&2));
        assert!(picks(1.0, 0.0, 1, &logits, 100).iter().all(|&id| id == 0));
    }

    #[test]
    fn a_seed_decides_and_another_seed_differs() {
        let logits: Vec<f32> = (0..100).map(|id| (id % 7) as f32 * 0.1).collect();
        assert_eq!(picks(1.0, 0.9, 7, &logits, 50), picks(1.0, 0.9, 7, &logits, 50));
        assert_ne!(picks(1.0, 0.9, 7, &logits, 50), picks(1.0, 0.9, 8, &logits, 50));
    }

    #[test]
    fn broken_logits_are_errors() {
        let pick = |logits: &[f32]| Sampler::new(Sampling { temperature: 1.0, top_p: 1.0, seed: 0 }).pick(logits);
        assert_eq!(pick(&[]), Err(SamplingError::Empty));
        assert!(matches!(pick(&[0.0, f32::NAN]), Err(SamplingError::NotANumber { id: 1, .. })));
        assert!(matches!(pick(&[f32::INFINITY]), Err(SamplingError::NotANumber { id: 0, .. })));
        assert_eq!(pick(&[f32::NEG_INFINITY, 0.0]), Ok(1));
    }
}
