//! Reads a record out of a document, whatever others have written into it.

use automerge::{ActorId, AutoCommit, ObjId, ROOT, ReadDoc, ScalarValue, Value};
use keys::{ContentId, NodeId, Timestamp};

use super::{
    super::{EntryId, migrate::Migrate},
    Open, RecordError, Sealed, StoredText,
    text::{PayloadReference, cut},
    writer::{SEALED_VERSION, VERSION_FIELD},
};

/// The ciphertext of a sealed text, as far as this node has it.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// The bytes.
    Here(&'a [u8]),
    /// Dropped, because it was erased.
    Erased,
    /// Not come yet.
    Missing,
}

/// Where a record is read.
pub struct Reader<'a> {
    /// The document.
    pub(crate) document: &'a AutoCommit,
    /// Finds a ciphertext by the first bytes of its blake3 hash.
    pub(crate) payload: &'a dyn Fn(&PayloadReference) -> Payload<'a>,
    /// See [`Open`].
    pub(crate) open: Open<'a>,
    /// Which node signed the changes of an actor.
    pub(crate) author: &'a dyn Fn(&ActorId) -> Option<NodeId>,
}

/// A value with its key.
pub(crate) struct Entry<K> {
    pub(crate) key: K,
    /// What counts by automerge's rule.
    pub(crate) value: ScalarValue,
    /// Whether there are others, written without knowledge of each other.
    pub(crate) is_conflict: bool,
    /// The node that signed the value that counts.
    pub(crate) author: Option<NodeId>,
}

impl<K> Entry<K> {
    fn with_key<L>(self, key: L) -> Entry<L> {
        Entry {
            key,
            value: self.value,
            is_conflict: self.is_conflict,
            author: self.author,
        }
    }
}

const fn no_payload<'a>(_: &PayloadReference) -> Payload<'a> {
    Payload::Missing
}
const fn no_key(_: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    None
}
const fn no_author(_: &ActorId) -> Option<NodeId> {
    None
}

impl<'a> Reader<'a> {
    /// A reader that sees everything but sealed text and authors: what it says is the same on every node.
    pub(crate) fn of_structure(document: &'a AutoCommit) -> Self {
        Self {
            document,
            payload: &no_payload,
            open: &no_key,
            author: &no_author,
        }
    }

    /// The layout by which the document was begun; 1 for those from before it was written down.
    pub(crate) fn version(&self) -> u64 {
        self.number(VERSION_FIELD).unwrap_or(1)
    }

    /// The value of a field that counts by automerge's rule: the causally last one, of concurrent ones the same on every node.
    pub(crate) fn scalar(&self, key: &str) -> Option<ScalarValue> {
        match self.document.get(ROOT, key) {
            Ok(Some((Value::Scalar(value), _))) => Some(value.into_owned()),
            _ => None,
        }
    }

    /// Every value of a field that no other has replaced: more than one when they were written concurrently.
    pub(crate) fn all(&self, key: &str) -> Vec<ScalarValue> {
        let values = self.document.get_all(ROOT, key).unwrap_or_default();
        let scalars = values.into_iter().filter_map(|(value, _)| match value {
            Value::Scalar(value) => Some(value.into_owned()),
            Value::Object(_) => None,
        });
        scalars.collect()
    }

    /// Who signed the value of a field that counts.
    pub(crate) fn author_of(&self, key: &str) -> Option<NodeId> {
        let (_, operation) = self.document.get(ROOT, key).ok()??;
        self.author_of_operation(&operation)
    }

    fn author_of_operation(&self, operation: &ObjId) -> Option<NodeId> {
        match operation {
            ObjId::Id(_, actor, _) => (self.author)(actor),
            ObjId::Root => None,
        }
    }

    pub(crate) fn text(&self, key: &'static str) -> Result<String, RecordError> {
        match self.scalar(key) {
            Some(ScalarValue::Str(text)) => Ok(text.to_string()),
            _ => Err(RecordError::Field(key)),
        }
    }

    /// A text of at most `characters`; nothing when it is missing or of another type.
    pub(crate) fn text_or_empty(&self, key: &'static str, characters: usize) -> String {
        cut(self.text(key).unwrap_or_default(), characters)
    }

    pub(crate) fn number(&self, key: &'static str) -> Result<u64, RecordError> {
        let value = self.scalar(key);
        value.as_ref().and_then(number_of).ok_or(RecordError::Field(key))
    }

    pub(crate) fn time(&self, key: &'static str) -> Result<Timestamp, RecordError> {
        self.number(key).map(Timestamp)
    }

    /// The greatest of the concurrent numbers of a field: the merge law of counters that only grow and of times that only advance.
    pub(crate) fn greatest(&self, key: &str) -> Option<u64> {
        self.all(key).iter().filter_map(number_of).max()
    }

    /// The least of the concurrent numbers of a field: the merge law of what happened first.
    pub(crate) fn least(&self, key: &str) -> Option<u64> {
        self.all(key).iter().filter_map(number_of).min()
    }

    /// A counter; concurrent beginnings of one add up, as its increments do. Below zero it counts as zero.
    pub(crate) fn counter(&self, key: &str) -> u64 {
        let counts = self.all(key).into_iter().map(|value| match value {
            ScalarValue::Counter(count) => u64::try_from(i64::from(&count)).unwrap_or(0),
            _ => 0,
        });
        counts.fold(0, u64::saturating_add)
    }

