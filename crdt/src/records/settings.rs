//! What administrators have set, one value under each name.
//!
//! ## Merge law
//! Each name is a register: the causally last write wins, concurrent ones by automerge's rule; setting wins over taking back. A mesh
//! has one such document; when a split has begun two, [`canonical`] says which one is written, and [`effective`] what holds.
//!
//! Values stand in plain words on every node. What must not be read by whoever steals a disk does not belong here.

use std::collections::BTreeMap;

use automerge::ScalarValue;
use keys::ContentId;

use super::{
    Edit, Record, RecordError, RecordKind,
    shape::{self, Apply, Reader, Shape, Writer, cut},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Values of one mesh.
pub const SETTINGS_MAX: usize = 500;
/// Characters of a name.
pub const NAME_CHARACTERS_MAX: usize = 80;
/// Characters of a text.
pub const TEXT_CHARACTERS_MAX: usize = 4000;

const SETTING: &str = "set/";

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(u64),
    /// A number that is not whole.
    Decimal(f64),
    /// A text.
    Text(String),
}

/// What administrators have set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// By name.
    pub values: BTreeMap<String, Setting>,
}

/// The document that is written: the one with the smallest id.
#[must_use]
pub fn canonical(documents: &BTreeMap<ContentId, Settings>) -> Option<ContentId> {
    documents.keys().next().copied()
}

/// What holds: each name in the first document that has it.
#[must_use]
pub fn effective(documents: &BTreeMap<ContentId, Settings>) -> BTreeMap<&str, &Setting> {
    let mut values = BTreeMap::new();
    for settings in documents.values() {
        for (name, value) in &settings.values {
            values.entry(name.as_str()).or_insert(value);
        }
    }
    values
}

impl Setting {
    fn validate(&self) -> Result<(), RecordError> {
        match self {
            Self::Flag(_) | Self::Number(_) => Ok(()),
            Self::Decimal(decimal) if decimal.is_finite() => Ok(()),
            Self::Decimal(_) => Err(RecordError::Limit("setting")),
            Self::Text(text) => shape::check_text("setting", text, 0, TEXT_CHARACTERS_MAX),
        }
    }

    fn to_scalar(&self) -> ScalarValue {
        match self {
            Self::Flag(flag) => (*flag).into(),
            Self::Number(number) => (*number).into(),
            Self::Decimal(decimal) => (*decimal).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }

    fn from_scalar(value: ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::Boolean(flag) => Some(Self::Flag(flag)),
            ScalarValue::Uint(number) => Some(Self::Number(number)),
            ScalarValue::F64(decimal) if decimal.is_finite() => Some(Self::Decimal(decimal)),
            ScalarValue::Str(text) => Some(Self::Text(cut(text.to_string(), TEXT_CHARACTERS_MAX))),
            _ => None,
        }
    }
}

impl Record for Settings {
    const KIND: RecordKind = RecordKind::Settings;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_count("settings", self.values.len(), SETTINGS_MAX)?;
        self.values.iter().try_for_each(|(name, value)| {
            shape::check_name("setting", name, NAME_CHARACTERS_MAX)?;
            value.validate()
        })
    }
}

impl Shape for Settings {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        self.values
            .iter()
            .try_for_each(|(name, value)| writer.put(&format!("{SETTING}{name}"), value.to_scalar()))
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        // Without anything set there is nothing else by which a document could be told to be of this kind.
        reader.number("version")?;
        let values = reader.named(SETTING).filter_map(|entry| {
            shape::check_name("setting", &entry.key, NAME_CHARACTERS_MAX).ok()?;
            Some((entry.key, Setting::from_scalar(entry.value)?))
        });
        Ok(Self {
            values: values.take(SETTINGS_MAX).collect(),
        })
    }
}

/// A change to the settings.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingsEdit {
    /// Sets a value.
    Set(String, Setting),
    /// Takes a value back; the default holds again.
    Reset(String),
}

impl Edit for SettingsEdit {
    const KIND: RecordKind = RecordKind::Settings;
}

impl Apply for SettingsEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::Set(name, value) => {
                shape::check_name("setting", name, NAME_CHARACTERS_MAX)?;
                value.validate()?;
                let key = format!("{SETTING}{name}");
                let is_new = writer.reader().scalar(&key).is_none();
                if is_new && writer.reader().named(SETTING).count() >= SETTINGS_MAX {
                    return Err(RecordError::Full("settings"));
                }
                writer.put(&key, value.to_scalar())
            }
            Self::Reset(name) => writer.remove(&format!("{SETTING}{name}")),
        }
    }
}

#[cfg(test)]
mod tests;
