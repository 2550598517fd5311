//! Helpers to write records into automerge documents and read them back.

use automerge::{AutoCommit, ROOT, ReadDoc, ScalarValue, Value, transaction::Transactable};

use crate::limits::TEXT_BYTES_MAX;

/// Why a record cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A field is missing or of the wrong type.
    #[error("the field {0} is missing or malformed")]
    Field(&'static str),
    /// A field breaks its limit.
    #[error("the field {0} is empty, too long or out of range")]
    Limit(&'static str),
    /// automerge refused.
    #[error("the document could not be changed: {0}")]
    Document(String),
}

pub(crate) fn put(
    document: &mut AutoCommit,
    key: &'static str,
    value: impl Into<ScalarValue>,
) -> Result<(), RecordError> {
    document
        .put(ROOT, key, value)
        .map_err(|error| RecordError::Document(error.to_string()))
}

fn scalar<T>(
    document: &AutoCommit,
    key: &'static str,
    pick: impl Fn(&ScalarValue) -> Option<T>,
) -> Result<T, RecordError> {
    match document.get(ROOT, key) {
        Ok(Some((Value::Scalar(value), _))) => pick(&value).ok_or(RecordError::Field(key)),
        _ => Err(RecordError::Field(key)),
    }
}

pub(crate) fn text(document: &AutoCommit, key: &'static str) -> Result<String, RecordError> {
    scalar(document, key, |value| value.as_str().map(str::to_owned))
}

pub(crate) fn number(document: &AutoCommit, key: &'static str) -> Result<u64, RecordError> {
    scalar(document, key, ScalarValue::as_u64)
}

pub(crate) fn decimal(document: &AutoCommit, key: &'static str) -> Result<f64, RecordError> {
    scalar(document, key, ScalarValue::as_f64)
}

pub(crate) fn bytes(document: &AutoCommit, key: &'static str) -> Result<Vec<u8>, RecordError> {
    scalar(document, key, |value| value.as_bytes().map(<[u8]>::to_vec))
}

/// A text field of `least` to `most` characters.
pub(crate) fn check_text(key: &'static str, text: &str, least: usize, most: usize) -> Result<(), RecordError> {
    let characters = text.chars().count();
    let acceptable = characters >= least && characters <= most && text.len() <= TEXT_BYTES_MAX;
    if acceptable {
        Ok(())
    } else {
        Err(RecordError::Limit(key))
    }
}
