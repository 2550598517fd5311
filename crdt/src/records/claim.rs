//! Who wants a name, an address or a prompt for themselves, and who has it.
//!
//! Nothing can be unique while the network is split, so uniqueness is not refused but decided: everyone who wants something adds a
//! claim of their own (a document each: two halves of a split could not begin one document together), and [`standings`] says, from
//! the claims under one key alone, who has it. Nobody loses anything: the others keep their account or character, are shown with a
//! suffix, and can see with whom they are in conflict.
//!
//! ## The winner
//! 1. A verified claim goes before one that is not (an address to which a letter went, a name that a moderator has looked at).
//! 2. A claim that another one was written in knowledge of goes before that one. Each claim lists those that its writer knew, and
//!    since a claim's id is a hash of it, nobody can list one that does not exist yet.
//! 3. Of claims that did not know of each other the one with the smaller id has it. No clock takes part.
//!
//! ## Merge law
//! What is claimed, for whom and in knowledge of what is written once. *Verified* and *released* are flags that stay set.

use std::collections::{BTreeMap, BTreeSet};

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, Record, RecordError, RecordKind,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, Writer},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Earlier claims that a claim names; of more, those with the smallest ids.
pub const EARLIER_MAX: usize = 16;
/// Characters behind a name that somebody else has.
const SUFFIX_CHARACTERS: usize = 4;

const SUBJECT: &str = "subject";
const CLAIM: &str = "claim";
const VERIFIED: &str = "verified";
const RELEASED: &str = "released";

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClaimKind {
    /// An e-mail address, for an account.
    Email,
    /// A person's name, for an account.
    AccountName,
    /// A character's name, for a character.
    CharacterName,
    /// A system prompt, for a character.
    Prompt,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub kind: ClaimKind,
    /// Under which key: [`claim_key`] of what is claimed.
    pub key: [u8; 32],
    /// The account or character that wants it.
    pub subject: ContentId,
    /// Claims under the same key that were known when this one was made.
    pub earlier: BTreeSet<ContentId>,
    /// When it was made, for people.
    pub created: Timestamp,
    /// Whether it was looked into.
    pub verified: bool,
    /// Whether it was given up.
    pub released: bool,
}

