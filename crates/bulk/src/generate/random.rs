//! The generator's own seeded randomness: small, fast, the same on every machine.
//!
//! Main type: [`Random`], a SplitMix64 stream. Each patient and each shared record has its own stream, named by the
//! population's seed, a [`Stream`] and an index, so that any of them can be made alone and in any order. Integers only:
//! floating point could differ between machines. It is not fit for secrets.

use super::uuid::Uuid;

/// What a stream of random numbers is for; streams of different purposes never overlap by design of the mixing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Person = 1,
    History,
    Practitioner,
    Specialist,
    Practice,
    Hospital,
    Location,
    HospitalLocation,
    Role,
    SpecialistRole,
    Payer,
    Sample,
    Membership,
}

/// A stream of random numbers; the same arguments of [`Random::stream`] give the same numbers.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// Opens the stream of one record.
    pub(super) fn stream(seed: u64, stream: Stream, index: u32) -> Self {
        let purpose = mix(seed ^ mix(stream as u64));
        Self {
            state: mix(purpose.wrapping_add(u64::from(index))),
        }
    }

    /// Draws 64 bits.
    #[inline]
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// Draws a number from 0 to `end`, without `end`.
    #[inline]
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// Draws a number from `low` to `high`, both included.
    #[inline]
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// Draws a number from a bell curve about `mean` that ends at `mean ± 2 · spread`.
    #[inline]
    pub(super) fn around(&mut self, mean: i64, spread: i64) -> i64 {
        // The sum of four 16-bit uniform draws, centred, is close enough to a normal curve for body weights.
        let bits = self.bits();
        let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
        mean + (sum as i64 - 131_070) * spread / 65_535
    }

    /// Says yes `per_mille` times in a thousand.
    #[inline]
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Draws one of `choices`, which must not be empty.
    #[inline]
    pub(super) fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Draws an id.
    #[inline]
    pub(super) fn uuid(&mut self) -> Uuid {
        Uuid::from_bits(self.bits(), self.bits())
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser (Steele, Lea, Flood 2014).
#[inline]
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Random, Stream};

    #[test]
    fn bell_curve_stays_within_two_spreads_of_its_mean() {
        let mut random = Random::stream(7, Stream::Person, 0);
        let draws: Vec<i64> = (0..10_000).map(|_| random.around(1000, 50)).collect();
        assert!(draws.iter().all(|draw| (900..=1100).contains(draw)));
        let mean = draws.iter().sum::<i64>() / 10_000;
        assert!((998..=1002).contains(&mean), "mean was {mean}");
    }

    #[test]
    fn streams_of_neighbours_and_purposes_differ() {
        let first = Random::stream(7, Stream::Person, 0).bits();
        assert_ne!(first, Random::stream(7, Stream::Person, 1).bits());
        assert_ne!(first, Random::stream(7, Stream::History, 0).bits());
        assert_ne!(first, Random::stream(8, Stream::Person, 0).bits());
        assert_eq!(first, Random::stream(7, Stream::Person, 0).bits());
    }
}
