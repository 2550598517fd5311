//! A person.
//!
//! ## Merge law
//! - *Name, e-mail address, locale, avatar* and each *preference* are registers: the causally last write wins, concurrent ones by
//!   automerge's rule.
//! - Each *role* is a flag of its own: granted or withdrawn. When one administrator grants and another withdraws at the same time,
//!   it is withdrawn. *Blocked* stays set in the same case. Both fail closed.
//! - *Consents* are only added; the newest of a kind counts.
//! - *Devices*: see [`Device`]. At most [`DEVICES_LIVE_MAX`] live; the one longest unused leaves.
//! - *Favourites*: see [`Favourite`]. At most [`FAVOURITES_MAX`]; those added first stay.
//! - *Keys of programs*: see [`AccountApiKey`]. At most [`API_KEYS_MAX`]; those made first stay, and one that was taken back is gone.
//! - *Signed out everywhere* only advances: the latest time wins.
//!
//! Name, address, labels of devices and keys, the network addresses of consents and the notes of favourites are sealed under the account's own
//! key. Whether a name or an address is the person's alone is said by a [`super::claim::Claim`].

mod api_keys;
mod consents;
mod devices;
mod edits;
mod favourites;
mod roles;

use std::collections::BTreeMap;

use automerge::ScalarValue;
use keys::{ContentId, Timestamp};

pub use self::{
    api_keys::{API_KEY_LABEL_CHARACTERS_MAX, API_KEYS_MAX, AccountApiKey, ApiScope, ApiScopes},
    consents::{CONSENTS_MAX, Consent, ConsentKind},
    devices::{DEVICES_LIVE_MAX, DEVICES_MAX, Device, LABEL_CHARACTERS_MAX},
    edits::AccountEdit,
    favourites::{FAVOURITES_MAX, Favourite, NOTE_CHARACTERS_MAX},
    roles::{Role, Roles},
};
use super::{
    Record, RecordError, RecordKind, Sealed,
    session::MessageId,
    shape::{self, Reader, Shape, Writer, context, cut},
};

/// Layout of the document: 2 since roles are flags and text is sealed.
const VERSION: u8 = 2;
/// Characters of a person's name.
pub const NAME_CHARACTERS: std::ops::RangeInclusive<usize> = 2..=50;
/// Characters of an e-mail address (RFC 5321, 4.5.3.1.3).
pub const EMAIL_CHARACTERS_MAX: usize = 254;
/// Characters of a language tag such as `ru` or `en-GB`.
pub const LOCALE_CHARACTERS_MAX: usize = 35;
/// Preferences of one person.
pub const PREFERENCES_MAX: usize = 64;
/// Characters of a preference's name.
pub const PREFERENCE_NAME_CHARACTERS_MAX: usize = 40;
/// Characters of a preference's value.
pub const PREFERENCE_VALUE_CHARACTERS_MAX: usize = 500;

const NAME: &str = "name";
const EMAIL: &str = "email";
const CREATED: &str = "created";
const LINK: &str = "link";
const BLOCKED: &str = "blocked";
const LOCALE: &str = "locale";
const AVATAR: &str = "avatar";
const SIGNED_OUT: &str = "signed_out";
const PREFERENCE: &str = "preference/";

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What others call the person; compared by [`folded_name`].
    pub name: Sealed,
    /// Where letters go.
    pub email: Option<Sealed>,
    /// What the person may do.
    pub roles: Roles,
    /// Whether a moderator has shut the person out.
    pub blocked: bool,
    /// When the account was made.
    pub created: Timestamp,
    /// The one-time link that made it, so that a link makes only one account.
    pub link: [u8; 16],
    /// The language of pages and letters; empty when the person never chose one.
    pub locale: String,
    /// A picture, as a blob.
    pub avatar: Option<ContentId>,
    /// What was agreed to or withdrawn, oldest first.
    pub consents: Vec<Consent>,
    /// Every device that ever signed in, oldest first. [`Account::live_devices`] says which still are.
    pub devices: Vec<Device>,
    /// Devices that signed in before this are signed out.
    pub signed_out: Timestamp,
    /// What the person likes, by name.
    pub preferences: BTreeMap<String, String>,
    /// Messages that the person wants to find again, in the order in which they were added.
    pub favourites: Vec<Favourite>,
    /// The keys of the person's programs, in the order in which they were made.
    pub api_keys: Vec<AccountApiKey>,
}