/// How a claim stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The subject has it.
    Holder {
        /// Others that want it, too.
        contenders: BTreeSet<ContentId>,
    },
    /// Another claim goes before.
    Conflict {
        /// The claim that has it.
        holder: ContentId,
        /// What is shown behind the name, without the `~`.
        suffix: String,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredClaim {
    kind: ClaimKind,
    key: [u8; 32],
    earlier: Vec<ContentId>,
    created: Timestamp,
}

impl InitialFormat for StoredClaim {
    const VERSION: u8 = 1;
}

impl ClaimKind {
    /// Whether what is claimed says something about a person.
    #[must_use]
    pub const fn is_personal(self) -> bool {
        match self {
            Self::Email | Self::AccountName => true,
            Self::CharacterName | Self::Prompt => false,
        }
    }
}

/// The key under which a text is claimed: a hash of its normal form (small letters, blanks joined) that only members of the mesh can
/// make, because `pepper` is theirs. So an address cannot be guessed from a stolen disk without it.
#[must_use]
pub fn claim_key(kind: ClaimKind, text: &str, pepper: &[u8; 32]) -> [u8; 32] {
    let normal = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut hasher = blake3::Hasher::new_keyed(pepper);
    let number = match kind {
        ClaimKind::Email => 0,
        ClaimKind::AccountName => 1,
        ClaimKind::CharacterName => 2,
        ClaimKind::Prompt => 3,
    };
    hasher.update(&[number]).update(normal.as_bytes());
    *hasher.finalize().as_bytes()
}

impl Claim {
    /// A claim in knowledge of those that are there already.
    #[must_use]
    pub fn new(
        kind: ClaimKind,
        key: [u8; 32],
        subject: ContentId,
        known: &BTreeMap<ContentId, Self>,
        created: Timestamp,
    ) -> Self {
        let earlier = known.iter().filter(|(_, claim)| claim.kind == kind && claim.key == key);
        Self {
            kind,
            key,
            subject,
            earlier: earlier.map(|(id, _)| *id).take(EARLIER_MAX).collect(),
            created,
            verified: false,
            released: false,
        }
    }
}

/// How every claim stands among those of its kind and key. Released ones stand nowhere.
#[must_use]
pub fn standings(claims: &BTreeMap<ContentId, Claim>) -> BTreeMap<ContentId, Standing> {
    let mut rivals: BTreeMap<(ClaimKind, [u8; 32]), BTreeSet<ContentId>> = BTreeMap::new();
    for (id, claim) in claims.iter().filter(|(_, claim)| !claim.released) {
        rivals.entry((claim.kind, claim.key)).or_default().insert(*id);
    }
    let mut standings = BTreeMap::new();
    for rivals in rivals.into_values() {
        let Some(holder) = winner(claims, &rivals) else {
            continue;
        };
        let losers: BTreeSet<ContentId> = rivals.into_iter().filter(|id| *id != holder).collect();
        for loser in &losers {
            let suffix = suffix(loser, &losers);
            standings.insert(*loser, Standing::Conflict { holder, suffix });
        }
        standings.insert(holder, Standing::Holder { contenders: losers });
    }
    standings
}

fn winner(claims: &BTreeMap<ContentId, Claim>, rivals: &BTreeSet<ContentId>) -> Option<ContentId> {
    let verified: BTreeSet<ContentId> = rivals.iter().copied().filter(|id| claims[id].verified).collect();
    let rivals = if verified.is_empty() { rivals } else { &verified };
    // In order of their ids, so the first that no rival precedes is the smallest of them.
    let first = rivals.iter().find(|id| !knows_any(claims, **id, rivals));
    // Claims cannot know each other in a circle unless somebody finds a circle in blake3; then the smallest id has it.
    first.or_else(|| rivals.first()).copied()
}

/// Whether a claim was made in knowledge of one of its rivals, directly or through claims that do not count any more.
fn knows_any(claims: &BTreeMap<ContentId, Claim>, id: ContentId, rivals: &BTreeSet<ContentId>) -> bool {
    let mut seen = BTreeSet::from([id]);
    let mut open = vec![id];
    while let Some(next) = open.pop() {
        for earlier in claims.get(&next).into_iter().flat_map(|claim| &claim.earlier) {
            if seen.insert(*earlier) {
                if rivals.contains(earlier) {
                    return true;
                }
                open.push(*earlier);
            }
        }
    }
    false
}

/// A few small letters and digits that tell the losers apart; twice as many when two would be alike.
fn suffix(id: &ContentId, losers: &BTreeSet<ContentId>) -> String {
    // Crockford's alphabet without what reads like something else.
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let letters = |id: &ContentId, count: usize| -> String {
        let letters = id.0.iter().take(count);
        letters
            .map(|byte| char::from(LETTERS[usize::from(*byte % 32)]))
            .collect()
    };
    let short = letters(id, SUFFIX_CHARACTERS);
    let is_alone = losers
        .iter()
        .all(|other| other == id || letters(other, SUFFIX_CHARACTERS) != short);
    if is_alone {
        short
    } else {
        letters(id, 2 * SUFFIX_CHARACTERS)
    }
}

/// How a name is shown: as it is to who has it, `name~k7q2` to the others.
#[must_use]
pub fn shown_name(name: &str, standing: Option<&Standing>) -> String {
    match standing {
        Some(Standing::Conflict { suffix, .. }) => format!("{name}~{suffix}"),
        Some(Standing::Holder { .. }) | None => name.to_owned(),
    }
}

/// Whose a claim is.
pub(super) fn owner(reader: &Reader<'_>) -> Option<ContentId> {
    let claim: StoredClaim = reader.value(CLAIM)?;
    claim
        .kind
        .is_personal()
        .then(|| reader.content_id(SUBJECT).ok())
        .flatten()
}

impl Record for Claim {
    const KIND: RecordKind = RecordKind::Claim;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_count("earlier claims", self.earlier.len(), EARLIER_MAX)
    }

    fn owner(&self) -> Option<ContentId> {
        self.kind.is_personal().then_some(self.subject)
    }
}

impl Shape for Claim {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(SUBJECT, self.subject.0.to_vec())?;
        let stored = StoredClaim {
            kind: self.kind,
            key: self.key,
            earlier: self.earlier.iter().copied().collect(),
            created: self.created,
        };
        writer.put_value(CLAIM, CLAIM, &stored)?;
        for (field, set) in [(VERIFIED, self.verified), (RELEASED, self.released)] {
            if set {
                writer.put(field, true)?;
            }
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredClaim = reader.value(CLAIM).ok_or(RecordError::Field(CLAIM))?;
        let earlier: BTreeSet<ContentId> = stored.earlier.into_iter().collect();
        Ok(Self {
            kind: stored.kind,
            key: stored.key,
            subject: reader.content_id(SUBJECT)?,
            earlier: earlier.into_iter().take(EARLIER_MAX).collect(),
            created: stored.created,
            verified: reader.flag(VERIFIED, true).unwrap_or(false),
            released: reader.flag(RELEASED, true).unwrap_or(false),
        })
    }
}

/// A change to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimEdit {
    /// It was looked into.
    Verify,
    /// It is given up.
    Release,
}

impl Edit for ClaimEdit {
    const KIND: RecordKind = RecordKind::Claim;
}

impl Apply for ClaimEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::Verify => writer.put(VERIFIED, true),
            Self::Release => writer.put(RELEASED, true),
        }
    }
}

#[cfg(test)]
mod tests;
