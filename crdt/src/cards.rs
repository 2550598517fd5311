//! Characters as files: the cards that other programs read and write.
//!
//! A card is JSON of one of three versions, alone, inside a picture (PNG or APNG) or in a zip archive (CHARX). It comes from anywhere,
//! so everything here is a pure function of bytes with bounds that hold before anything is unpacked.
//!
//! ## No loss
//! A card is never made anew from what Starling understood of it. The file is kept byte for byte, and [`Card::write`] puts new values
//! into the text of its JSON where the old ones stood: what nobody edited, known or unknown, stays as it was to the byte.
//!
//! ## Parts
//! - `text`: finds and replaces values in the text of JSON.
//! - `picture`: the chunks of a PNG.
//! - `archive`: the entries of a CHARX.
//! - [`content`]: what a card says in the fields of a [`Definition`](crate::records::character::Definition), which of them are longer
//!   than a field may be, and how a definition that was edited goes back.
//! - [`lorebook`]: which entries belong into a prompt, by all rules of version 3.
//! - [`macros`]: `{{char}}` and the like.
//!
//! What a card says is text and nothing else: no address in it is ever loaded, no script run, no markup believed.

mod archive;
pub mod content;
pub mod lorebook;
pub mod macros;
mod picture;
mod text;

use serde_json::Value;

pub use self::text::Edit;
use crate::limits::{CARD_BYTES_MAX, CARD_TEXT_BYTES_MAX};

/// How a card travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// JSON alone.
    Json,
    /// A picture, perhaps a moving one.
    Png,
    /// A zip archive.
    Charx,
}

/// By which version a card is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spec {
    /// Six fields and nothing around them.
    V1,
    /// `chara_card_v2`
    V2,
    /// `chara_card_v3`
    V3,
}

/// Why a file is not taken as a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// More bytes than a card may have.
    #[error("a card may have {CARD_BYTES_MAX} bytes")]
    TooLarge,
    /// More bytes of text than a card may have, once it is unpacked.
    #[error("the text of a card may have {CARD_TEXT_BYTES_MAX} bytes")]
    TextTooLarge,
    /// Neither JSON nor PNG nor a zip archive.
    #[error("the file is neither JSON nor a PNG picture nor a CHARX archive")]
    UnknownFile,
    /// A picture or an archive without a card in it.
    #[error("there is no card in the file")]
    NoCard,
    /// A picture that breaks off or contradicts itself.
    #[error("the picture is damaged: {0}")]
    Picture(&'static str),
    /// An archive that breaks off or contradicts itself.
    #[error("the archive is damaged: {0}")]
    Archive(&'static str),
    /// More entries than an archive may have.
    #[error("the archive has too many entries")]
    TooManyEntries,
    /// An archive behind a password.
    #[error("the archive is encrypted")]
    Encrypted,
    /// The text is not base64.
    #[error("the text of the card is not base64")]
    Base64,
    /// The text is not JSON.
    #[error("the text of the card is not JSON: line {line}, column {column}")]
    Json {
        /// Where it stops being JSON.
        line: usize,
        /// Where in this line.
        column: usize,
    },
    /// JSON, and no character.
    #[error("the file is not the card of a character")]
    NoCharacter,
}

/// A card that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// How it travels.
    pub container: Container,
    /// By which version it is written.
    pub spec: Spec,
    /// Whether it is of a later version than is known here: what is new in it is kept and not understood.
    pub is_newer: bool,
    /// Its JSON. Of a picture with two the one of version 3.
    pub json: Value,
}

impl Card {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn read(bytes: &[u8]) -> Result<Self, CardError> {
        if bytes.len() > CARD_BYTES_MAX {
            return Err(CardError::TooLarge);
        }
        let container = container(bytes).ok_or(CardError::UnknownFile)?;
        let text = match container {
            Container::Json => json_text(bytes)?.to_owned(),
            Container::Png => picture::texts(bytes)?.pop().ok_or(CardError::NoCard)?.json,
            Container::Charx => archive::card(bytes)?,
        };
        let json = text::parse(&text)?;
        let (spec, is_newer) = spec(&json).ok_or(CardError::NoCharacter)?;
        Ok(Self {
            container,
            spec,
            is_newer,
            json,
        })
    }

    /// Where the fields of the character stand.
    #[must_use]
    pub fn data(&self) -> &Value {
        match self.spec {
            Spec::V1 => &self.json,
            Spec::V2 | Spec::V3 => &self.json["data"],
        }
    }

