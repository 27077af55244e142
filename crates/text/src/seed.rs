//! Reproducible random numbers: each use has its own stream, derived from one seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// The increment of SplitMix64: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A seed from which named and numbered streams of random numbers are derived.
///
/// A program takes one seed from its user and derives one stream for each use of random numbers. A stream depends only
/// on the seed and on its name, so a new use does not change the numbers of the others. One seed gives the same numbers
/// on every platform and with every version of the compiler. For this reason the hash functions (FNV-1a and the
/// finaliser of SplitMix64) are written out here: those of the standard library may change.
///
/// ```
/// use wheels_text::Seed;
///
/// let dropout = Seed(7).stream("dropout");
/// assert_ne!(dropout, Seed(7).stream("shuffle"));
/// assert_eq!(dropout.nth(3), Seed(7).stream("dropout").nth(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of the stream with this name.
    pub fn stream(self, name: &str) -> Seed {
        Seed(mix(mix(self.0) ^ fnv1a(name.as_bytes())))
    }

    /// The seed of the stream with this number, for uses that repeat: rows of a batch, steps of a run, epochs.
    pub fn nth(self, index: u64) -> Seed {
        // The complement separates numbered streams from named ones.
        Seed(mix(mix(!self.0).wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN))))
    }

    /// A random number generator with this seed.
    pub fn rng(self) -> ChaCha8Rng {
        let mut key = [0; 32];
        let mut state = self.0;
        for word in key.chunks_exact_mut(8) {
            state = state.wrapping_add(GOLDEN);
            word.copy_from_slice(&mix(state).to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection on 64 bits whose outputs look unrelated.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::Rng;

    use super::*;

    #[test]
    fn hashes_match_the_published_test_vectors() {
        // FNV-1a's test vectors, and the first outputs of SplitMix64 from the states 0 and 1234567.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(GOLDEN), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567_u64.wrapping_add(GOLDEN)), 6_457_827_717_110_365_317);
    }

    #[test]
    fn seeds_give_the_same_numbers_in_every_version() {
        let seed = Seed(7);
        assert_eq!(seed.stream("shuffle"), Seed(0x3aa2_b28b_6214_5ef9));
        assert_eq!(seed.nth(0), Seed(0x19cd_99e6_943b_14ad));
        assert_eq!(seed.stream("shuffle").nth(41), Seed(0xb68f_13ce_b1fe_1b97));
        let mut rng = seed.rng();
        assert_eq!([rng.next_u64(), rng.next_u64()], [0x6686_d7a0_5082_5212, 0xc63a_5f92_9db4_1d41]);
    }

    #[test]
    fn streams_differ_from_each_other_and_from_their_seed() {
        let mut seen = HashSet::new();
        for seed in 0..50 {
            assert!(seen.insert(Seed(seed)));
            for name in ["", "a", "b", "shuffle", "dropout"] {
                assert!(seen.insert(Seed(seed).stream(name)));
            }
            for index in 0..50 {
                assert!(seen.insert(Seed(seed).nth(index)));
            }
        }
    }
}
