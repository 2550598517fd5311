//! What two members say to each other about data keys. Only over a member stream, which proves who is at the other end.
//!
//! A frame is `version (1) | kind (1) | number of accounts (u16 LE) | accounts`; an account is its id (32), in a `Give` followed
//! by the number of keys (1) and the keys (32 each), in a `Kept` by a key id (4).

use keys::{ContentId, DataKey, DataKeyId, Zeroizing};

use crate::limits::{KEY_FRAME_ACCOUNTS_MAX, KEY_FRAME_BYTES_MAX, KEYS_PER_ACCOUNT_MAX};

/// First byte of a frame.
pub const KEY_FRAME_VERSION: u8 = 1;
const ASK: u8 = 1;
const GIVE: u8 = 2;
const KEPT: u8 = 3;
const REFUSED: u8 = 4;
const HEADER_BYTES: usize = 4;

/// One message about data keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFrame {
    /// "Which keys do you have of these accounts?"
    Ask(Vec<ContentId>),
    /// "These." What the giver does not have, or may not give, is left out. The answer to an `Ask` may be cut to one frame's size,
    /// so the other side asks again for what is missing until a `Give` is empty. Also sent unasked, for a new account.
    Give(Vec<(ContentId, Vec<DataKey>)>),
    /// "I have these, and they are on my disk": the answer to a `Give`.
    Kept(Vec<(ContentId, DataKeyId)>),
    /// "One of us has no role that needs data keys": the answer to an `Ask` or a `Give` between such members.
    Refused,
}

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFrameError {
    /// Longer than [`KEY_FRAME_BYTES_MAX`].
    #[error("a frame of data keys has {0} bytes, {KEY_FRAME_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// More accounts than [`KEY_FRAME_ACCOUNTS_MAX`], or more keys of one than [`KEYS_PER_ACCOUNT_MAX`].
    #[error("a frame of data keys lists {0} entries, which is over the limit")]
    TooMany(usize),
    /// The first byte is a version this build does not know.
    #[error("a frame of data keys has version {0}, this build knows {KEY_FRAME_VERSION}")]
    UnknownVersion(u8),
    /// Cut, of an unknown kind, or with bytes behind its end.
    #[error("a frame of data keys is malformed")]
    Malformed,
}

impl KeyFrame {
    /// The bytes of the frame, wiped when dropped.
    ///
    /// # Errors
    /// When it is over a limit; nothing larger is sent than the other side would take.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KeyFrameError> {
        let (kind, count, size) = match self {
            Self::Ask(accounts) => (ASK, accounts.len(), 32 * accounts.len()),
            Self::Give(accounts) => {
                let sizes = accounts.iter().map(|(_, keys)| given_bytes(keys.len()));
                (GIVE, accounts.len(), sizes.sum())
            }
            Self::Kept(keys) => (KEPT, keys.len(), 36 * keys.len()),
            Self::Refused => (REFUSED, 0, 0),
        };
        let count = check_count(count, KEY_FRAME_ACCOUNTS_MAX)?;
        if HEADER_BYTES + size > KEY_FRAME_BYTES_MAX {
            return Err(KeyFrameError::TooLarge(HEADER_BYTES + size));
        }
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + size));
        bytes.extend_from_slice(&[KEY_FRAME_VERSION, kind]);
        bytes.extend_from_slice(&count.to_le_bytes());
        match self {
            Self::Ask(accounts) => accounts.iter().for_each(|account| bytes.extend_from_slice(&account.0)),
            Self::Give(accounts) => {
                for (account, keys) in accounts {
                    let [count, _] = check_count(keys.len(), KEYS_PER_ACCOUNT_MAX)?.to_le_bytes();
                    bytes.extend_from_slice(&account.0);
                    bytes.push(count);
                    keys.iter().for_each(|key| bytes.extend_from_slice(&*key.to_bytes()));
                }
            }
            Self::Kept(keys) => {
                for (account, id) in keys {
                    bytes.extend_from_slice(&account.0);
                    bytes.extend_from_slice(&id.0);
                }
            }
            Self::Refused => {}
        }
        Ok(bytes)
    }

    /// Reads what [`KeyFrame::encode`] wrote. The caller wipes `bytes`, which may hold secrets.
    ///
    /// # Errors
    /// When it is over a limit, of another version, or malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFrameError> {
        if bytes.len() > KEY_FRAME_BYTES_MAX {
            return Err(KeyFrameError::TooLarge(bytes.len()));
        }
        let mut rest = Rest(bytes);
        let [version] = rest.take()?;
        if version != KEY_FRAME_VERSION {
            return Err(KeyFrameError::UnknownVersion(version));
        }
        let [kind] = rest.take()?;
        let count = usize::from(u16::from_le_bytes(rest.take()?));
        check_count(count, KEY_FRAME_ACCOUNTS_MAX)?;
        let frame = match kind {
            ASK => Self::Ask(rest.list(count, Rest::account)?),
            GIVE => Self::Give(rest.list(count, Rest::given)?),
            KEPT => Self::Kept(rest.list(count, |rest| Ok((rest.account()?, DataKeyId(rest.take()?))))?),
            REFUSED if count == 0 => Self::Refused,
            _ => return Err(KeyFrameError::Malformed),
        };
        match rest.0 {
            [] => Ok(frame),
            _ => Err(KeyFrameError::Malformed),
        }
    }
}

/// Bytes that an account with this many keys takes in a `Give`.
pub(super) const fn given_bytes(keys: usize) -> usize {
    32 + 1 + 32 * keys
}

