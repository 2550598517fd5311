//! The header of a model file, read without llama.cpp: its keys, its tensors, and whether the file holds what it promises. Every count
//! and length is checked before anything is allocated, because the file may come from anywhere.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use crate::limits::{MODEL_HEADER_BYTES_MAX, MODEL_KEYS_MAX, MODEL_TENSORS_MAX};

/// What is wrong with a model file.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Another kind of file.
    #[error("it is not a GGUF model file")]
    NotGguf,
    /// The file ends before it should.
    #[error("the file is cut: it has {bytes} bytes of at least {needed}")]
    Cut {
        /// What there is.
        bytes: u64,
        /// What the header promises.
        needed: u64,
    },
    /// A version of the format that is not known.
    #[error("version {0} of the format is not known")]
    Version(u32),
    /// Counts, lengths or shapes that no model has.
    #[error("its header is damaged at {0}")]
    Damaged(&'static str),
    /// A quantisation that is not known.
    #[error("its tensors have the unknown type {0}")]
    TensorType(u32),
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A value of the header, as far as this crate needs them.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderValue {
    /// Whole numbers and booleans.
    Integer(i128),
    /// Numbers with a point.
    Float(f64),
    /// Text.
    Text(String),
    /// Lists of whole numbers, such as heads per layer.
    Integers(Vec<i128>),
    /// Another list, by its length only: vocabularies.
    List(u64),
}

/// A tensor as the header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Numbers in it.
    pub elements: u64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// A header.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Its keys.
    pub keys: BTreeMap<String, HeaderValue>,
    /// Its tensors.
    pub tensors: Vec<Tensor>,
}

/// Numbers in a block and bytes of it, by ggml's number of the type.
const TYPES: &[(u32, u64, u64)] = &[
    (0, 1, 4),
    (1, 1, 2),
    (2, 32, 18),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (8, 32, 34),
    (9, 32, 36),
    (10, 256, 84),
    (11, 256, 110),
    (12, 256, 144),
    (13, 256, 176),
    (14, 256, 210),
    (15, 256, 292),
    (16, 256, 66),
    (17, 256, 74),
    (18, 256, 98),
    (19, 256, 50),
    (20, 32, 18),
    (21, 256, 110),
    (22, 256, 82),
    (23, 256, 136),
    (24, 1, 1),
    (25, 1, 2),
    (26, 1, 4),
    (27, 1, 8),
    (28, 1, 8),
    (29, 256, 56),
    (30, 1, 2),
    (34, 256, 54),
    (35, 256, 66),
    (39, 32, 17),
];

impl Header {
    /// Reads a header from the beginning of a file of so many bytes.
    ///
    /// # Errors
    /// When it is no model file, or not a whole one.
    pub fn read(file: impl Read, file_bytes: u64) -> Result<Self, HeaderError> {
        let mut reader = Reader {
            file: io::BufReader::with_capacity(1 << 16, file),
            at: 0,
            bytes: file_bytes,
        };
        if file_bytes < 4 || reader.array::<4>()? != *b"GGUF" {
            return Err(HeaderError::NotGguf);
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(HeaderError::Version(version));
        }
        let (tensors, keys) = (reader.u64()?, reader.u64()?);
        if tensors > MODEL_TENSORS_MAX || keys > MODEL_KEYS_MAX {
            return Err(HeaderError::Damaged("the counts"));
        }
        let mut header = Self::default();
        for _ in 0..keys {
            let name = reader.text(1024)?;
            let kind = reader.u32()?;
            let value = reader.value(kind, false)?;
            header.keys.insert(name, value);
        }
        let mut end = 0;
        for _ in 0..tensors {
            let (tensor, offset) = reader.tensor()?;
            end = end.max(
                offset
                    .checked_add(tensor.bytes)
                    .ok_or(HeaderError::Damaged("a tensor"))?,
            );
            header.tensors.push(tensor);
        }
        let alignment = header.integer("general.alignment").unwrap_or(32);
        if alignment == 0 || alignment > 1 << 20 {
            return Err(HeaderError::Damaged("the alignment"));
        }
        let needed = reader.at.next_multiple_of(alignment).saturating_add(end);
        if needed > file_bytes {
            return Err(HeaderError::Cut {
                bytes: file_bytes,
                needed,
            });
        }
        Ok(header)
    }

