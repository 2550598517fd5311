//! The catalogue of models: from a file to its record, and what a file is refused for: pure but for reading the header.
//!
//! The record itself and its merge law are in [`crdt::records::model`]; the files travel as blobs, which `node` joins with this.

use std::path::{Path, PathBuf};

use crdt::records::model::{Licence, Model, ModelShape, ModelTemplate, NAME_CHARACTERS_MAX, is_name};
use keys::{ContentId, Timestamp};

use crate::engine::{
    ModelError,
    gguf::{Header, HeaderValue},
    memory::{self, Fit, NoFit},
    model,
};

/// Names of the ways in which a file's weights are kept, by llama.cpp's number in `general.file_type`.
const QUANTISATIONS: &[(u64, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4"),
];

/// Why a file does not come into the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It cannot be read, or is no whole model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its header lacks what every model has.
    #[error("the model {path} cannot be used: its header does not say {missing}")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is missing.
        missing: &'static str,
    },
    /// It is another model than the catalogue says.
    #[error(
        "the file {path} is not what the catalogue says of {name}; have the entry removed and the file added again"
    )]
    Differs {
        /// What the catalogue calls it.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// Not a name.
    #[error(
        "{0:?} cannot be the name of a model: 1 to {NAME_CHARACTERS_MAX} letters, digits, dots, hyphens and underlines, beginning with \
         a letter or a digit"
    )]
    Name(String),
}

/// What a model's file says of itself, read without loading it.
#[derive(Clone, Debug)]
pub struct Described {
    /// Bytes of the file.
    pub bytes: u64,
    /// What kind of net it is.
    pub shape: ModelShape,
    /// How its weights are kept.
    pub quantisation: String,
    /// How it wants a chat written.
    pub template: ModelTemplate,
    /// What the file says of its licence.
    pub licence: Licence,
    header: Header,
}

/// Reads and checks the header of a model's file: cut, renamed and hostile ones are refused here.
///
/// # Errors
/// What is wrong with the file.
pub fn describe(path: &Path) -> Result<Described, CatalogueError> {
    let (header, bytes) = model::read_header(path)?;
    let incomplete = |missing| CatalogueError::Incomplete {
        path: path.to_owned(),
        missing,
    };
    let shape = shape(&header).map_err(incomplete)?;
    if header.tensors.is_empty() {
        return Err(incomplete("any weights"));
    }
    let text = |key: &str| header.text(key).unwrap_or_default().to_owned();
    Ok(Described {
        bytes,
        shape,
        quantisation: quantisation(&header),
        template: ModelTemplate::of(header.text("tokenizer.chat_template")),
        licence: Licence {
            name: text("general.license").chars().take(80).collect(),
            text: String::new(),
        },
        header,
    })
}

fn shape(header: &Header) -> Result<ModelShape, &'static str> {
    let architecture = header.text("general.architecture").ok_or("its architecture")?;
    let number = |key: &str| header.shape(key).unwrap_or(0);
    let (width, heads) = (number("embedding_length"), number("attention.head_count"));
    let layers = number("block_count");
    if layers == 0 || width == 0 {
        return Err("its layers and their width");
    }
    let vocabulary = match header.keys.get("tokenizer.ggml.tokens") {
        Some(HeaderValue::List(count)) => *count,
        _ => number("vocab_size"),
    };
    let head = width.checked_div(heads).unwrap_or(0);
    Ok(ModelShape {
        architecture: architecture.chars().take(80).collect(),
        parameters: header.parameters(),
        weight_bytes: header.weights(),
        layers,
        width,
        inner_width: number("feed_forward_length"),
        heads,
        key_heads: header.shape("attention.head_count_kv").unwrap_or(heads),
        key_length: header.shape("attention.key_length").unwrap_or(head),
        value_length: header.shape("attention.value_length").unwrap_or(head),
        context_tokens: number("context_length"),
        vocabulary,
    })
}

/// What the file says, or, where it says nothing that is known, the bits of a weight.
fn quantisation(header: &Header) -> String {
    let said = header.integer("general.file_type").and_then(|number| {
        let known = QUANTISATIONS.iter().find(|(known, _)| *known == number);
        known.map(|(_, name)| (*name).to_owned())
    });
    said.unwrap_or_else(|| {
        let bits = header.weights() as f64 * 8.0 / header.parameters().max(1) as f64;
        format!("{bits:.1} bits")
    })
}

