//! All random values come from the seed: uids, the suffixes of generated names, jitter.

use std::sync::{Mutex, PoisonError};

/// The alphabet of generated names: no vowels, so no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A generator that tasks can share; the same seed and the same order of calls give the same values.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    shared: Mutex<fastrand::Rng>,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { seed, shared: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// The generator for one object or choice: the same seed and the same key give the same values, independent of
    /// everything else. For names, jitter and choices that belong to the story.
    pub fn keyed(&self, key: &[&str]) -> fastrand::Rng {
        let mut hash = fnv(&self.seed.to_le_bytes(), FNV);
        for part in key {
            hash = fnv(&[0xff], fnv(part.as_bytes(), hash));
        }
        fastrand::Rng::with_seed(hash)
    }

    fn with<T>(&self, f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        f(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A separate generator, so that one loop's values do not depend on when another one runs.
    pub fn fork(&self) -> fastrand::Rng {
        self.with(fastrand::Rng::fork)
    }

    pub fn uid(&self) -> String {
        self.with(uid_of)
    }

    /// `len` characters for a generated name (the real server appends five).
    pub fn suffix(&self, len: usize) -> String {
        self.with(|rng| suffix_of(rng, len))
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        self.with(fastrand::Rng::f64)
    }
}

/// Where FNV-1a begins.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: stable between builds, unlike the standard library's hasher.
fn fnv(bytes: &[u8], from: u64) -> u64 {
    bytes.iter().fold(from, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A random UID (version 4, variant 1) from a separate generator.
pub fn uid_of(rng: &mut fastrand::Rng) -> String {
    let bits = (rng.u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// `len` characters for a generated name from a separate generator.
pub fn suffix_of(rng: &mut fastrand::Rng, len: usize) -> String {
    (0..len).filter_map(|_| rng.choice(ALPHABET.iter().copied())).map(char::from).collect()
}

/// A stable hash of text in that alphabet, for `pod-template-hash` and the like.
pub fn short_hash(text: &[u8]) -> String {
    let hash = fnv(text, FNV);
    let mut hash = hash ^ (hash >> 32);
    let mut out = String::with_capacity(10);
    for _ in 0..10 {
        let at = (hash % ALPHABET.len() as u64) as usize;
        out.push(ALPHABET.get(at).copied().map_or('b', char::from));
        hash /= ALPHABET.len() as u64;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides() {
        let (a, b) = (Random::new(7), Random::new(7));
        let uid = a.uid();
        assert_eq!(uid, b.uid());
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.as_bytes()[14], b'4');
        assert_ne!(uid, a.uid());
        assert_eq!(a.suffix(5).len(), 5);
        assert_eq!(short_hash(b"a"), short_hash(b"a"));
        assert_ne!(short_hash(b"a"), short_hash(b"b"));
    }
}