/// Bytes left for accounts in a `Give`.
pub(super) const GIVE_BYTES_MAX: usize = KEY_FRAME_BYTES_MAX - HEADER_BYTES;

fn check_count(count: usize, limit: usize) -> Result<u16, KeyFrameError> {
    let checked = u16::try_from(count).ok().filter(|_| count <= limit);
    checked.ok_or(KeyFrameError::TooMany(count))
}

/// The bytes not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeyFrameError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(KeyFrameError::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn account(&mut self) -> Result<ContentId, KeyFrameError> {
        Ok(ContentId(self.take()?))
    }

    fn given(&mut self) -> Result<(ContentId, Vec<DataKey>), KeyFrameError> {
        let account = self.account()?;
        let [count] = self.take()?;
        check_count(usize::from(count), KEYS_PER_ACCOUNT_MAX)?;
        let key = |rest: &mut Self| Ok(DataKey::from_bytes(&Zeroizing::new(rest.take()?)));
        Ok((account, self.list(usize::from(count), key)?))
    }

    /// Not collected with a capacity of `count`: what is claimed is not reserved before it is there.
    fn list<T>(
        &mut self,
        count: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, KeyFrameError>,
    ) -> Result<Vec<T>, KeyFrameError> {
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> [KeyFrame; 4] {
        let (one, two) = (ContentId([1; 32]), ContentId([2; 32]));
        let key = |number: u8| DataKey::from_bytes(&[number; 32]);
        [
            KeyFrame::Ask(vec![one, two]),
            KeyFrame::Give(vec![(one, vec![key(3), key(4)]), (two, vec![])]),
            KeyFrame::Kept(vec![(one, DataKeyId([5; 4]))]),
            KeyFrame::Refused,
        ]
    }

    #[test]
    fn golden_bytes() {
        let expected = [
            [&[1, 1, 2, 0][..], &[1; 32], &[2; 32]].concat(),
            [&[1, 2, 2, 0][..], &[1; 32], &[2], &[3; 32], &[4; 32], &[2; 32], &[0]].concat(),
            [&[1, 3, 1, 0][..], &[1; 32], &[5; 4]].concat(),
            vec![1, 4, 0, 0],
        ];
        for (frame, expected) in frames().into_iter().zip(expected) {
            assert_eq!(*frame.encode().unwrap(), expected);
            assert_eq!(KeyFrame::decode(&expected).unwrap(), frame);
        }
    }

    #[test]
    fn every_cut_and_every_addition_is_refused() {
        for frame in frames() {
            let bytes = frame.encode().unwrap();
            for length in 0..bytes.len() {
                assert_eq!(
                    KeyFrame::decode(&bytes[..length]),
                    Err(KeyFrameError::Malformed),
                    "cut at {length}"
                );
            }
            assert_eq!(
                KeyFrame::decode(&[&bytes[..], &[0]].concat()),
                Err(KeyFrameError::Malformed)
            );
        }
        assert_eq!(KeyFrame::decode(&[2, 1, 0, 0]), Err(KeyFrameError::UnknownVersion(2)));
        assert_eq!(KeyFrame::decode(&[1, 5, 0, 0]), Err(KeyFrameError::Malformed));
        assert_eq!(KeyFrame::decode(&[1, 4, 1, 0]), Err(KeyFrameError::Malformed));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let many = vec![ContentId([1; 32]); KEY_FRAME_ACCOUNTS_MAX];
        let largest = KeyFrame::Ask(many.clone()).encode().unwrap();
        assert!(KeyFrame::decode(&largest).is_ok());
        let over = KEY_FRAME_ACCOUNTS_MAX + 1;
        let too_many = Err(KeyFrameError::TooMany(over));
        assert_eq!(KeyFrame::Ask(vec![ContentId([1; 32]); over]).encode(), too_many);
        let claim = [&[1, 1][..], &u16::try_from(over).unwrap().to_le_bytes()].concat();
        assert_eq!(KeyFrame::decode(&claim), Err(KeyFrameError::TooMany(over)));

        let key = DataKey::from_bytes(&[1; 32]);
        let keys = vec![key.clone(); KEYS_PER_ACCOUNT_MAX];
        let too_large = KeyFrame::Give(many.iter().map(|account| (*account, keys.clone())).collect());
        assert!(matches!(too_large.encode(), Err(KeyFrameError::TooLarge(_))));
        assert!(matches!(
            KeyFrame::decode(&vec![1; KEY_FRAME_BYTES_MAX + 1]),
            Err(KeyFrameError::TooLarge(_))
        ));
        let keys = vec![key; KEYS_PER_ACCOUNT_MAX + 1];
        let too_many = Err(KeyFrameError::TooMany(KEYS_PER_ACCOUNT_MAX + 1));
        assert_eq!(KeyFrame::Give(vec![(ContentId([1; 32]), keys)]).encode(), too_many);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_mean_what_they_say(
            kind in 0_u8..5,
            count in 0_u16..4,
            // Lengths that fit the kinds, so that frames are often whole.
            length in proptest::sample::select(vec![0, 1, 32, 33, 36, 64, 65, 66, 72, 96, 97, 99, 108]),
            filling in 0_u8..3,
        ) {
            let body = vec![filling; length];
            let bytes = [&[1, kind][..], &count.to_le_bytes(), &body].concat();
            if let Ok(frame) = KeyFrame::decode(&bytes) {
                prop_assert_eq!(&*frame.encode().unwrap(), &bytes);
            }
        }
    }
}