impl Described {
    /// The record of this file.
    #[must_use]
    pub fn record(&self, name: &str, blob: ContentId, added: Timestamp) -> Model {
        Model {
            name: name.to_owned(),
            blob,
            bytes: self.bytes,
            shape: self.shape.clone(),
            quantisation: self.quantisation.clone(),
            template: self.template.clone(),
            licence: self.licence.clone(),
            added,
            removed: false,
        }
    }

    /// How it would be run in so many bytes of memory, with so many tokens of context in all.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn fit(&self, cells: u64, available: u64) -> Result<Fit, NoFit> {
        memory::fit(&self.header, cells, available)
    }
}

/// What a model is called: what was asked for, or else the name of its file, with everything else turned into hyphens.
///
/// # Errors
/// When what was asked for cannot be a name.
pub fn name_for(asked: Option<&str>, path: &Path) -> Result<String, CatalogueError> {
    if let Some(asked) = asked {
        return if is_name(asked) {
            Ok(asked.to_owned())
        } else {
            Err(CatalogueError::Name(asked.to_owned()))
        };
    }
    let stem = path
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let part = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = stem.chars().map(part).collect();
    let name: String = name
        .trim_start_matches(|first: char| !first.is_ascii_alphanumeric())
        .chars()
        .take(NAME_CHARACTERS_MAX)
        .collect();
    if is_name(&name) {
        Ok(name)
    } else {
        Err(CatalogueError::Name(stem))
    }
}

/// Whether what was fetched is what the record says; a record that lies is found before anything is loaded.
///
/// # Errors
/// What the file is refused for.
pub fn check_fetched(model: &Model, path: &Path) -> Result<(), CatalogueError> {
    let described = describe(path)?;
    if described.bytes == model.bytes && described.shape == model.shape {
        Ok(())
    } else {
        Err(CatalogueError::Differs {
            name: model.name.clone(),
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MODEL: &[u8] = include_bytes!("../models/built-in.gguf");

    #[test]
    fn a_model_is_described_by_its_own_header() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tiny (1).gguf");
        fs::write(&path, MODEL).unwrap();
        let described = describe(&path).unwrap();
        assert_eq!(described.shape.architecture, "qwen3");
        assert_eq!(
            (described.shape.layers, described.shape.width, described.shape.key_heads),
            (6, 256, 2)
        );
        assert_eq!(described.shape.key_length, 64);
        assert!((5_000_000..6_000_000).contains(&described.shape.parameters));
        assert!(matches!(&described.template, ModelTemplate::Text(text) if text.contains("im_start")));
        let name = name_for(None, &path).unwrap();
        assert_eq!(name, "tiny--1-");
        let record = described.record(&name, ContentId::of(MODEL), Timestamp(7));
        crdt::records::Record::validate(&record).unwrap();
        check_fetched(&record, &path).unwrap();
        let liar = Model {
            bytes: record.bytes + 1,
            ..record
        };
        assert!(check_fetched(&liar, &path).is_err());
        assert!(described.fit(1024, 1 << 30).is_ok() && described.fit(1024, 1 << 20).is_err());
    }

    #[test]
    fn what_is_no_whole_model_is_refused_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.gguf");
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            describe(&path).unwrap_err().to_string()
        };
        assert!(refused(&MODEL[..MODEL.len() - 1]).contains("the file is cut"));
        assert!(refused(b"PK\x03\x04 a renamed archive").contains("not a GGUF"));
        assert!(refused(b"").contains("not a GGUF"));
        // A header that is sound and says nothing.
        let empty = [&b"GGUF"[..], &3_u32.to_le_bytes(), &[0; 24]].concat();
        assert!(refused(&empty).contains("its architecture"));
        let counts = [&b"GGUF"[..], &3_u32.to_le_bytes(), &[0xff; 16]].concat();
        assert!(refused(&counts).contains("damaged"));
        assert!(describe(directory.path()).is_err() && describe(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn names_are_words() {
        let path = Path::new("/models/Qwen3 8B.gguf");
        assert_eq!(name_for(None, path).unwrap(), "Qwen3-8B");
        assert_eq!(name_for(Some("q"), path).unwrap(), "q");
        for bad in ["", "../q", "a b", "~"] {
            assert!(
                matches!(name_for(Some(bad), path), Err(CatalogueError::Name(_))),
                "{bad}"
            );
        }
        assert!(name_for(None, Path::new("/models/…")).is_err());
    }
}
