//! A checksum over a set of pairs that can be kept up while the set changes.

use serde::{Deserialize, Serialize};

/// The sum of the blake3 hashes of all pairs, as four numbers that wrap. It does not depend on the order of changes, and a pair that
/// was lost, changed or invented makes another sum. This guards against rot, not against an attacker: who chooses pairs freely can
/// find others with the same sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum([u64; 4]);

impl Checksum {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        for (sum, part) in self.0.iter_mut().zip(parts(key, value)) {
            *sum = sum.wrapping_add(part);
        }
    }

    pub(super) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        for (sum, part) in self.0.iter_mut().zip(parts(key, value)) {
            *sum = sum.wrapping_sub(part);
        }
    }
}

fn parts(key: &[u8], value: &[u8]) -> impl Iterator<Item = u64> {
    let mut hasher = blake3::Hasher::new();
    // The length says where the key ends and the value begins.
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    let hash = *hasher.finalize().as_bytes();
    (0..4).map(move |part| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash[part * 8..part * 8 + 8]);
        u64::from_le_bytes(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_matter_and_every_difference_does() {
        let sum = |pairs: &[(&[u8], &[u8])]| {
            let mut sum = Checksum::default();
            pairs.iter().for_each(|(key, value)| sum.add(key, value));
            sum
        };
        let whole = sum(&[(b"a", b"1"), (b"b", b"2")]);
        assert_eq!(whole, sum(&[(b"b", b"2"), (b"a", b"1")]));
        for other in [
            sum(&[(b"a", b"1")]),
            sum(&[(b"a", b"2"), (b"b", b"1")]),
            sum(&[(b"a", b"1"), (b"b2", b"")]),
            sum(&[(b"a", b"1"), (b"b", b"2"), (b"b", b"2")]),
        ] {
            assert_ne!(whole, other);
        }
        let mut emptied = whole;
        emptied.subtract(b"a", b"1");
        emptied.subtract(b"b", b"2");
        assert_eq!(emptied, Checksum::default());
    }
}
