//! The head file of a blob: how large it is and how much of it is here. It is the commit point: without a head there is no blob.
//!
//! Sixteen bytes, then what the kind needs: `version, kind, 0 0 0 0 0 0, size (8, little endian)`. Kind 0 is a whole blob. Kind 1 is a
//! file that lies elsewhere: seconds (8) and nanoseconds (4) of its last change, then its path. Kind 2 is a part of a blob: its groups,
//! a bit each, in words of 8 bytes. The version covers the data and the tree beside it.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use super::super::{groups::Groups, tree::groups_of};
use crate::limits::BLOB_BYTES_MAX;

/// First byte of every head.
const VERSION: u8 = 1;
/// Where what the kind needs begins.
pub(super) const BODY: usize = 16;

/// A file that belongs to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) path: PathBuf,
    /// Seconds and nanoseconds since 1970 of its last change.
    pub(super) modified: (u64, u32),
}

impl Reference {
    /// A time of change as it is remembered.
    pub(super) fn moment(modified: SystemTime) -> (u64, u32) {
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        (since.as_secs(), since.subsec_nanos())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Reference(Reference),
    Partial(Groups),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) kind: Kind,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let kind = match &self.kind {
            Kind::Whole => 0,
            Kind::Reference(_) => 1,
            Kind::Partial(_) => 2,
        };
        let mut bytes = vec![VERSION, kind, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&self.size.to_le_bytes());
        match &self.kind {
            Kind::Whole => {}
            Kind::Reference(Reference { path, modified }) => {
                bytes.extend_from_slice(&modified.0.to_le_bytes());
                bytes.extend_from_slice(&modified.1.to_le_bytes());
                bytes.extend_from_slice(path.as_os_str().as_bytes());
            }
            Kind::Partial(groups) => groups
                .words()
                .for_each(|word| bytes.extend_from_slice(&word.to_le_bytes())),
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (front, body) = bytes.split_at_checked(BODY)?;
        if front[0] != VERSION {
            return None;
        }
        let size = u64::from_le_bytes(front[8..].try_into().ok()?);
        if size > BLOB_BYTES_MAX {
            return None;
        }
        let kind = match front[1] {
            0 => Kind::Whole,
            1 => {
                let (seconds, rest) = body.split_at_checked(8)?;
                let (nanoseconds, path) = rest.split_at_checked(4)?;
                let seconds = u64::from_le_bytes(seconds.try_into().ok()?);
                Kind::Reference(Reference {
                    path: PathBuf::from(OsStr::from_bytes(path)),
                    modified: (seconds, u32::from_le_bytes(nanoseconds.try_into().ok()?)),
                })
            }
            2 => {
                // A head cut short says that less is here, which the network makes good.
                let (words, _) = body.as_chunks();
                Kind::Partial(Groups::from_words(
                    groups_of(size),
                    words.iter().copied().map(u64::from_le_bytes),
                ))
            }
            _ => return None,
        };
        Some(Self { size, kind })
    }

    /// Where the word of a group lies.
    pub(super) const fn place(group: u64) -> u64 {
        BODY as u64 + group / 64 * 8
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_keep_their_bytes() {
        let mut groups = Groups::none(70);
        groups.insert(1..3);
        groups.insert(64..65);
        let path = PathBuf::from("models/a.gguf");
        let reference = Reference { path, modified: (7, 8) };
        let golden: [(Head, &[u8]); 3] = [
            (
                Head {
                    size: 5,
                    kind: Kind::Whole,
                },
                b"\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0",
            ),
            (
                Head {
                    size: 258,
                    kind: Kind::Reference(reference),
                },
                b"\x01\x01\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x08\0\0\0models/a.gguf",
            ),
            (
                Head {
                    size: 70 * 16_384,
                    kind: Kind::Partial(groups),
                },
                b"\x01\x02\0\0\0\0\0\0\0\x80\x11\0\0\0\0\0\x06\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0",
            ),
        ];
        for (head, bytes) in golden {
            assert_eq!(head.encode(), bytes);
            assert_eq!(Head::decode(bytes), Some(head));
        }
        assert_eq!(Head::place(64), 24);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_bounded(mut bytes in prop::collection::vec(any::<u8>(), 0..64), kind in 0_u8..4) {
            if let [version, second, ..] = bytes.as_mut_slice() {
                (*version, *second) = (VERSION, kind);
            }
            if let Some(head) = Head::decode(&bytes) {
                prop_assert!(head.size <= BLOB_BYTES_MAX && kind < 3);
            }
        }
    }
}