    /// A key that is a whole number and not negative.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.keys.get(key)? {
            HeaderValue::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A key that is text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.keys.get(key)? {
            HeaderValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A key of the model's architecture that is a whole number for all layers, or the largest of one number per layer.
    #[must_use]
    pub fn shape(&self, key: &str) -> Option<u64> {
        let key = format!("{}.{key}", self.text("general.architecture")?);
        match self.keys.get(&key)? {
            HeaderValue::Integers(values) => u64::try_from(*values.iter().max()?).ok(),
            _ => self.integer(&key),
        }
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn weights(&self) -> u64 {
        self.tensors
            .iter()
            .fold(0, |sum, tensor| sum.saturating_add(tensor.bytes))
    }

    /// Numbers in all tensors.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors
            .iter()
            .fold(0, |sum, tensor| sum.saturating_add(tensor.elements))
    }
}

struct Reader<R> {
    file: io::BufReader<R>,
    at: u64,
    bytes: u64,
}

impl<R: Read> Reader<R> {
    /// Makes sure that so many more bytes are there and allowed.
    const fn expect(&self, more: u64) -> Result<(), HeaderError> {
        let needed = self.at.saturating_add(more);
        if needed > self.bytes {
            return Err(HeaderError::Cut {
                bytes: self.bytes,
                needed,
            });
        }
        if needed > MODEL_HEADER_BYTES_MAX {
            return Err(HeaderError::Damaged("its length"));
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        self.expect(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.array().map(u64::from_le_bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), HeaderError> {
        self.expect(bytes)?;
        let skipped = io::copy(&mut self.file.by_ref().take(bytes), &mut io::sink())?;
        self.at += skipped;
        if skipped == bytes {
            Ok(())
        } else {
            Err(HeaderError::Damaged("its length"))
        }
    }

    fn text(&mut self, most: u64) -> Result<String, HeaderError> {
        let length = self.u64()?;
        if length > most {
            return Err(HeaderError::Damaged("a text"));
        }
        self.expect(length)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| HeaderError::Damaged("a text"))?];
        self.file.read_exact(&mut bytes)?;
        self.at += length;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn value(&mut self, kind: u32, is_element: bool) -> Result<HeaderValue, HeaderError> {
        Ok(match kind {
            0 => HeaderValue::Integer(i128::from(u8::from_le_bytes(self.array()?))),
            1 => HeaderValue::Integer(i128::from(i8::from_le_bytes(self.array()?))),
            2 => HeaderValue::Integer(i128::from(u16::from_le_bytes(self.array()?))),
            3 => HeaderValue::Integer(i128::from(i16::from_le_bytes(self.array()?))),
            4 => HeaderValue::Integer(i128::from(self.u32()?)),
            5 => HeaderValue::Integer(i128::from(i32::from_le_bytes(self.array()?))),
            6 => HeaderValue::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => HeaderValue::Integer(i128::from(self.array::<1>()?[0] != 0)),
            8 => HeaderValue::Text(self.text(16 * 1024 * 1024)?),
            9 if !is_element => self.list()?,
            10 => HeaderValue::Integer(i128::from(self.u64()?)),
            11 => HeaderValue::Integer(i128::from(i64::from_le_bytes(self.array()?))),
            12 => HeaderValue::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(HeaderError::Damaged("a value")),
        })
    }

    fn list(&mut self) -> Result<HeaderValue, HeaderError> {
        let (kind, count) = (self.u32()?, self.u64()?);
        // Every element has a byte at least.
        self.expect(count)?;
        if kind == 8 {
            for _ in 0..count {
                let length = self.u64()?;
                self.skip(length)?;
            }
            return Ok(HeaderValue::List(count));
        }
        if matches!(kind, 2..=5 | 10 | 11) && count <= 1024 {
            let mut values = Vec::new();
            for _ in 0..count {
                if let HeaderValue::Integer(value) = self.value(kind, true)? {
                    values.push(value);
                }
            }
            return Ok(HeaderValue::Integers(values));
        }
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            _ => return Err(HeaderError::Damaged("a list")),
        };
        self.skip(count.checked_mul(size).ok_or(HeaderError::Damaged("a list"))?)?;
        Ok(HeaderValue::List(count))
    }

    fn tensor(&mut self) -> Result<(Tensor, u64), HeaderError> {
        let name = self.text(1024)?;
        let dimensions = self.u32()?;
        if dimensions > 4 {
            return Err(HeaderError::Damaged("a tensor"));
        }
        let mut elements = 1_u64;
        for _ in 0..dimensions {
            elements = elements
                .checked_mul(self.u64()?)
                .ok_or(HeaderError::Damaged("a tensor"))?;
        }
        let kind = self.u32()?;
        let known = TYPES.iter().find(|(number, _, _)| *number == kind);
        let (_, block, size) = known.ok_or(HeaderError::TensorType(kind))?;
        let bytes = (elements / block)
            .checked_mul(*size)
            .ok_or(HeaderError::Damaged("a tensor"))?;
        let offset = self.u64()?;
        Ok((Tensor { name, elements, bytes }, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &[u8] = include_bytes!("../../models/built-in.gguf");

    fn read(bytes: &[u8]) -> Result<Header, HeaderError> {
        Header::read(bytes, bytes.len() as u64)
    }

    #[test]
    fn a_whole_model_is_read() {
        let header = read(MODEL).unwrap();
        assert_eq!(header.text("general.architecture"), Some("qwen3"));
        assert_eq!(
            (header.shape("block_count"), header.shape("attention.key_length")),
            (Some(6), Some(64))
        );
        assert!(
            (5_000_000..6_000_000).contains(&header.parameters()),
            "{}",
            header.parameters()
        );
        assert!(header.weights() < MODEL.len() as u64);
    }

    #[test]
    fn every_cut_is_found() {
        for length in (0..MODEL.len()).step_by(997).chain([MODEL.len() - 40_000]) {
            assert!(read(&MODEL[..length]).is_err(), "cut at {length}");
        }
        let half = read(&MODEL[..MODEL.len() / 2]).unwrap_err();
        assert!(matches!(half, HeaderError::Cut { .. }), "{half}");
        assert!(matches!(read(b"PK\x03\x04 a zip, renamed"), Err(HeaderError::NotGguf)));
    }

    #[test]
    fn no_damage_makes_it_panic_or_allocate_what_is_not_there() {
        // Counts and lengths of the largest kind, everywhere in the first keys.
        for at in (4..4000).step_by(3) {
            for value in [u64::MAX, u64::MAX / 2, 1 << 40] {
                let mut bytes = MODEL[..40_000].to_vec();
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                assert!(read(&bytes).is_err());
            }
        }
    }
}
