//! How the messages of a chat hang together: which follow which, and which of several alternatives is shown.
//!
//! Pure functions of the set of messages, so that every node shows the same:
//! - Answers to one question are alternatives; so are a question and its edited forms, and branches begun on purpose.
//! - What simply goes on from the same message on two devices in a split was not meant as a branch: the later chain is put behind
//!   the end of the earlier one, so that both devices show all of it in the same order.
//! - A question sent before its predecessor is answered follows the answer, once there is one.
//! - Of alternatives the one towards the current message is shown, else the longest, else the one with the smaller hash.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use super::{Message, MessageId, Place, Session};

/// The tree of a chat's messages. Takes linear time and memory (times a logarithm) of the number of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    children: BTreeMap<Option<MessageId>, Vec<MessageId>>,
    parents: HashMap<MessageId, Option<MessageId>>,
    /// Which child is shown.
    shown: BTreeMap<Option<MessageId>, MessageId>,
    hidden: HashSet<MessageId>,
    threads: Vec<MessageId>,
}

/// A message and its edited forms.
type Group = Vec<usize>;

/// What directly follows a message, sorted out.
#[derive(Default)]
struct Followers {
    answers: Vec<usize>,
    continuing: Vec<Group>,
    branching: Vec<Group>,
}

struct Builder<'a> {
    messages: &'a [Message],
    /// Messages on the way to the current one.
    chosen: HashSet<usize>,
    children: Vec<Vec<usize>>,
    shown: Vec<Option<usize>>,
    /// How many messages are shown from this one on, itself included.
    length: Vec<usize>,
    /// The last message that is shown from this one on.
    tail: Vec<usize>,
}

impl Tree {
    /// Builds the tree of a chat.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let messages = session.messages.as_slice();
        let positions: HashMap<MessageId, usize> = messages
            .iter()
            .enumerate()
            .map(|(position, message)| (message.id, position))
            .collect();
        let mut builder = Builder::new(session, &positions);
        let mut followers = sort_out(messages, &positions);
        // Descending: whatever follows a message is younger than it, so it is finished when the message's turn comes.
        for position in (0..messages.len()).rev() {
            let own = followers.remove(&Some(messages[position].id)).unwrap_or_default();
            let children = builder.join(own);
            builder.finish(position, children);
        }
        let mut tree = Self {
            children: BTreeMap::new(),
            parents: HashMap::new(),
            shown: BTreeMap::new(),
            hidden: session.deleted.iter().copied().collect(),
            threads: session.threads.clone(),
        };
        // What is left follows no message: the beginnings of dialogues.
        for (thread, own) in followers {
            let children = builder.join(own);
            let shown = builder.choose(&children);
            tree.add(messages, thread, &children, shown);
        }
        for (position, message) in messages.iter().enumerate() {
            tree.add(
                messages,
                Some(message.id),
                &builder.children[position],
                builder.shown[position],
            );
        }
        tree
    }

    fn add(&mut self, messages: &[Message], parent: Option<MessageId>, children: &[usize], shown: Option<usize>) {
        let ids: Vec<MessageId> = children.iter().map(|child| messages[*child].id).collect();
        self.parents.extend(ids.iter().map(|id| (*id, parent)));
        if let Some(shown) = shown {
            self.shown.insert(parent, messages[shown].id);
            self.children.insert(parent, ids);
        }
    }

    /// The alternatives that follow a message, oldest first. For a thread, or `None` for the first dialogue: how it can begin.
    #[must_use]
    pub fn children(&self, parent: Option<MessageId>) -> &[MessageId] {
        self.children.get(&parent).map_or(&[], Vec::as_slice)
    }

    /// The message that a message stands behind; `None` when it is unknown or begins a dialogue.
    #[must_use]
    pub fn parent(&self, message: MessageId) -> Option<MessageId> {
        let parent = self.parents.get(&message).copied().flatten();
        parent.filter(|parent| self.parents.contains_key(parent))
    }

    /// The alternatives to a message, itself included, oldest first; empty when it is unknown.
    #[must_use]
    pub fn alternatives(&self, message: MessageId) -> &[MessageId] {
        self.parents.get(&message).map_or(&[], |parent| self.children(*parent))
    }

    /// The dialogue that a message belongs to; `None` for the first one.
    #[must_use]
    pub fn thread_of(&self, message: MessageId) -> Option<MessageId> {
        let mut first = message;
        while let Some(parent) = self.parent(first) {
            first = parent;
        }
        let thread = self.parents.get(&first).copied().flatten();
        thread.or_else(|| self.threads.contains(&message).then_some(message))
    }

    /// What is shown of a dialogue, from its beginning to its end. Deleted messages are left out, what follows them is not.
    #[must_use]
    pub fn main_path(&self, thread: Option<MessageId>) -> Vec<MessageId> {
        let mut path = Vec::new();
        self.extend(&mut path, thread);
        path
    }

    /// From the beginning of its dialogue to a message, itself included; empty when it is unknown. Deleted messages are left out.
    #[must_use]
    pub fn path_to(&self, message: MessageId) -> Vec<MessageId> {
        let mut path = Vec::new();
        let mut next = self.parents.contains_key(&message).then_some(message);
        while let Some(id) = next {
            path.push(id);
            next = self.parent(id);
        }
        path.reverse();
        path.retain(|id| !self.hidden.contains(id));
        path
    }

    /// [`Tree::path_to`] a message, and then what is shown behind it.
    #[must_use]
    pub fn path_through(&self, message: MessageId) -> Vec<MessageId> {
        let mut path = self.path_to(message);
        if self.parents.contains_key(&message) {
            self.extend(&mut path, Some(message));
        }
        path
    }

    fn extend(&self, path: &mut Vec<MessageId>, from: Option<MessageId>) {
        let mut from = from;
        while let Some(next) = self.shown.get(&from) {
            if !self.hidden.contains(next) {
                path.push(*next);
            }
            from = Some(*next);
        }
    }
}

