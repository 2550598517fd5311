//! A model in the catalogue: what it is called, and the file by whose hash any node can fetch and verify it.
//!
//! ## Merge law
//! Everything is written once, but *removed*, a flag that stays set: who wants a removed model again adds it again, as another record.
//! Nodes that add models in a split begin documents of their own; [`standing`] says what each of them is called then, on every node
//! the same.
//!
//! A record says what its writer read in the file. Whoever loads the file reads its header again and believes nothing that stands
//! here: this is for people who choose, and for nodes that have to know whether a model would fit before they fetch gigabytes.

use std::collections::BTreeMap;

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, Record, RecordError, RecordKind,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, Writer, cut},
};
use crate::limits::TEXT_BYTES_MAX;

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of a name.
pub const NAME_CHARACTERS_MAX: usize = 80;
/// Characters of a quantisation, an architecture and a licence's name.
pub const LABEL_CHARACTERS_MAX: usize = 80;
/// Bytes of a model's file: what a blob may have.
pub const MODEL_BYTES_MAX: u64 = 256 * 1024 * 1024 * 1024;
/// Digits of the file's hash behind a name that an earlier model has.
const SUFFIX_DIGITS: usize = 4;
/// Digits by which a model may be named instead, at least.
pub const HASH_DIGITS_MIN: usize = 8;

const MODEL: &str = "model";
const REMOVED: &str = "removed";

/// A model in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What people call it.
    pub name: String,
    /// The blake3 hash of its file.
    pub blob: ContentId,
    /// Bytes of its file.
    pub bytes: u64,
    /// What kind of net it is, and how large.
    pub shape: ModelShape,
    /// How its weights are kept, such as `Q4_K_M`.
    pub quantisation: String,
    /// How it wants a chat written.
    pub template: ModelTemplate,
    /// Under which conditions it may be used.
    pub licence: Licence,
    /// When it was added.
    pub added: Timestamp,
    /// Whether it was taken out again.
    pub removed: bool,
}

/// What kind of net a model is, and how large: enough to say what it needs in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Its family, such as `qwen3`.
    pub architecture: String,
    /// Numbers in it.
    pub parameters: u64,
    /// Bytes of its weights.
    pub weight_bytes: u64,
    /// Layers.
    pub layers: u64,
    /// Width of a layer.
    pub width: u64,
    /// Width inside a layer.
    pub inner_width: u64,
    /// Attention heads.
    pub heads: u64,
    /// Attention heads with keys and values of their own.
    pub key_heads: u64,
    /// Numbers of a key.
    pub key_length: u64,
    /// Numbers of a value.
    pub value_length: u64,
    /// Tokens that it was trained to see at once.
    pub context_tokens: u64,
    /// Tokens that it knows.
    pub vocabulary: u64,
}

/// How a model wants a chat written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelTemplate {
    /// Its file says nothing: it cannot chat.
    None,
    /// As it stands in the file.
    Text(String),
    /// Too long to stand here; this is its hash.
    Long(ContentId),
}

/// Under which conditions a model may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// What it is called, such as `apache-2.0`; empty when nobody said.
    pub name: String,
    /// What it says; empty when only its name is known.
    pub text: String,
}

#[derive(Serialize, Deserialize)]
struct StoredModel {
    name: String,
    blob: ContentId,
    bytes: u64,
    shape: ModelShape,
    quantisation: String,
    template: ModelTemplate,
    licence: Licence,
    added: Timestamp,
}

impl InitialFormat for StoredModel {
    const VERSION: u8 = 1;
}

/// Whether a model may be called so: letters, digits, dots, hyphens and underlines, the first a letter or a digit.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=NAME_CHARACTERS_MAX).contains(&name.len())
        && name.chars().all(is_part)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// What stands in the catalogue, by what it is called. Of records of one file the one added first counts, then the one with the smaller
/// id. Of files that want one name the one added first has it; the others are shown with digits of their hash behind it.
#[must_use]
pub fn standing(models: &BTreeMap<ContentId, Model>) -> BTreeMap<String, ContentId> {
    let mut first: BTreeMap<ContentId, (Timestamp, ContentId)> = BTreeMap::new();
    for (id, model) in models.iter().filter(|(_, model)| !model.removed) {
        let own = (model.added, *id);
        let standing = first.entry(model.blob).or_insert(own);
        *standing = own.min(*standing);
    }
    let mut order: Vec<(Timestamp, ContentId)> = first.into_values().collect();
    order.sort_unstable();
    let mut named = BTreeMap::new();
    for (_, id) in order {
        let Some(model) = models.get(&id) else { continue };
        let mut name = model.name.clone();
        let digits = model.blob.to_string();
        let mut behind = SUFFIX_DIGITS;
        while named.contains_key(&name) && behind <= digits.len() {
            name = format!("{}~{}", model.name, &digits[..behind]);
            behind *= 2;
        }
        named.insert(name, id);
    }
    named
}