    pub(crate) fn decimal(&self, key: &'static str) -> Result<f64, RecordError> {
        match self.scalar(key) {
            Some(ScalarValue::F64(number)) => Ok(number),
            _ => Err(RecordError::Field(key)),
        }
    }

    /// A flag under the rule that `decisive` wins over its opposite when both were written concurrently.
    pub(crate) fn flag(&self, key: &str, decisive: bool) -> Option<bool> {
        flag(&self.all(key), decisive)
    }

    pub(crate) fn bytes<const N: usize>(&self, key: &'static str) -> Result<[u8; N], RecordError> {
        let value = self.scalar(key).and_then(bytes_of);
        value
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(RecordError::Field(key))
    }

    pub(crate) fn content_id(&self, key: &'static str) -> Result<ContentId, RecordError> {
        self.bytes(key).map(ContentId)
    }

    /// A stored value of this or an older version; `None` when it is missing, damaged or of a later version.
    pub(crate) fn value<T: Migrate>(&self, key: &str) -> Option<T> {
        decode(&self.scalar(key)?)
    }

    /// Every concurrent value of a field, and who signed each.
    pub(crate) fn signed_values<T: Migrate>(&self, key: &str) -> Vec<(T, Option<NodeId>)> {
        let values = self.document.get_all(ROOT, key).unwrap_or_default();
        let signed = values.into_iter().filter_map(|(value, operation)| match value {
            Value::Scalar(value) => Some((decode(&value)?, self.author_of_operation(&operation))),
            Value::Object(_) => None,
        });
        signed.collect()
    }

    /// Every concurrent value of a field.
    pub(crate) fn values<T: Migrate>(&self, key: &str) -> Vec<T> {
        self.all(key).iter().filter_map(decode).collect()
    }

    /// A personal text in a field of its own, cut to `characters`; `None` when there is none.
    pub(crate) fn sealed(&self, key: &str, context: &[u8], characters: usize) -> Option<Sealed> {
        match self.scalar(key)? {
            ScalarValue::Str(text) => Some(Sealed::Readable(cut(text.to_string(), characters))),
            ScalarValue::Bytes(bytes) => {
                let reference: PayloadReference = bytes.strip_prefix(&[SEALED_VERSION])?.try_into().ok()?;
                Some(self.open_text(&StoredText::Sealed(reference), context, characters))
            }
            _ => None,
        }
    }

    /// A personal text of a stored value, cut to `characters`.
    pub(crate) fn open_text(&self, stored: &StoredText, context: &[u8], characters: usize) -> Sealed {
        let reference = match stored {
            StoredText::Plain(text) => return Sealed::Readable(cut(text.clone(), characters)),
            StoredText::Sealed(reference) => reference,
        };
        match (self.payload)(reference) {
            Payload::Here(payload) => {
                let opened = (self.open)(context, payload).and_then(|bytes| String::from_utf8(bytes).ok());
                opened.map_or(Sealed::Locked, |text| Sealed::Readable(cut(text, characters)))
            }
            Payload::Erased => Sealed::Erased,
            Payload::Missing => Sealed::Missing,
        }
    }

    /// The entries under a prefix, in the order of their ids.
    pub(crate) fn entries(&self, prefix: &'static str) -> impl Iterator<Item = Entry<EntryId>> {
        // The 26 characters of a ULID begin with a digit up to 7; names of fields do not.
        self.range(format!("{prefix}0"), format!("{prefix}8"))
            .filter_map(move |entry| {
                let id = EntryId::parse(entry.key.strip_prefix(prefix)?)?;
                Some(entry.with_key(id))
            })
    }

    /// The names and values under a prefix that ends in `/`.
    pub(crate) fn named(&self, prefix: &'static str) -> impl Iterator<Item = Entry<String>> {
        // `0` follows `/`.
        self.range(prefix.to_owned(), format!("{}0", prefix.trim_end_matches('/')))
            .filter_map(move |entry| {
                let name = entry.key.strip_prefix(prefix)?.to_owned();
                Some(entry.with_key(name))
            })
    }

    fn range(&self, from: String, to: String) -> impl Iterator<Item = Entry<String>> {
        self.document.map_range(ROOT, from..to).filter_map(|item| {
            let author = self.author_of_operation(&item.id());
            let Value::Scalar(value) = item.value.into_value() else {
                return None;
            };
            Some(Entry {
                key: item.key.into_owned(),
                value: value.into_owned(),
                is_conflict: item.conflict,
                author,
            })
        })
    }
}

/// See [`Reader::flag`].
fn flag(values: &[ScalarValue], decisive: bool) -> Option<bool> {
    let mut flags = values.iter().filter_map(ScalarValue::as_bool).peekable();
    flags.peek()?;
    Some(if flags.any(|flag| flag == decisive) {
        decisive
    } else {
        !decisive
    })
}

/// automerge would make a number of any other kind of number; here only what was written as one is one.
const fn number_of(value: &ScalarValue) -> Option<u64> {
    match value {
        ScalarValue::Uint(number) => Some(*number),
        _ => None,
    }
}

fn bytes_of(value: ScalarValue) -> Option<Vec<u8>> {
    match value {
        ScalarValue::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// Reads a stored value.
pub(crate) fn decode<T: Migrate>(value: &ScalarValue) -> Option<T> {
    match value {
        ScalarValue::Bytes(bytes) => T::decode(bytes),
        _ => None,
    }
}
