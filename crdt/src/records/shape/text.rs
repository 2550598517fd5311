//! Personal text: what of it can be read here and now, and what of it stands in a document.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::EntryId;

/// A personal text as this node can read it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sealed {
    /// The text.
    Readable(String),
    /// It was erased, here and everywhere.
    Erased,
    /// This node has no key for it.
    Locked,
    /// Its ciphertext has not come to this node.
    Missing,
    /// It was left closed, because nobody asked for it in this reading.
    Unopened,
}

impl Sealed {
    /// The text, or nothing when it cannot be read.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Readable(text) => text,
            Self::Erased | Self::Locked | Self::Missing | Self::Unopened => "",
        }
    }

    /// Whether the text is here.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        matches!(self, Self::Readable(_))
    }

    /// Whether the reading left it closed.
    #[must_use]
    pub const fn is_unopened(&self) -> bool {
        matches!(self, Self::Unopened)
    }
}

impl From<String> for Sealed {
    fn from(text: String) -> Self {
        Self::Readable(text)
    }
}

impl From<&str> for Sealed {
    fn from(text: &str) -> Self {
        Self::Readable(text.to_owned())
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Personal text does not belong into a log.
        match self {
            Self::Readable(text) => write!(formatter, "Readable({} bytes)", text.len()),
            Self::Erased => formatter.write_str("Erased"),
            Self::Locked => formatter.write_str("Locked"),
            Self::Missing => formatter.write_str("Missing"),
            Self::Unopened => formatter.write_str("Unopened"),
        }
    }
}

/// A text as it stands in a stored value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StoredText {
    /// In plain words: the document has no owner, or is of the time before text was sealed.
    Plain(String),
    /// Names the ciphertext that travels beside the change.
    Sealed(PayloadReference),
}

/// The first bytes of a ciphertext's blake3 hash. The whole hash stands in the signed envelope; here eight bytes are enough to tell
/// the ciphertexts of one document apart, and each change is 24 bytes shorter for it. Whoever found another ciphertext with the same
/// eight bytes could not have it opened, because a ciphertext is bound to its field and entry.
pub type PayloadReference = [u8; 8];

/// Names a ciphertext.
pub(crate) fn reference_of(payload: &[u8]) -> PayloadReference {
    let mut reference = [0; 8];
    reference.copy_from_slice(&blake3::hash(payload).as_bytes()[..8]);
    reference
}

/// What a ciphertext is bound to, so that it cannot be moved to another field or entry: the field's name and the entry's id.
pub(crate) fn context(field: &str, entry: Option<&EntryId>) -> Vec<u8> {
    let mut context = field.as_bytes().to_vec();
    if let Some(entry) = entry {
        context.push(0);
        context.extend_from_slice(entry.bytes());
    }
    context
}

/// The first `characters` of a text.
pub(crate) fn cut(mut text: String, characters: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_characters_and_never_printed() {
        assert_eq!(cut("звезда".into(), 3), "зве");
        assert_eq!(cut("abc".into(), 3), "abc");
        assert_eq!(cut("abc".into(), 0), "");
        let secret = Sealed::from("secret words");
        assert!(!format!("{secret:?}").contains("secret"));
        assert_eq!((secret.text(), Sealed::Locked.text()), ("secret words", ""));
    }

    #[test]
    fn contexts_of_fields_and_entries_differ() {
        let (one, two) = (EntryId::new(keys::Timestamp(1), 1), EntryId::new(keys::Timestamp(1), 2));
        assert_ne!(context("a", Some(&one)), context("a", Some(&two)));
        assert_ne!(context("a", Some(&one)), context("b", Some(&one)));
        assert_ne!(context("a", None), context("a", Some(&one)));
    }
}