/// The record that a person means: by what it is called in [`standing`], or by the beginning of its file's hash.
#[must_use]
pub fn find(models: &BTreeMap<ContentId, Model>, text: &str) -> Option<ContentId> {
    let standing = standing(models);
    if let Some(id) = standing.get(text) {
        return Some(*id);
    }
    let digits = text.to_ascii_lowercase();
    let is_meant = |id: &&ContentId| {
        let blob = models.get(*id).map(|model| model.blob.to_string());
        digits.len() >= HASH_DIGITS_MIN && blob.is_some_and(|blob| blob.starts_with(&digits))
    };
    let mut meant = standing.values().filter(is_meant);
    meant.next().copied().filter(|_| meant.next().is_none())
}

impl ModelTemplate {
    /// As it stands in a file.
    #[must_use]
    pub fn of(text: Option<&str>) -> Self {
        match text {
            None => Self::None,
            Some(text) if text.len() <= TEXT_BYTES_MAX => Self::Text(text.to_owned()),
            Some(text) => Self::Long(ContentId::of(text.as_bytes())),
        }
    }
}

impl Record for Model {
    const KIND: RecordKind = RecordKind::Model;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        if !is_name(&self.name) {
            return Err(RecordError::Limit("name"));
        }
        if self.bytes == 0 || self.bytes > MODEL_BYTES_MAX {
            return Err(RecordError::Limit("bytes"));
        }
        shape::check_text("architecture", &self.shape.architecture, 1, LABEL_CHARACTERS_MAX)?;
        shape::check_text("quantisation", &self.quantisation, 0, LABEL_CHARACTERS_MAX)?;
        shape::check_text("licence", &self.licence.name, 0, LABEL_CHARACTERS_MAX)?;
        shape::check_text("licence text", &self.licence.text, 0, TEXT_BYTES_MAX)?;
        match &self.template {
            ModelTemplate::Text(text) => shape::check_text("template", text, 0, TEXT_BYTES_MAX),
            ModelTemplate::None | ModelTemplate::Long(_) => Ok(()),
        }
    }
}

impl Shape for Model {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        let stored = StoredModel {
            name: self.name.clone(),
            blob: self.blob,
            bytes: self.bytes,
            shape: self.shape.clone(),
            quantisation: self.quantisation.clone(),
            template: self.template.clone(),
            licence: self.licence.clone(),
            added: self.added,
        };
        writer.put_value(MODEL, MODEL, &stored)?;
        if self.removed {
            writer.put(REMOVED, true)?;
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredModel = reader.value(MODEL).ok_or(RecordError::Field(MODEL))?;
        // A name becomes a word on a command line and in a log: one that is none is the file's hash.
        let name = if is_name(&stored.name) {
            stored.name
        } else {
            stored.blob.to_string()
        };
        let mut model_shape = stored.shape;
        model_shape.architecture = cut(model_shape.architecture, LABEL_CHARACTERS_MAX);
        let template = match stored.template {
            ModelTemplate::Text(text) => ModelTemplate::of(Some(&text)),
            other => other,
        };
        Ok(Self {
            name,
            blob: stored.blob,
            bytes: stored.bytes.min(MODEL_BYTES_MAX),
            shape: model_shape,
            quantisation: cut(stored.quantisation, LABEL_CHARACTERS_MAX),
            template,
            licence: Licence {
                name: cut(stored.licence.name, LABEL_CHARACTERS_MAX),
                text: cut(stored.licence.text, TEXT_BYTES_MAX),
            },
            added: stored.added,
            removed: reader.flag(REMOVED, true).unwrap_or(false),
        })
    }
}

/// A change to the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelEdit {
    /// Takes the model out.
    Remove,
}

impl Edit for ModelEdit {
    const KIND: RecordKind = RecordKind::Model;
}

impl Apply for ModelEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::Remove => writer.put(REMOVED, true),
        }
    }
}

#[cfg(test)]
mod tests;