/// Sorts messages by what they follow.
fn sort_out(messages: &[Message], positions: &HashMap<MessageId, usize>) -> BTreeMap<Option<MessageId>, Followers> {
    let mut followers: BTreeMap<Option<MessageId>, Followers> = BTreeMap::new();
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for (position, message) in messages.iter().enumerate() {
        if message.is_from_person() {
            let original = original(messages, positions, position);
            groups.entry(original).or_default().push(position);
        } else {
            // An edited answer is one of the answers.
            followers
                .entry(older_parent(message))
                .or_default()
                .answers
                .push(position);
        }
    }
    for (original, group) in groups {
        let message = &messages[original];
        let own = followers.entry(older_parent(message)).or_default();
        match message.place {
            Place::Continues => own.continuing.push(group),
            Place::Branches | Place::Replaces(_) => own.branching.push(group),
        }
    }
    followers
}

/// What a message follows. A parent that is not older than its child could make a circle, and counts as none.
fn older_parent(message: &Message) -> Option<MessageId> {
    message.parent.filter(|parent| *parent < message.id)
}

/// The message that a message is an edited form of, in the end; itself when of none.
fn original(messages: &[Message], positions: &HashMap<MessageId, usize>, position: usize) -> usize {
    let mut original = position;
    while let Place::Replaces(replaced) = messages[original].place {
        match positions.get(&replaced) {
            // Always an older one of the same speaker, so this ends.
            Some(next) if *next < original && messages[*next].is_from_person() => original = *next,
            _ => break,
        }
    }
    original
}

impl<'a> Builder<'a> {
    fn new(session: &'a Session, positions: &HashMap<MessageId, usize>) -> Self {
        let messages = session.messages.as_slice();
        let mut chosen = HashSet::new();
        let mut next = session.current.and_then(|current| positions.get(&current).copied());
        while let Some(position) = next {
            chosen.insert(position);
            let parent = older_parent(&messages[position]).and_then(|parent| positions.get(&parent).copied());
            next = parent;
        }
        let count = messages.len();
        let is_shown = |message: &Message| usize::from(!session.deleted.contains(&message.id));
        Self {
            messages,
            chosen,
            children: vec![Vec::new(); count],
            shown: vec![None; count],
            length: messages.iter().map(is_shown).collect(),
            tail: (0..count).collect(),
        }
    }

    fn choose(&self, alternatives: &[usize]) -> Option<usize> {
        let rank = |position: &usize| {
            let id = self.messages[*position].id;
            (
                self.chosen.contains(position),
                self.length[*position],
                Reverse(id.hash_half()),
            )
        };
        alternatives.iter().copied().max_by_key(rank)
    }

    /// Puts `group` behind the end of what is shown from `position` on.
    fn append(&mut self, position: usize, group: Group) {
        let Some(shown) = self.choose(&group) else { return };
        let tail = self.tail[position];
        self.length[position] += self.length[shown];
        self.tail[position] = self.tail[shown];
        self.children[tail] = group;
        self.shown[tail] = Some(shown);
    }

    /// Joins what directly follows a message into its alternatives.
    fn join(&mut self, followers: Followers) -> Vec<usize> {
        let mut chain: Option<Group> = None;
        for group in followers.continuing.into_iter().rev() {
            if let (Some(first), Some(rest)) = (self.choose(&group), chain.take()) {
                self.append(first, rest);
            }
            chain = Some(group);
        }
        let mut children = followers.answers;
        match (self.choose(&children), chain) {
            (Some(answer), Some(rest)) => self.append(answer, rest),
            (None, Some(rest)) => children = rest,
            (_, None) => {}
        }
        children.extend(followers.branching.into_iter().flatten());
        children.sort_unstable();
        children
    }

    fn finish(&mut self, position: usize, children: Vec<usize>) {
        if let Some(shown) = self.choose(&children) {
            self.length[position] += self.length[shown];
            self.tail[position] = self.tail[shown];
            self.shown[position] = Some(shown);
            self.children[position] = children;
        }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
