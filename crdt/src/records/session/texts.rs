//! Whose words the sealed texts of a change are: what must go when a message is erased.
//!
//! A message's words stand under its own id, under the ids of its later versions, in every summary that covers it and in a title that
//! was made from it. What a change writes says all of that by itself, so every node strips the same, in whatever order changes and
//! erasures come. A message is known by the half of its id that does not depend on time: one outbox id that two gateways accepted in
//! a split is one message with one text under two ids.

use std::collections::BTreeSet;

use automerge::{
    Change, ScalarValue,
    legacy::{Key, ObjectId, OpType},
};

use super::{
    EntryId, MESSAGE, MessageId, SUMMARY, StoredMessage, StoredSummary, StoredTitle, StoredVersion, TITLE,
    VERSION_OF_MESSAGE,
};
use crate::records::shape::{PayloadReference, StoredText, decode};

/// A text that a change writes.
struct Text {
    /// Its ciphertext; `None` when what is written cannot be understood, or stands in plain words.
    sealed: Option<PayloadReference>,
    /// Whether it is to be forgotten.
    erased: bool,
}

/// What of a change's ciphertexts stays when these messages are erased; `None` when it writes no word of theirs. Of a change that does,
/// what nothing in it names goes, too, and what this version of the program does not understand: it might be the same words.
pub(crate) fn kept_without(change: &Change, erased: &BTreeSet<MessageId>) -> Option<BTreeSet<PayloadReference>> {
    let halves: BTreeSet<[u8; 10]> = erased.iter().map(MessageId::hash_half).collect();
    let mut kept = BTreeSet::new();
    let mut gone = BTreeSet::new();
    let mut writes_erased = false;
    for operation in change.decode().operations {
        let (ObjectId::Root, Key::Map(key), OpType::Put(value)) = (&operation.obj, &operation.key, &operation.action)
        else {
            continue;
        };
        let Some(text) = text_of(key, value, erased, &halves) else {
            continue;
        };
        writes_erased |= text.erased;
        let side = if text.erased { &mut gone } else { &mut kept };
        side.extend(text.sealed);
    }
    writes_erased.then(|| kept.difference(&gone).copied().collect())
}

fn text_of(key: &str, value: &ScalarValue, erased: &BTreeSet<MessageId>, halves: &BTreeSet<[u8; 10]>) -> Option<Text> {
    let entry = |prefix: &str| key.strip_prefix(prefix).and_then(EntryId::parse);
    if let Some(id) = entry(MESSAGE) {
        let stored: Option<StoredMessage> = decode(value);
        return Some(Text {
            sealed: stored.and_then(|stored| sealed(&stored.text)),
            erased: halves.contains(&id.hash_half()),
        });
    }
    if entry(VERSION_OF_MESSAGE).is_some() {
        let stored: Option<StoredVersion> = decode(value);
        return Some(Text {
            erased: stored.as_ref().is_none_or(|stored| halves.contains(&stored.message)),
            sealed: stored.and_then(|stored| sealed(&stored.text)),
        });
    }
    if entry(SUMMARY).is_some() {
        let stored: Option<StoredSummary> = decode(value);
        return Some(Text {
            erased: stored
                .as_ref()
                .is_none_or(|stored| erased.iter().any(|message| stored.covers.includes(message))),
            sealed: stored.and_then(|stored| sealed(&stored.text)),
        });
    }
    (key == TITLE).then(|| match StoredTitle::from_scalar(value) {
        Some(title) => Text {
            erased: title.made_from.is_some_and(|message| halves.contains(&message)),
            sealed: sealed(&title.text),
        },
        None => Text {
            erased: matches!(value, ScalarValue::Bytes(_)),
            sealed: None,
        },
    })
}

const fn sealed(text: &StoredText) -> Option<PayloadReference> {
    match text {
        StoredText::Sealed(reference) => Some(*reference),
        StoredText::Plain(_) => None,
    }
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
