//! What a decision does, and who may make it.

use crdt::{
    StoreError,
    records::{
        account::{AccountEdit, Role},
        character::CharacterEdit,
        complaint::{Complaint, Decision},
    },
};
use keys::ContentId;

use crate::{
    app::App,
    auth::Person,
    error::ApiError,
    idle::Peer,
    routes::{characters::uniqueness, people::block},
};

const ALL: [Decision; 5] = [
    Decision::Dismissed,
    Decision::AuthorWarned,
    Decision::CharacterHidden,
    Decision::CharacterBlocked,
    Decision::AuthorBlocked,
];

/// Refuses a decision that is not the person's to make, or that there is nobody for.
pub(super) async fn check(
    app: &App,
    person: &Person,
    complaint: &Complaint,
    decision: Decision,
) -> Result<(), ApiError> {
    // Nobody judges in an own case; a mesh whose only administrator complains would have nobody else.
    let is_own = person.id == complaint.account || Some(person.id) == complaint.author;
    if is_own && !person.account.roles.contains(Role::Administrator) {
        return Err(ApiError::NotAllowed);
    }
    let needs_author = matches!(decision, Decision::AuthorWarned | Decision::AuthorBlocked);
    if !needs_author {
        return Ok(());
    }
    let author = complaint.author.ok_or(ApiError::Conflict)?;
    let account = match app.people.read_anew(author).await {
        Ok(account) => account,
        // Whoever is gone can be told nothing.
        Err(StoreError::NotFound | StoreError::Erased) => return Err(ApiError::Conflict),
        Err(error) => return Err(error.into()),
    };
    if decision == Decision::AuthorBlocked {
        block::may_block(person, author, &account)?;
    }
    Ok(())
}

/// Whether the person may read it. Whom a complaint is about is never told who complained; administrators see everything.
pub(super) fn check_reading(person: &Person, complaint: &Complaint) -> Result<(), ApiError> {
    let is_about_them = Some(person.id) == complaint.author;
    if is_about_them && !person.account.roles.contains(Role::Administrator) {
        return Err(ApiError::NotAllowed);
    }
    Ok(())
}

/// What the person may decide.
pub(super) async fn allowed(app: &App, person: &Person, complaint: &Complaint) -> Result<Vec<Decision>, ApiError> {
    let mut allowed = Vec::new();
    for decision in ALL {
        match check(app, person, complaint, decision).await {
            Ok(()) => allowed.push(decision),
            Err(ApiError::NotAllowed | ApiError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(allowed)
}

/// Does what was decided; doing it twice changes nothing. A warning is read out of the complaint itself.
pub(super) async fn apply(
    app: &App,
    person: &Person,
    peer: Peer,
    id: ContentId,
    complaint: &Complaint,
    decision: Decision,
) -> Result<(), ApiError> {
    let character = complaint.character;
    if let (Decision::AuthorBlocked, Some(author)) = (decision, complaint.author) {
        app.audit
            .note_of(person, peer, "account.block", author, &id.to_string())
            .await?;
        match app.people.edit(author, AccountEdit::SetBlocked(true)).await {
            Ok(()) | Err(StoreError::NotFound | StoreError::Erased) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match decision {
        Decision::Dismissed | Decision::AuthorWarned => {}
        Decision::CharacterHidden => {
            app.audit
                .note_of(person, peer, "character.withdraw", character, &id.to_string())
                .await?;
            edit(app, character, CharacterEdit::Withdraw).await?;
        }
        // As if its author had deleted it.
        Decision::CharacterBlocked | Decision::AuthorBlocked => {
            app.audit
                .note_of(person, peer, "character.block", character, &id.to_string())
                .await?;
            edit(app, character, CharacterEdit::SetRetired(true)).await?;
            uniqueness::release(app, character).await?;
        }
    }
    Ok(())
}

/// A character that is gone needs nothing more.
async fn edit(app: &App, character: ContentId, edit: CharacterEdit) -> Result<(), ApiError> {
    match app.store.edit(character, edit).await {
        Ok(()) | Err(StoreError::NotFound | StoreError::Erased) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