    /// The file with these edits, and otherwise as it is to the byte. Each edit's path begins where the fields of the character stand.
    ///
    /// # Errors
    /// When the file is not the one that was read, or becomes too large.
    pub fn write(bytes: &[u8], edits: &[Edit]) -> Result<Vec<u8>, CardError> {
        Self::read(bytes)?;
        let written = match container(bytes).ok_or(CardError::UnknownFile)? {
            Container::Json => {
                let text = edited(json_text(bytes)?, edits)?;
                // A mark of the byte order that was there stays there.
                [&bytes[..bytes.len() - json_text(bytes)?.len()], text.as_bytes()].concat()
            }
            Container::Png => {
                let mut texts = picture::texts(bytes)?;
                for text in &mut texts {
                    text.json = edited(&text.json, edits)?;
                }
                picture::with_texts(bytes, &texts)?
            }
            Container::Charx => {
                let text = edited(&archive::card(bytes)?, edits)?;
                archive::with_card(bytes, text.as_bytes())?
            }
        };
        if written.len() > CARD_BYTES_MAX {
            return Err(CardError::TooLarge);
        }
        Ok(written)
    }

    /// The picture of a card that is one or has one in it, as bytes that nobody has looked into yet.
    #[must_use]
    pub fn picture(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self.container {
            Container::Json => None,
            Container::Png => Some(picture::without_texts(bytes)),
            Container::Charx => archive::entry(bytes, &self.icon_path()?).ok(),
        }
    }

    /// The path of the main icon inside an archive.
    fn icon_path(&self) -> Option<String> {
        let assets = self.data()["assets"].as_array()?;
        let icons = || assets.iter().filter(|asset| asset["type"] == "icon");
        let main = icons()
            .find(|asset| asset["name"] == "main")
            .or_else(|| icons().next())?;
        let uri = main["uri"].as_str()?;
        // The specification spells it so; some programs spell it as everybody else does.
        let path = uri
            .strip_prefix("embeded://")
            .or_else(|| uri.strip_prefix("embedded://"))?;
        Some(path.to_owned())
    }
}

/// A picture that carries a card of version 3, and the same as version 2 for programs that know no more.
///
/// # Errors
/// When it is no PNG, or becomes too large.
pub fn into_picture(png: &[u8], json: &Value) -> Result<Vec<u8>, CardError> {
    if container(png) != Some(Container::Png) {
        return Err(CardError::UnknownFile);
    }
    let written = picture::with_new_texts(png, json)?;
    if written.len() > CARD_BYTES_MAX {
        return Err(CardError::TooLarge);
    }
    Ok(written)
}

/// What a file is, by its first bytes.
fn container(bytes: &[u8]) -> Option<Container> {
    if bytes.starts_with(picture::SIGNATURE) {
        return Some(Container::Png);
    }
    if bytes.starts_with(archive::SIGNATURE) {
        return Some(Container::Charx);
    }
    let first = json_text(bytes).ok()?.trim_start().as_bytes().first();
    (first == Some(&b'{')).then_some(Container::Json)
}

/// The JSON of a file that is nothing else, without a mark of the byte order.
fn json_text(bytes: &[u8]) -> Result<&str, CardError> {
    if bytes.len() > CARD_TEXT_BYTES_MAX {
        return Err(CardError::TextTooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| CardError::UnknownFile)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn spec(json: &Value) -> Option<(Spec, bool)> {
    let version = || {
        json["spec_version"]
            .as_str()
            .and_then(|version| version.parse::<f64>().ok())
    };
    let is_newer = |known: f64| version().is_some_and(|version| version > known);
    match json["spec"].as_str() {
        Some("chara_card_v3") if json["data"].is_object() => Some((Spec::V3, is_newer(3.0))),
        Some("chara_card_v2") if json["data"].is_object() => Some((Spec::V2, is_newer(2.0))),
        // A later one that keeps the shape is read as the last that is known.
        Some(later) if later.starts_with("chara_card_v") && json["data"].is_object() => Some((Spec::V3, true)),
        Some(_) => None,
        None => {
            let has = |field: &str| json[field].is_string();
            (has("name") && (has("description") || has("first_mes") || has("personality"))).then_some((Spec::V1, false))
        }
    }
}

/// Each text of a card is edited by its own version: a picture may carry two.
fn edited(text: &str, edits: &[Edit]) -> Result<String, CardError> {
    let json = text::parse(text)?;
    let (spec, _) = spec(&json).ok_or(CardError::NoCharacter)?;
    let root: &[&str] = match spec {
        Spec::V1 => &[],
        Spec::V2 | Spec::V3 => &["data"],
    };
    let mut text = text.to_owned();
    for edit in edits.iter().filter(|edit| edit.since <= spec) {
        text = text::replaced(&text, root, edit);
        if text.len() > CARD_TEXT_BYTES_MAX {
            return Err(CardError::TextTooLarge);
        }
    }
    Ok(text)
}
