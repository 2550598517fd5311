//! Writes a record or an edit into a document.

use automerge::{AutoCommit, ROOT, ReadDoc, ScalarValue, Value, transaction::Transactable};

use super::{
    super::migrate::Migrate,
    Reader, RecordError, Seal, Sealed,
    text::{StoredText, cut, reference_of},
};

/// Version of a field that holds nothing but the name of a ciphertext.
pub(super) const SEALED_VERSION: u8 = 1;
/// The field that says by which layout a document was begun.
pub(super) const VERSION_FIELD: &str = "version";

/// Where a record is written.
pub struct Writer<'a> {
    /// The document.
    pub(crate) document: &'a mut AutoCommit,
    /// None for a document without an owner: its text stands in plain words.
    pub(crate) seal: Option<Seal<'a>>,
    /// Ciphertexts of what was written, to travel beside the change.
    pub(crate) payloads: Vec<Vec<u8>>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(document: &'a mut AutoCommit, seal: Option<Seal<'a>>) -> Self {
        Self {
            document,
            seal,
            payloads: Vec::new(),
        }
    }

    /// The document as it is now, without what is sealed: enough for an edit to check itself against.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::of_structure(self.document)
    }

    /// How many operations have been made on the document, those that count no more included.
    pub(crate) fn operations(&self) -> u64 {
        self.document.stats().num_ops
    }

    /// Writes the layout's version into a new document.
    pub(crate) fn begin(&mut self, version: u8) -> Result<(), RecordError> {
        self.put(VERSION_FIELD, u64::from(version))
    }

    /// Writes a field, unless it has this value already and no other beside it.
    pub(crate) fn put(&mut self, key: &str, value: impl Into<ScalarValue>) -> Result<(), RecordError> {
        let value = value.into();
        let current = self.document.get_all(ROOT, key).map_err(refused)?;
        if let [(Value::Scalar(current), _)] = current.as_slice()
            && **current == value
        {
            return Ok(());
        }
        self.document.put(ROOT, key, value).map_err(refused)
    }

    /// Writes a number that only rises; a smaller one than the greatest there is changes nothing.
    pub(crate) fn raise(&mut self, key: &str, number: u64) -> Result<(), RecordError> {
        match self.reader().greatest(key) {
            Some(greatest) if greatest >= number => Ok(()),
            _ => self.put(key, number),
        }
    }

    /// Removes a field; a field that is not there is left alone.
    pub(crate) fn remove(&mut self, key: &str) -> Result<(), RecordError> {
        match self.document.get(ROOT, key).map_err(refused)? {
            Some(_) => self.document.delete(ROOT, key).map_err(refused),
            None => Ok(()),
        }
    }

    /// Writes a personal text into a field of its own.
    pub(crate) fn put_sealed(&mut self, key: &str, context: &[u8], text: &str) -> Result<(), RecordError> {
        match self.seal(context, text) {
            StoredText::Plain(text) => self.put(key, text),
            StoredText::Sealed(reference) => self.put(key, [[SEALED_VERSION].as_slice(), &reference].concat()),
        }
    }

    /// As [`Writer::put_sealed`], for a text that must be readable to be written.
    pub(crate) fn put_text(&mut self, key: &'static str, context: &[u8], text: &Sealed) -> Result<(), RecordError> {
        match text {
            Sealed::Readable(text) => self.put_sealed(key, context, text),
            Sealed::Erased | Sealed::Locked | Sealed::Missing | Sealed::Unopened => Err(RecordError::Field(key)),
        }
    }

    /// Encrypts a text for a stored value; the ciphertext joins those that travel beside the change.
    pub(crate) fn seal(&mut self, context: &[u8], text: &str) -> StoredText {
        match self.seal {
            None => StoredText::Plain(text.to_owned()),
            Some(seal) => {
                let payload = seal(context, text.as_bytes());
                let reference = reference_of(&payload);
                self.payloads.push(payload);
                StoredText::Sealed(reference)
            }
        }
    }

    /// As [`Writer::seal`], for a text that must be readable to be written.
    pub(crate) fn seal_text(
        &mut self,
        name: &'static str,
        context: &[u8],
        text: &Sealed,
    ) -> Result<StoredText, RecordError> {
        match text {
            Sealed::Readable(text) => Ok(self.seal(context, text)),
            Sealed::Erased | Sealed::Locked | Sealed::Missing | Sealed::Unopened => Err(RecordError::Field(name)),
        }
    }

    /// Writes a value behind its version byte.
    pub(crate) fn put_value<T: Migrate>(
        &mut self,
        name: &'static str,
        key: &str,
        value: &T,
    ) -> Result<(), RecordError> {
        self.put(key, value.encode().map_err(|_| RecordError::Limit(name))?)
    }
}

fn refused(error: automerge::AutomergeError) -> RecordError {
    // An error's text may quote what was to be written; that much of it is enough.
    RecordError::Document(cut(error.to_string(), 200))
}
