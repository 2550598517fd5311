//! A node's certificate. Written once; a second write to the same document loses by automerge's rule, and changes nothing,
//! because the certificate proves itself. Its layout is of version 1, and the certificate's parts have versions of their own.

use automerge::ScalarValue;
use keys::membership::Certificate;

use super::{
    Record, RecordError, RecordKind,
    shape::{Reader, Shape, Writer},
};

const CERTIFICATE: &str = "certificate";

/// A member of the mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The whole chain that proves the membership.
    pub certificate: Certificate,
}

impl Record for Member {
    const KIND: RecordKind = RecordKind::Member;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        self.certificate
            .verify()
            .map(drop)
            .map_err(|_| RecordError::Limit(CERTIFICATE))
    }
}

impl Shape for Member {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        let bytes = postcard::to_stdvec(&self.certificate).map_err(|_| RecordError::Field(CERTIFICATE))?;
        writer.put(CERTIFICATE, bytes)
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let Some(ScalarValue::Bytes(bytes)) = reader.scalar(CERTIFICATE) else {
            return Err(RecordError::Field(CERTIFICATE));
        };
        match postcard::take_from_bytes(&bytes) {
            Ok((certificate, [])) => Ok(Self { certificate }),
            _ => Err(RecordError::Field(CERTIFICATE)),
        }
    }
}
