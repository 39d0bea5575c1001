//! Random numbers that a seed decides: the same everywhere, for ever.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// An independent source for one of many users of a seed.
    pub fn fork(&self, user: u64) -> Self {
        let mut fork = Self { state: self.state ^ user.wrapping_mul(0xd6e8_feb8_6659_fd93) };
        fork.draw();
        fork
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_forks_differ() {
        let draws = |mut random: Random| (0..8).map(|_| random.draw()).collect::<Vec<_>>();
        let root = Random::new(7);
        assert_eq!(draws(root.clone()), draws(Random::new(7)));
        assert_ne!(draws(root.fork(1)), draws(root.fork(2)));
    }
}
