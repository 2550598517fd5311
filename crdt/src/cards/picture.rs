//! The chunks of a PNG: finds the texts of a card among them, and writes them back. Whatever else is in the picture, frames of an
//! animation and chunks that nobody knows included, is passed on as it is and never decoded.

use std::io::Read;

use data_encoding::{BASE64, BASE64_NOPAD};
use flate2::read::ZlibDecoder;
use serde_json::Value;

use super::CardError;
use crate::limits::CARD_TEXT_BYTES_MAX;

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Bytes around the content of a chunk: its length, its name and its checksum.
const FRAME: usize = 12;
/// The names under which cards stand, the one that counts last.
const KEYWORDS: [&str; 2] = ["chara", "ccv3"];
/// What a program of version 2 shows of a card of version 3.
const BACKFILLED: &str = "This character card is Character Card V3, but it is loaded as a Character Card V2. Please use a Character \
                          Card V3 compatible application to use this character card properly.";

/// The JSON of one of a picture's cards.
#[derive(Clone, Debug)]
pub(super) struct CardText {
    keyword: &'static str,
    pub(super) json: String,
}

/// A chunk with its frame.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    name: [u8; 4],
    content: &'a [u8],
    whole: &'a [u8],
}

/// The chunks up to the last one, and what stands behind it.
fn chunks(bytes: &[u8]) -> Result<(Vec<Chunk<'_>>, &[u8]), CardError> {
    let mut rest = bytes.strip_prefix(SIGNATURE).ok_or(CardError::UnknownFile)?;
    let mut chunks = Vec::new();
    loop {
        // A length is believed only as far as the file goes; nothing is set aside for it.
        let (length, _) = rest.split_first_chunk().ok_or(CardError::Picture("it breaks off"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let end = length.checked_add(FRAME).filter(|end| *end <= rest.len());
        let end = end.ok_or(CardError::Picture("a chunk is longer than the file"))?;
        let (whole, behind) = rest.split_at(end);
        let chunk = Chunk {
            name: [whole[4], whole[5], whole[6], whole[7]],
            content: &whole[8..end - 4],
            whole,
        };
        if chunks.is_empty() && &chunk.name != b"IHDR" {
            return Err(CardError::Picture("it does not begin with its size"));
        }
        chunks.push(chunk);
        rest = behind;
        if &chunk.name == b"IEND" {
            return Ok((chunks, rest));
        }
    }
}

/// The keyword and the text of a chunk that holds a card.
fn card_chunk<'a>(chunk: &Chunk<'a>) -> Option<(&'static str, &'a [u8])> {
    if !matches!(&chunk.name, b"tEXt" | b"zTXt" | b"iTXt") {
        return None;
    }
    let end = chunk.content.iter().position(|byte| *byte == 0)?;
    let keyword = KEYWORDS
        .into_iter()
        .find(|keyword| chunk.content[..end].eq_ignore_ascii_case(keyword.as_bytes()))?;
    Some((keyword, &chunk.content[end + 1..]))
}

/// The texts of the cards in a picture, the one that counts last.
pub(super) fn texts(bytes: &[u8]) -> Result<Vec<CardText>, CardError> {
    let (chunks, _) = chunks(bytes)?;
    let mut texts: Vec<CardText> = Vec::new();
    for keyword in KEYWORDS {
        let mut own = chunks.iter().filter_map(|chunk| Some((chunk.name, card_chunk(chunk)?)));
        // Of several under one name the first counts, as elsewhere.
        if let Some((name, (_, content))) = own.find(|(_, (found, _))| *found == keyword) {
            let json = decoded(&unpacked(name, content)?)?;
            texts.push(CardText { keyword, json });
        }
    }
    if texts.is_empty() {
        return Err(CardError::NoCard);
    }
    Ok(texts)
}

/// The text of a chunk, without compression.
fn unpacked(name: [u8; 4], content: &[u8]) -> Result<Vec<u8>, CardError> {
    let damaged = CardError::Picture("a text chunk is malformed");
    let (is_compressed, text) = match &name {
        b"tEXt" => (false, content),
        b"zTXt" => (true, content.split_first().ok_or(damaged.clone())?.1),
        _ => {
            let (flags, rest) = content.split_at_checked(2).ok_or(damaged.clone())?;
            // Language and translated keyword, each with a zero behind it.
            let mut parts = rest.splitn(3, |byte| *byte == 0);
            (flags[0] == 1, parts.nth(2).ok_or(damaged.clone())?)
        }
    };
    // Base64 of the longest text.
    let most = CARD_TEXT_BYTES_MAX / 3 * 4 + 4;
    if !is_compressed {
        return if text.len() > most {
            Err(CardError::TextTooLarge)
        } else {
            Ok(text.to_owned())
        };
    }
    let mut unpacked = Vec::new();
    let mut limited = ZlibDecoder::new(text).take(most as u64 + 1);
    limited.read_to_end(&mut unpacked).map_err(|_| damaged)?;
    if unpacked.len() > most {
        Err(CardError::TextTooLarge)
    } else {
        Ok(unpacked)
    }
}

fn decoded(base64: &[u8]) -> Result<String, CardError> {
    let letters: Vec<u8> = base64
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=')
        .collect();
    let bytes = BASE64_NOPAD.decode(&letters).map_err(|_| CardError::Base64)?;
    if bytes.len() > CARD_TEXT_BYTES_MAX {
        return Err(CardError::TextTooLarge);
    }
    String::from_utf8(bytes).map_err(|_| CardError::Base64)
}

/// The picture with these texts in place of those of the same keywords, and otherwise as it is.
pub(super) fn with_texts(bytes: &[u8], texts: &[CardText]) -> Result<Vec<u8>, CardError> {
    let (chunks, behind) = chunks(bytes)?;
    let mut written = SIGNATURE.to_vec();
    let mut done: Vec<&str> = Vec::new();
    for chunk in &chunks {
        match card_chunk(chunk) {
            Some((keyword, _)) if !done.contains(&keyword) => {
                done.push(keyword);
                if let Some(text) = texts.iter().find(|text| text.keyword == keyword) {
                    put_text(&mut written, keyword, &text.json);
                }
            }
            // A second one under the same name never counted.
            Some(_) => {}
            None => written.extend_from_slice(chunk.whole),
        }
    }
    written.extend_from_slice(behind);
    Ok(written)
}

/// The picture with a card of version 3 and the same as version 2.
pub(super) fn with_new_texts(png: &[u8], json: &Value) -> Result<Vec<u8>, CardError> {
    let (chunks, _) = chunks(png)?;
    let mut earlier = json.clone();
    earlier["spec"] = "chara_card_v2".into();
    earlier["spec_version"] = "2.0".into();
    let notes = earlier["data"]["creator_notes"].as_str().unwrap_or_default();
    earlier["data"]["creator_notes"] = format!("{BACKFILLED}\n\n{notes}").trim_end().into();
    let mut written = SIGNATURE.to_vec();
    for chunk in chunks.iter().filter(|chunk| card_chunk(chunk).is_none()) {
        if &chunk.name == b"IEND" {
            put_text(&mut written, "chara", &earlier.to_string());
            put_text(&mut written, "ccv3", &json.to_string());
        }
        written.extend_from_slice(chunk.whole);
    }
    Ok(written)
}

/// The picture without any card; what cannot be read stays as it is.
pub(super) fn without_texts(bytes: &[u8]) -> Vec<u8> {
    with_texts(bytes, &[]).unwrap_or_else(|_| bytes.to_owned())
}

fn put_text(written: &mut Vec<u8>, keyword: &str, json: &str) {
    let content = [keyword.as_bytes(), &[0], BASE64.encode(json.as_bytes()).as_bytes()].concat();
    // Bounded by the limit of the text.
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(b"tEXt");
    checksum.update(&content);
    written.extend_from_slice(&length.to_be_bytes());
    written.extend_from_slice(b"tEXt");
    written.extend_from_slice(&content);
    written.extend_from_slice(&checksum.finalize().to_be_bytes());
}
