//! Which texts of a chat are opened when it is read.
//!
//! Most of the time of reading a long chat goes into opening its texts, and whoever shows a page of it needs those of the page alone.
//! What a chat looks like (ids, order, parents, branches, flags, times) is read whole: it decides which messages are on a page.

use std::collections::BTreeMap;

use super::{MESSAGE, MessageId, StoredMessage, messages_of_version_1, open_message, open_version, stored_versions};
use crate::records::{Sealed, shape::Reader};

/// Of all messages in order of time, those whose texts are opened: the first and the last ones. The others are
/// [`Sealed::Unopened`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// So many of the oldest, from which a chat has its name.
    pub oldest: usize,
    /// So many of the newest, which a page shows first.
    pub newest: usize,
}

impl Opening {
    /// Every text.
    pub const ALL: Self = Self {
        oldest: usize::MAX,
        newest: usize::MAX,
    };

    /// Whether the message at this place of so many is opened.
    pub(super) const fn includes(self, place: usize, count: usize) -> bool {
        place < self.oldest || place >= count.saturating_sub(self.newest)
    }
}

/// What these messages say now. One that is not there is left out.
pub(crate) fn read_texts(reader: &Reader<'_>, messages: &[MessageId]) -> BTreeMap<MessageId, Sealed> {
    let versions = stored_versions(reader);
    let mut texts = BTreeMap::new();
    for id in messages {
        let newest = versions.get(&id.hash_half()).and_then(|versions| versions.last());
        if let Some((version, stored)) = newest {
            texts.insert(*id, open_version(reader, version, &stored.text));
        } else if let Some(stored) = reader.value::<StoredMessage>(&format!("{MESSAGE}{id}")) {
            texts.insert(*id, open_message(reader, id, &stored.text));
        }
    }
    if texts.len() < messages.len() {
        let old = messages_of_version_1(reader).into_iter();
        for entry in old.filter(|entry| messages.contains(&entry.id)) {
            let open = || open_message(reader, &entry.id, &entry.message.text);
            texts.entry(entry.id).or_insert_with(open);
        }
    }
    texts
}