/// The form in which names are compared: without surrounding blanks and differences of case.
#[must_use]
pub fn folded_name(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Account {
    /// An account with nothing but a name and a role.
    #[must_use]
    pub fn new(name: &str, role: Role, created: Timestamp, link: [u8; 16]) -> Self {
        Self {
            name: name.into(),
            email: None,
            roles: Roles::of(role),
            blocked: false,
            created,
            link,
            locale: String::new(),
            avatar: None,
            consents: Vec::new(),
            devices: Vec::new(),
            signed_out: Timestamp(0),
            preferences: BTreeMap::new(),
            favourites: Vec::new(),
            api_keys: Vec::new(),
        }
    }

    /// What the person said last about a matter.
    #[must_use]
    pub fn consent(&self, kind: ConsentKind) -> Option<&Consent> {
        self.consents.iter().rev().find(|consent| consent.kind == kind)
    }

    /// The devices that may act for the person, the longest unused first.
    #[must_use]
    pub fn live_devices(&self) -> Vec<&Device> {
        devices::live(&self.devices, self.signed_out)
    }

    /// Whether a message is one of the favourites.
    #[must_use]
    pub fn is_favourite(&self, message: MessageId) -> bool {
        self.favourites.iter().any(|favourite| favourite.message == message)
    }
}

impl Record for Account {
    const KIND: RecordKind = RecordKind::Account;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        check_name(&self.name)?;
        if let Some(email) = &self.email {
            check_email(email)?;
        }
        check_locale(&self.locale)?;
        shape::check_count("consents", self.consents.len(), CONSENTS_MAX)?;
        shape::check_count("devices", self.devices.len(), DEVICES_MAX)?;
        shape::check_count("preferences", self.preferences.len(), PREFERENCES_MAX)?;
        shape::check_count("favourites", self.favourites.len(), FAVOURITES_MAX)?;
        shape::check_count("keys", self.api_keys.len(), API_KEYS_MAX)?;
        self.api_keys.iter().try_for_each(AccountApiKey::validate)?;
        self.consents.iter().try_for_each(Consent::validate)?;
        self.devices.iter().try_for_each(Device::validate)?;
        self.favourites.iter().try_for_each(Favourite::validate)?;
        self.preferences
            .iter()
            .try_for_each(|(name, value)| check_preference(name, value))
    }
}

fn check_name(name: &Sealed) -> Result<(), RecordError> {
    if let Sealed::Readable(text) = name {
        shape::check_text(NAME, text.trim(), *NAME_CHARACTERS.start(), *NAME_CHARACTERS.end())?;
        if text.chars().any(char::is_control) {
            return Err(RecordError::Limit(NAME));
        }
    }
    Ok(())
}

/// Whether it can be an address at all; whether letters arrive there is found out by sending one.
fn check_email(email: &Sealed) -> Result<(), RecordError> {
    shape::check_sealed(EMAIL, email, 3, EMAIL_CHARACTERS_MAX)?;
    let Sealed::Readable(text) = email else { return Ok(()) };
    let halves = text.rsplit_once('@');
    let is_address = halves.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if is_address
        && !text
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
    {
        Ok(())
    } else {
        Err(RecordError::Limit(EMAIL))
    }
}

fn check_locale(locale: &str) -> Result<(), RecordError> {
    shape::check_text(LOCALE, locale, 0, LOCALE_CHARACTERS_MAX)?;
    if locale
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || character == '-')
    {
        Ok(())
    } else {
        Err(RecordError::Limit(LOCALE))
    }
}

fn check_preference(name: &str, value: &str) -> Result<(), RecordError> {
    shape::check_name("preference", name, PREFERENCE_NAME_CHARACTERS_MAX)?;
    shape::check_text("preference", value, 0, PREFERENCE_VALUE_CHARACTERS_MAX)
}

impl Shape for Account {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(CREATED, self.created.0)?;
        writer.put(LINK, self.link.to_vec())?;
        edits::write_contents(self, writer)
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let name = reader.sealed(NAME, &context(NAME, None), *NAME_CHARACTERS.end());
        let preferences = reader.named(PREFERENCE).filter_map(|entry| match entry.value {
            ScalarValue::Str(value) => Some((
                cut(entry.key, PREFERENCE_NAME_CHARACTERS_MAX),
                cut(value.to_string(), PREFERENCE_VALUE_CHARACTERS_MAX),
            )),
            _ => None,
        });
        Ok(Self {
            name: name.ok_or(RecordError::Field(NAME))?,
            email: reader.sealed(EMAIL, &context(EMAIL, None), EMAIL_CHARACTERS_MAX),
            roles: roles::read(reader),
            blocked: reader.flag(BLOCKED, true).unwrap_or(false),
            created: reader.time(CREATED)?,
            // An account that no link made has none to use up.
            link: reader.bytes(LINK).unwrap_or_default(),
            locale: reader.text_or_empty(LOCALE, LOCALE_CHARACTERS_MAX),
            avatar: reader.content_id(AVATAR).ok(),
            consents: consents::read(reader),
            devices: devices::read(reader),
            signed_out: Timestamp(reader.greatest(SIGNED_OUT).unwrap_or(0)),
            preferences: preferences.take(PREFERENCES_MAX).collect(),
            favourites: favourites::read(reader),
            api_keys: api_keys::read(reader),
        })
    }
}

#[cfg(test)]
mod tests;
