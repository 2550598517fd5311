//! The bytes of one key file: `STARKEY1 | account (32) | number of keys (1) | keys (32 each, oldest first) | blake3 (32) of all
//! that stands before`. The account is inside, so that a file under another's name is noticed.

use keys::{ContentId, DataKey, Zeroizing};

use crate::limits::KEYS_PER_ACCOUNT_MAX;

/// First bytes of a key file; the last one is the version.
const MAGIC: &[u8; 8] = b"STARKEY1";
const HEADER_BYTES: usize = MAGIC.len() + 32 + 1;
const HASH_BYTES: usize = 32;
/// Bytes of the largest key file.
pub(super) const FILE_BYTES_MAX: usize = HEADER_BYTES + KEYS_PER_ACCOUNT_MAX * 32 + HASH_BYTES;

/// The file of `account` with these keys, at most [`KEYS_PER_ACCOUNT_MAX`].
pub(super) fn encode(account: &ContentId, keys: &[DataKey]) -> Zeroizing<Vec<u8>> {
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&account.0);
    bytes.push(u8::try_from(keys.len()).unwrap_or(u8::MAX));
    for key in keys {
        bytes.extend_from_slice(&*key.to_bytes());
    }
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

/// The keys in a file, or what is wrong with it.
pub(super) fn decode(account: &ContentId, bytes: &[u8]) -> Result<Vec<DataKey>, &'static str> {
    if !bytes.starts_with(MAGIC) {
        return Err("it is not a key file of this version");
    }
    let Some((content, hash)) = bytes.split_last_chunk::<HASH_BYTES>() else {
        return Err("it is cut");
    };
    if blake3::hash(content) != *hash {
        return Err("its content does not match its hash");
    }
    let (Some(named), Some(&count)) = (
        content.get(MAGIC.len()..HEADER_BYTES - 1),
        content.get(HEADER_BYTES - 1),
    ) else {
        return Err("it is cut");
    };
    if named != account.0 {
        return Err("it belongs to another account");
    }
    let (secrets, []) = content[HEADER_BYTES..].as_chunks::<32>() else {
        return Err("it holds a part of a key");
    };
    if secrets.len() != usize::from(count) || secrets.len() > KEYS_PER_ACCOUNT_MAX {
        return Err("it holds another number of keys than it says");
    }
    Ok(secrets.iter().map(DataKey::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let account = ContentId([0xab; 32]);
        let bytes = encode(
            &account,
            &[DataKey::from_bytes(&[1; 32]), DataKey::from_bytes(&[2; 32])],
        );
        let mut expected = b"STARKEY1".to_vec();
        expected.extend([0xab; 32]);
        expected.push(2);
        expected.extend([1; 32]);
        expected.extend([2; 32]);
        expected.extend(blake3::hash(&expected.clone()).as_bytes());
        assert_eq!(*bytes, expected);
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            "9cb8f16479fe7053a5f7e0459ed7cdd99c7c51ca5d95be74c0fa5c5546ff3bb9",
            "the hash function is part of the format"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let account = ContentId([0xab; 32]);
        let bytes = encode(&account, &[DataKey::from_bytes(&[1; 32])]);
        assert_eq!(decode(&account, &bytes).unwrap(), [DataKey::from_bytes(&[1; 32])]);
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[position / 8] ^= 1 << (position % 8);
            assert!(decode(&account, &damaged).is_err(), "bit {position}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&account, &bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(
            decode(&ContentId([0xac; 32]), &bytes).is_err(),
            "another account's file"
        );
    }

    #[test]
    fn content_that_contradicts_itself_is_refused_although_its_hash_fits() {
        let account = ContentId([0xab; 32]);
        let with_hash = |content: &[u8]| [content, blake3::hash(content).as_bytes()].concat();
        let whole = encode(&account, &[DataKey::from_bytes(&[1; 32])]);
        let content = &whole[..whole.len() - HASH_BYTES];
        assert!(decode(&account, &with_hash(content)).is_ok());
        for cut in 0..content.len() {
            assert!(decode(&account, &with_hash(&content[..cut])).is_err(), "cut at {cut}");
        }
        let mut counted = content.to_vec();
        counted[HEADER_BYTES - 1] = 2;
        assert!(decode(&account, &with_hash(&counted)).is_err());
        let too_many = vec![DataKey::from_bytes(&[1; 32]); KEYS_PER_ACCOUNT_MAX + 1];
        assert!(decode(&account, &encode(&account, &too_many)).is_err());
    }
}
