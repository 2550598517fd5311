//! What a person may do by role: the one place where it is decided for characters, and for what is told without being asked.

use crdt::records::{account::Role, character::Character};

use crate::{auth::Person, error::ApiError};

/// Makes characters: managers and administrators.
pub(crate) fn make_characters(person: &Person) -> Result<(), ApiError> {
    one_of(person, &[Role::Manager, Role::Administrator])
}

/// Changes one: its maker as long as it is one of those, and administrators.
pub(crate) fn change_character(person: &Person, character: &Character) -> Result<(), ApiError> {
    make_characters(person)?;
    let is_maker = character.creator == Some(person.id);
    if is_maker {
        Ok(())
    } else {
        one_of(person, &[Role::Administrator])
    }
}

/// Hears that there is something to judge: whoever may read the queue of complaints.
pub(crate) fn judge_complaints(person: &Person) -> bool {
    one_of(person, &[Role::Moderator, Role::Administrator]).is_ok()
}

fn one_of(person: &Person, roles: &[Role]) -> Result<(), ApiError> {
    if roles.iter().any(|role| person.account.roles.contains(*role)) {
        Ok(())
    } else {
        Err(ApiError::NotAllowed)
    }
}
