//! The index of one chat: pure.

use std::collections::HashMap;

use crdt::records::session::MessageId;
use keys::ContentId;

use super::words::{Stem, Words};
use crate::{chats::Chat, limits::SNIPPET_CHARACTERS};

/// One chat's messages, by their words.
pub(crate) struct Part {
    chat: ContentId,
    messages: Vec<Indexed>,
    /// Places of the messages with a word, ascending.
    postings: HashMap<Stem, Vec<u32>>,
    bytes: usize,
}

struct Indexed {
    id: MessageId,
    is_from_person: bool,
    at: u64,
    text: Box<str>,
}

/// What is looked for.
pub(super) struct Query(Vec<Stem>);

/// A message with all words that were looked for.
pub(crate) struct Hit {
    /// The chat.
    pub(crate) chat: ContentId,
    /// The message.
    pub(crate) message: MessageId,
    /// Whether the person says it.
    pub(crate) is_from_person: bool,
    /// When.
    pub(crate) at: u64,
    /// What stands around the first word that was found.
    pub(crate) snippet: String,
    /// Where the words stand in it, as first character and number of characters.
    pub(crate) marks: Vec<(usize, usize)>,
}

impl Query {
    pub(super) fn new(text: &str) -> Self {
        let words = Words::new();
        let mut stems: Vec<Stem> = words.stems(text).map(|(stem, ..)| stem).collect();
        stems.sort_unstable();
        stems.dedup();
        Self(stems)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Part {
    /// Indexes what is shown of a chat.
    pub(crate) fn of(chat: &Chat) -> Self {
        let words = Words::new();
        let mut part = Self {
            chat: chat.document,
            messages: Vec::new(),
            postings: HashMap::new(),
            bytes: 0,
        };
        for message in chat.shown().filter(|message| message.text.is_readable()) {
            let place = u32::try_from(part.messages.len()).unwrap_or(u32::MAX);
            let text = message.text.text();
            for (stem, ..) in words.stems(text) {
                let postings = part.postings.entry(stem).or_default();
                if postings.last() != Some(&place) {
                    postings.push(place);
                }
            }
            part.messages.push(Indexed {
                id: message.id,
                is_from_person: message.is_from_person(),
                at: message.at.0,
                text: text.into(),
            });
        }
        part.bytes = part.measure();
        part
    }

    /// About what it takes in memory.
    fn measure(&self) -> usize {
        let texts: usize = self
            .messages
            .iter()
            .map(|message| message.text.len() + size_of::<Indexed>())
            .sum();
        let postings: usize = self.postings.values().map(|places| places.capacity() * 4 + 48).sum();
        texts + postings
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its newest messages with all words, older than `before`.
    pub(super) fn find(&self, query: &Query, before: Option<MessageId>, most: usize) -> Vec<Hit> {
        let mut lists: Vec<&Vec<u32>> = Vec::new();
        for stem in &query.0 {
            match self.postings.get(stem) {
                Some(places) => lists.push(places),
                None => return Vec::new(),
            }
        }
        lists.sort_by_key(|places| places.len());
        let Some((rarest, others)) = lists.split_first() else {
            return Vec::new();
        };
        let words = Words::new();
        let has_all = |place: &&u32| others.iter().all(|places| places.binary_search(place).is_ok());
        let found = rarest
            .iter()
            .rev()
            .filter(has_all)
            .map(|place| &self.messages[*place as usize]);
        let found = found.filter(|message| before.is_none_or(|before| message.id < before));
        found
            .take(most)
            .map(|message| self.hit(&words, message, query))
            .collect()
    }

    fn hit(&self, words: &Words, message: &Indexed, query: &Query) -> Hit {
        let (snippet, marks) = snippet(words, &message.text, query);
        Hit {
            chat: self.chat,
            message: message.id,
            is_from_person: message.is_from_person,
            at: message.at,
            snippet,
            marks,
        }
    }
}

/// The part of a text around the first word of the query, and where the query's words stand in it.
fn snippet(words: &Words, text: &str, query: &Query) -> (String, Vec<(usize, usize)>) {
    let found = words.stems(text).filter(|(stem, ..)| query.0.contains(stem));
    let found: Vec<(usize, usize)> = found.map(|(_, from, to)| (from, to)).collect();
    let first = found.first().map_or(0, |(from, _)| *from);
    // A third of the snippet stands before the word.
    let before = text[..first].char_indices().rev().take(SNIPPET_CHARACTERS / 3).last();
    let from = before.map_or(first, |(at, _)| at);
    let to = text[from..].char_indices().nth(SNIPPET_CHARACTERS);
    let to = to.map_or(text.len(), |(at, _)| from + at);
    let count = |from: usize, to: usize| text[from..to].chars().count();
    let marks = found
        .iter()
        .filter(|(word_from, word_to)| *word_from >= from && *word_to <= to);
    let marks = marks.map(|(word_from, word_to)| (count(from, *word_from), count(*word_from, *word_to)));
    (text[from..to].to_owned(), marks.collect())
}

#[cfg(test)]
mod tests {
    use crdt::records::session::{Ending, Message, Session};
    use keys::Timestamp;

    use super::*;

    fn chat(messages: u64) -> Chat {
        let id = ContentId([2; 32]);
        let mut session = Session::new(id, id, Timestamp(0));
        let mut parent = None;
        for number in 0..messages {
            let text = format!("Вопрос {number} про птиц и about stars");
            let question =
                Message::from_person(&text, &format!("outbox-{number}"), &id, parent, Timestamp(number * 10));
            let answer = Message::answer(
                question.id,
                "Скворцы летают стаями.",
                Timestamp(number * 10 + 5),
                "m",
                Ending::Complete,
            );
            parent = Some(answer.id);
            session.messages.extend([question, answer]);
        }
        Chat::of(id, session)
    }

    #[test]
    fn all_words_are_found_in_any_form_newest_first_and_marked() {
        let part = Part::of(&chat(30));
        let find = |text: &str, before| part.find(&Query::new(text), before, 5);
        let hits = find("ПТИЦА star", None);
        assert_eq!(hits.len(), 5);
        assert!(hits.windows(2).all(|pair| pair[0].message > pair[1].message));
        let marked = |hit: &Hit| -> Vec<String> {
            let marks = hit.marks.iter();
            marks
                .map(|(from, count)| hit.snippet.chars().skip(*from).take(*count).collect())
                .collect()
        };
        assert_eq!(marked(&hits[0]), ["птиц", "stars"]);
        assert!(hits[0].is_from_person && hits[0].snippet.starts_with("Вопрос 29"));
        let older = find("птицы", Some(hits[4].message));
        assert!(older[0].message < hits[4].message);
        assert_eq!(find("17", None).len(), 1);
        assert!(find("птица жираф", None).is_empty());
        assert!(!find("скворец", None)[0].is_from_person);
        assert!(Query::new(" .,! ").is_empty());
    }
}
