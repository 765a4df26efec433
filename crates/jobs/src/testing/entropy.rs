//! Random numbers that a seed replays: [`SeededEntropy`].

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Entropy;

/// Gives the same bytes for the same seed. Not for secrets.
#[derive(Debug)]
pub struct SeededEntropy {
    /// Moves by a constant at each draw (splitmix64); threads that draw at once get different numbers.
    state: AtomicU64,
}

impl SeededEntropy {
    /// Makes a source from a seed.
    pub const fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// Draws a number.
    pub fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }

    /// Draws a number below `end`, which must not be 0.
    pub fn below(&self, end: u64) -> u64 {
        self.draw() % end
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Scatters the bits of a number, the finaliser of splitmix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
