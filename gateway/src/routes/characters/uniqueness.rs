//! Names and prompts that only one character has: refused at equality, warned of at likeness, and decided afterwards where the two halves
//! of a split network could not know of each other.

use std::collections::BTreeMap;

use crdt::{
    cards::content::KEPT_IN_CARD,
    records::{
        character::{Character, Definition, LIKENESS_WARNED, Pieces},
        claim::{self, Claim, ClaimEdit, ClaimKind, Standing, claim_key},
    },
};
use keys::{ContentId, Timestamp};

use super::{bodies::ConflictBody, error::CharacterError};
use crate::{
    app::App,
    error::{ApiError, NamedBody},
    limits::CHARACTERS_COMPARED_MAX,
};

/// A character with much the same prompt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Twin {
    pub(crate) id: ContentId,
    pub(crate) name: String,
    pub(crate) score: f64,
}

/// The names and prompts of one character.
fn definitions(character: &Character) -> impl Iterator<Item = &Definition> {
    character.definition().into_iter().chain([&character.draft])
}

fn key(app: &App, kind: ClaimKind, text: &str) -> [u8; 32] {
    // A character is nobody's secret: whatever every member of the mesh knows will do.
    claim_key(kind, text, &app.mesh.0)
}

/// Refuses a name or a prompt that another character has; otherwise names the most similar one, if it is much the same.
pub(crate) async fn check(
    app: &App,
    own: Option<ContentId>,
    definition: &Definition,
) -> Result<Option<Twin>, ApiError> {
    let mut others = app.store.list::<Character>().await?;
    others.retain(|(id, character)| Some(*id) != own && !character.retired);
    let name = key(app, ClaimKind::CharacterName, &definition.name);
    let prompt = key(app, ClaimKind::Prompt, &definition.prompt);
    let has_prompt = definition.prompt != KEPT_IN_CARD;
    for (id, other) in &others {
        for theirs in definitions(other) {
            let twin = || NamedBody {
                id: id.to_string(),
                name: theirs.name.clone(),
            };
            if key(app, ClaimKind::CharacterName, &theirs.name) == name {
                return Err(CharacterError::NameTaken(twin()).into());
            }
            if has_prompt && key(app, ClaimKind::Prompt, &theirs.prompt) == prompt {
                return Err(CharacterError::PromptTaken(twin()).into());
            }
        }
    }
    if !has_prompt {
        return Ok(None);
    }
    others.truncate(CHARACTERS_COMPARED_MAX);
    let prompt = definition.prompt.clone();
    let nearest = tokio::task::spawn_blocking(move || nearest(&prompt, &others));
    nearest.await.map_err(|_| ApiError::StorageUnavailable)
}

fn nearest(prompt: &str, others: &[(ContentId, Character)]) -> Option<Twin> {
    let pieces = Pieces::of(prompt);
    let scores = others.iter().flat_map(|(id, other)| {
        definitions(other).map(|theirs| Twin {
            id: *id,
            name: theirs.name.clone(),
            score: pieces.likeness(&Pieces::of(&theirs.prompt)),
        })
    });
    scores
        .filter(|twin| twin.score >= LIKENESS_WARNED)
        .max_by(|left, right| left.score.total_cmp(&right.score))
}

/// Claims a character's name and prompt, in knowledge of the claims that are here, and gives up what it had before.
pub(crate) async fn claim(app: &App, id: ContentId, definition: &Definition) -> Result<(), ApiError> {
    let known: BTreeMap<ContentId, Claim> = app.store.list::<Claim>().await?.into_iter().collect();
    let texts = [
        (ClaimKind::CharacterName, &definition.name),
        (ClaimKind::Prompt, &definition.prompt),
    ];
    for (kind, text) in texts {
        let wanted = key(app, kind, text);
        let own = known
            .iter()
            .filter(|(_, claim)| claim.subject == id && claim.kind == kind && !claim.released);
        let mut has_it = false;
        for (claim_id, claim) in own {
            if claim.key == wanted {
                has_it = true;
            } else {
                app.store.edit(*claim_id, ClaimEdit::Release).await?;
            }
        }
        if !has_it && text != KEPT_IN_CARD {
            app.store
                .create(Claim::new(kind, wanted, id, &known, Timestamp::now()))
                .await?;
        }
    }
    Ok(())
}

/// Gives up everything that a character has.
pub(crate) async fn release(app: &App, id: ContentId) -> Result<(), ApiError> {
    for (claim_id, claim) in app.store.list::<Claim>().await? {
        let is_own = claim.subject == id && matches!(claim.kind, ClaimKind::CharacterName | ClaimKind::Prompt);
        if is_own && !claim.released {
            app.store.edit(claim_id, ClaimEdit::Release).await?;
        }
    }
    Ok(())
}

/// How the names and prompts of all characters stand.
pub(crate) struct Standings {
    claims: BTreeMap<ContentId, Claim>,
    standings: BTreeMap<ContentId, Standing>,
}

impl Standings {
    pub(crate) async fn read(app: &App) -> Result<Self, ApiError> {
        let claims: BTreeMap<ContentId, Claim> = app.store.list::<Claim>().await?.into_iter().collect();
        let standings = claim::standings(&claims);
        Ok(Self { claims, standings })
    }

    fn of(&self, character: ContentId, kind: ClaimKind) -> Option<&Standing> {
        let mut own = self
            .claims
            .iter()
            .filter(|(_, claim)| claim.subject == character && claim.kind == kind && !claim.released);
        own.find_map(|(id, _)| self.standings.get(id))
    }

    /// The name as people see it.
    pub(crate) fn shown_name(&self, character: ContentId, name: &str) -> String {
        claim::shown_name(name, self.of(character, ClaimKind::CharacterName))
    }

    /// What another character has.
    pub(crate) async fn conflicts(&self, app: &App, character: ContentId) -> Result<Vec<ConflictBody>, ApiError> {
        let mut conflicts = Vec::new();
        for (kind, word) in [(ClaimKind::CharacterName, "name"), (ClaimKind::Prompt, "prompt")] {
            let Some(Standing::Conflict { holder, .. }) = self.of(character, kind) else {
                continue;
            };
            let holder_id = self.claims[holder].subject;
            let holder: Option<Character> = app.store.read(holder_id).await.ok();
            conflicts.push(ConflictBody {
                kind: word,
                holder_id: holder_id.to_string(),
                holder_name: holder.map(|holder| holder.draft.name).unwrap_or_default(),
            });
        }
        Ok(conflicts)
    }
}
