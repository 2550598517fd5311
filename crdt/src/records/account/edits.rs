//! What can be changed about a person.

use automerge::ScalarValue;
use keys::{ContentId, Timestamp};

use super::{
    AVATAR, Account, AccountApiKey, BLOCKED, Consent, Device, EMAIL, Favourite, LOCALE, NAME, PREFERENCE,
    PREFERENCES_MAX, Role, SIGNED_OUT, api_keys, check_email, check_locale, check_name, check_preference, consents,
    devices, favourites, roles,
};
use crate::records::{
    Edit, EntryId, RecordError, RecordKind, Sealed,
    session::MessageId,
    shape::{Apply, Writer, context},
};

/// A change to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountEdit {
    /// Another name. Its claim is another record.
    SetName(String),
    /// Another address, or none.
    SetEmail(Option<String>),
    /// Grants or withdraws a role.
    SetRole {
        /// Which.
        role: Role,
        /// Whether it is granted.
        granted: bool,
    },
    /// Shuts the person out, or lets them in again.
    SetBlocked(bool),
    /// Another language.
    SetLocale(String),
    /// Another picture, or none.
    SetAvatar(Option<ContentId>),
    /// Adds what the person agreed to or withdrew.
    AddConsent(Consent),
    /// A device signs in. Whoever is too many leaves.
    AddDevice(Device),
    /// A device was used.
    TouchDevice {
        /// Which.
        device: EntryId,
        /// When.
        seen: Timestamp,
        /// How often its refresh token has been changed by now.
        generation: u64,
    },
    /// A device signs out, or is signed out.
    SignOut(EntryId),
    /// Every device that signed in before this time is signed out.
    SignOutEverywhere(Timestamp),
    /// What the person likes; `None` takes it back.
    SetPreference {
        /// What it is about.
        name: String,
        /// What the person likes.
        value: Option<String>,
    },
    /// Adds a favourite, or changes its note. Refused when there are as many as there may be.
    PutFavourite(Favourite),
    /// Removes a favourite.
    RemoveFavourite(MessageId),
    /// A program gets a key. Refused when there are as many as there may be.
    AddApiKey(AccountApiKey),
    /// A key is taken back.
    RemoveApiKey(EntryId),
}

impl Edit for AccountEdit {
    const KIND: RecordKind = RecordKind::Account;
}

impl Apply for AccountEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::SetName(name) => {
                check_name(&Sealed::from(name.as_str()))?;
                writer.put_sealed(NAME, &context(NAME, None), name)
            }
            Self::SetEmail(Some(email)) => {
                check_email(&Sealed::from(email.as_str()))?;
                writer.put_sealed(EMAIL, &context(EMAIL, None), email)
            }
            Self::SetEmail(None) => writer.remove(EMAIL),
            Self::SetRole { role, granted } => roles::write(writer, *role, *granted),
            Self::SetBlocked(blocked) => writer.put(BLOCKED, *blocked),
            Self::SetLocale(locale) => {
                check_locale(locale)?;
                writer.put(LOCALE, locale.as_str())
            }
            Self::SetAvatar(Some(avatar)) => writer.put(AVATAR, avatar.0.to_vec()),
            Self::SetAvatar(None) => writer.remove(AVATAR),
            Self::AddConsent(consent) => consents::write(writer, consent),
            Self::AddDevice(device) => devices::write(writer, device, signed_out(writer)),
            Self::TouchDevice {
                device,
                seen,
                generation,
            } => devices::touch(writer, *device, *seen, *generation, signed_out(writer)),
            Self::SignOut(device) => devices::sign_out(writer, *device),
            Self::SignOutEverywhere(at) => writer.raise(SIGNED_OUT, at.0),
            Self::SetPreference { name, value } => set_preference(writer, name, value.as_deref()),
            Self::PutFavourite(favourite) => favourites::write(writer, favourite),
            Self::RemoveFavourite(message) => favourites::remove(writer, *message),
            Self::AddApiKey(key) => api_keys::write(writer, key),
            Self::RemoveApiKey(key) => api_keys::remove(writer, *key),
        }
    }
}

fn signed_out(writer: &Writer<'_>) -> Timestamp {
    Timestamp(writer.reader().greatest(SIGNED_OUT).unwrap_or(0))
}

fn set_preference(writer: &mut Writer<'_>, name: &str, value: Option<&str>) -> Result<(), RecordError> {
    let key = format!("{PREFERENCE}{name}");
    let Some(value) = value else {
        return writer.remove(&key);
    };
    check_preference(name, value)?;
    let is_new = writer.reader().scalar(&key).is_none();
    if is_new && writer.reader().named(PREFERENCE).count() >= PREFERENCES_MAX {
        return Err(RecordError::Full("preferences"));
    }
    writer.put(&key, value)
}

/// Writes everything of an account but what never changes.
pub(super) fn write_contents(account: &Account, writer: &mut Writer<'_>) -> Result<(), RecordError> {
    writer.put_text(NAME, &context(NAME, None), &account.name)?;
    if let Some(email) = &account.email {
        writer.put_text(EMAIL, &context(EMAIL, None), email)?;
    }
    for role in account.roles.iter() {
        roles::write(writer, role, true)?;
    }
    if account.blocked {
        writer.put(BLOCKED, true)?;
    }
    if !account.locale.is_empty() {
        writer.put(LOCALE, account.locale.as_str())?;
    }
    if let Some(avatar) = account.avatar {
        writer.put(AVATAR, avatar.0.to_vec())?;
    }
    if account.signed_out > Timestamp(0) {
        writer.put(SIGNED_OUT, ScalarValue::Uint(account.signed_out.0))?;
    }
    for consent in &account.consents {
        consents::write(writer, consent)?;
    }
    for device in &account.devices {
        devices::write(writer, device, account.signed_out)?;
    }
    for (name, value) in &account.preferences {
        set_preference(writer, name, Some(value))?;
    }
    for favourite in &account.favourites {
        favourites::write(writer, favourite)?;
    }
    for key in &account.api_keys {
        api_keys::write(writer, key)?;
    }
    Ok(())
}
