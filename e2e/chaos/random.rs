//! Numbers that follow from a seed and from nothing else, on every machine.

/// A generator: splitmix64, which passes for random and is ten lines.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Another stream for each combination of numbers.
    pub fn new(parts: &[u64]) -> Self {
        let mut random = Self(0x243f_6a88_85a3_08d3);
        for part in parts {
            random.0 ^= *part;
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// An index of a list.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
