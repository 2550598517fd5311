//! What a person signs in with, apart from the profile so that it can go to fewer nodes.
//!
//! ## Merge law
//! - *Password hash* and *TOTP secret* are registers: the causally last write wins.
//! - The *generation* counts how often the password or the second factor was changed. Concurrent changes add up, so that whatever was
//!   issued before either of them is known to be old.
//! - The *TOTP step used last* only advances: a code that was used on one node is used up on all of them.
//! - *Recovery codes* are only added, and used up for good: used wins.
//!
//! Password hash, TOTP secret and recovery hashes are sealed under the key of the account.

use automerge::{ROOT, ScalarValue, transaction::Transactable};
use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, EntryId, Record, RecordError, RecordKind, Sealed,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, StoredText, Writer, context, decode},
};

/// Layout of the document: 2 since its text is sealed.
const VERSION: u8 = 2;
/// Characters of a password hash in the PHC string format.
const PASSWORD_HASH_CHARACTERS: std::ops::RangeInclusive<usize> = 20..=512;
/// Characters of a TOTP secret: base32 of up to 64 bytes.
const TOTP_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=104;
/// Recovery codes and reset links of one person, of which the newest are read.
pub const RECOVERIES_MAX: usize = 50;
/// Characters of a recovery code's hash.
const RECOVERY_CHARACTERS_MAX: usize = 512;

const ACCOUNT: &str = "account";
const PASSWORD_HASH: &str = "password_hash";
const TOTP: &str = "totp";
const TOTP_STEP: &str = "totp_step";
const GENERATION: &str = "generation";
const RECOVERY: &str = "r";
const USED: &str = "u";

/// What a person signs in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The person's account document.
    pub account: ContentId,
    /// argon2id in the PHC string format.
    pub password_hash: Sealed,
    /// The shared secret of a second factor, in base32.
    pub totp: Option<Sealed>,
    /// The time step of the code used last.
    pub totp_step: u64,
    /// How often password or second factor were changed.
    pub generation: u64,
    /// Ways back in, oldest first.
    pub recoveries: Vec<Recovery>,
}

/// A code or a link that lets a person in once.
#[derive(Clone, PartialEq, Eq)]
pub struct Recovery {
    /// When it was made.
    pub id: EntryId,
    /// Hash of the code. Codes are random and long, so a fast hash is enough.
    pub hash: Sealed,
    /// When it ends; `None` for a code on paper.
    pub expires: Option<Timestamp>,
    /// Whether it has been used.
    pub used: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredRecovery {
    hash: StoredText,
    expires: Option<Timestamp>,
}

impl InitialFormat for StoredRecovery {
    const VERSION: u8 = 1;
}

impl Credential {
    /// A password and nothing else.
    #[must_use]
    pub fn new(account: ContentId, password_hash: String) -> Self {
        Self {
            account,
            password_hash: password_hash.into(),
            totp: None,
            totp_step: 0,
            generation: 0,
            recoveries: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A hash in a log could be attacked offline.
        write!(formatter, "Credential(of {:?})", self.account)
    }
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Recovery({}, used: {})", self.id, self.used)
    }
}

impl Record for Credential {
    const KIND: RecordKind = RecordKind::Credential;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        check(PASSWORD_HASH, &self.password_hash, &PASSWORD_HASH_CHARACTERS)?;
        if let Some(totp) = &self.totp {
            check(TOTP, totp, &TOTP_CHARACTERS)?;
        }
        shape::check_count("recoveries", self.recoveries.len(), RECOVERIES_MAX)?;
        self.recoveries.iter().try_for_each(Recovery::validate)
    }

    fn owner(&self) -> Option<ContentId> {
        Some(self.account)
    }
}

impl Recovery {
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("recovery", &self.hash, 1, RECOVERY_CHARACTERS_MAX)
    }
}

fn check(field: &'static str, text: &Sealed, characters: &std::ops::RangeInclusive<usize>) -> Result<(), RecordError> {
    shape::check_sealed(field, text, *characters.start(), *characters.end())
}

/// Whose a credential is.
pub(super) fn owner(reader: &Reader<'_>) -> Option<ContentId> {
    reader.content_id(ACCOUNT).ok()
}

impl Shape for Credential {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(ACCOUNT, self.account.0.to_vec())?;
        writer.put_text(PASSWORD_HASH, &context(PASSWORD_HASH, None), &self.password_hash)?;
        if let Some(totp) = &self.totp {
            writer.put_text(TOTP, &context(TOTP, None), totp)?;
        }
        if self.totp_step > 0 {
            writer.put(TOTP_STEP, self.totp_step)?;
        }
        let generation = i64::try_from(self.generation).map_err(|_| RecordError::Limit(GENERATION))?;
        writer.put(GENERATION, ScalarValue::counter(generation))?;
        self.recoveries
            .iter()
            .try_for_each(|recovery| write_recovery(writer, recovery))
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let password_hash = reader.sealed(
            PASSWORD_HASH,
            &context(PASSWORD_HASH, None),
            *PASSWORD_HASH_CHARACTERS.end(),
        );
        let recoveries = reader.entries(RECOVERY).filter_map(|entry| {
            let id = entry.key;
            let stored: StoredRecovery = decode(&entry.value)?;
            Some(Recovery {
                id,
                hash: reader.open_text(&stored.hash, &context("recovery", Some(&id)), RECOVERY_CHARACTERS_MAX),
                expires: stored.expires,
                used: reader.flag(&format!("{USED}{id}"), true).unwrap_or(false),
            })
        });
        let mut recoveries: Vec<Recovery> = recoveries.collect();
        Ok(Self {
            account: reader.content_id(ACCOUNT)?,
            password_hash: password_hash.ok_or(RecordError::Field(PASSWORD_HASH))?,
            totp: reader.sealed(TOTP, &context(TOTP, None), *TOTP_CHARACTERS.end()),
            totp_step: reader.greatest(TOTP_STEP).unwrap_or(0),
            generation: reader.counter(GENERATION),
            recoveries: recoveries.split_off(recoveries.len().saturating_sub(RECOVERIES_MAX)),
        })
    }
}

fn write_recovery(writer: &mut Writer<'_>, recovery: &Recovery) -> Result<(), RecordError> {
    recovery.validate()?;
    let stored = StoredRecovery {
        hash: writer.seal_text("recovery", &context("recovery", Some(&recovery.id)), &recovery.hash)?,
        expires: recovery.expires,
    };
    writer.put_value("recovery", &format!("{RECOVERY}{}", recovery.id), &stored)?;
    if recovery.used {
        writer.put(&format!("{USED}{}", recovery.id), true)?;
    }
    Ok(())
}

/// A change to a credential.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialEdit {
    /// Another password; the argon2id hash of it.
    SetPassword(String),
    /// Another second factor, or none.
    SetTotp(Option<String>),
    /// A code of this time step was used.
    UseTotpStep(u64),
    /// Another way back in.
    AddRecovery(Recovery),
    /// A way back in was used.
    UseRecovery(EntryId),
}

impl std::fmt::Debug for CredentialEdit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::SetPassword(_) => "SetPassword",
            Self::SetTotp(_) => "SetTotp",
            Self::UseTotpStep(_) => "UseTotpStep",
            Self::AddRecovery(_) => "AddRecovery",
            Self::UseRecovery(_) => "UseRecovery",
        })
    }
}

impl Edit for CredentialEdit {
    const KIND: RecordKind = RecordKind::Credential;
}

impl Apply for CredentialEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::SetPassword(hash) => {
                check(PASSWORD_HASH, &Sealed::from(hash.as_str()), &PASSWORD_HASH_CHARACTERS)?;
                writer.put_sealed(PASSWORD_HASH, &context(PASSWORD_HASH, None), hash)?;
                count_up(writer)
            }
            Self::SetTotp(Some(secret)) => {
                check(TOTP, &Sealed::from(secret.as_str()), &TOTP_CHARACTERS)?;
                writer.put_sealed(TOTP, &context(TOTP, None), secret)?;
                count_up(writer)
            }
            Self::SetTotp(None) => {
                writer.remove(TOTP)?;
                count_up(writer)
            }
            Self::UseTotpStep(step) => writer.raise(TOTP_STEP, *step),
            Self::AddRecovery(recovery) => {
                if writer.reader().entries(RECOVERY).count() >= RECOVERIES_MAX {
                    return Err(RecordError::Full("recoveries"));
                }
                write_recovery(writer, recovery)
            }
            Self::UseRecovery(recovery) => {
                if writer.reader().scalar(&format!("{RECOVERY}{recovery}")).is_none() {
                    return Err(RecordError::Absent("recovery"));
                }
                writer.put(&format!("{USED}{recovery}"), true)
            }
        }
    }
}

fn count_up(writer: &mut Writer<'_>) -> Result<(), RecordError> {
    if matches!(writer.reader().scalar(GENERATION), Some(ScalarValue::Counter(_))) {
        let counted = writer.document.increment(ROOT, GENERATION, 1);
        return counted.map_err(|error| RecordError::Document(error.to_string()));
    }
    // Documents of version 1 had no counter.
    writer.put(GENERATION, ScalarValue::counter(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::records::testing::{Replicas, config, steps};

    const HASH: &str = "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";
    const SECRET: &str = "JBSWY3DPEHPK3PXP";

    fn recovery(number: u64) -> Recovery {
        Recovery {
            id: EntryId::new(Timestamp(number), u128::from(number)),
            hash: "a hash".into(),
            expires: Some(Timestamp(99)),
            used: false,
        }
    }

    fn credential() -> Credential {
        Credential::new(ContentId([1; 32]), HASH.into())
    }

    fn any_edit() -> impl Strategy<Value = CredentialEdit> {
        prop_oneof![
            "[a-z]{20,24}".prop_map(CredentialEdit::SetPassword),
            proptest::option::of(Just(SECRET.to_owned())).prop_map(CredentialEdit::SetTotp),
            (0u64..30).prop_map(CredentialEdit::UseTotpStep),
            (0u64..5).prop_map(|number| CredentialEdit::AddRecovery(recovery(number))),
            (0u64..5).prop_map(|number| CredentialEdit::UseRecovery(recovery(number).id)),
        ]
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
            let mut replicas = Replicas::of(&credential());
            replicas.take(&steps);
            replicas.agreed::<Credential>().validate().unwrap();
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_of_it_is_printed() {
        let mut full = credential();
        full.totp = Some(SECRET.into());
        full.totp_step = 5;
        full.generation = 3;
        full.recoveries = vec![
            recovery(1),
            Recovery {
                used: true,
                ..recovery(2)
            },
        ];
        let mut replicas = Replicas::of(&full);
        assert_eq!(replicas.agreed::<Credential>(), full);
        let printed = format!("{full:?} {:?}", CredentialEdit::SetPassword(HASH.into()));
        assert!(!printed.contains("argon2") && !printed.contains(SECRET), "{printed}");
        for change in &replicas.changes {
            assert!(!change.windows(6).any(|bytes| bytes == b"argon2" || bytes == b"JBSWY3"));
        }
    }

    #[test]
    fn generations_add_up_and_what_is_used_stays_used() {
        let mut replicas = Replicas::of(&credential());
        replicas.edit(0, &CredentialEdit::AddRecovery(recovery(1))).unwrap();
        replicas.merge_all();
        replicas
            .edit(1, &CredentialEdit::SetPassword(HASH.replace("aGFz", "aaaa")))
            .unwrap();
        replicas.edit(2, &CredentialEdit::SetTotp(Some(SECRET.into()))).unwrap();
        replicas.edit(2, &CredentialEdit::UseRecovery(recovery(1).id)).unwrap();
        replicas.edit(1, &CredentialEdit::UseTotpStep(9)).unwrap();
        replicas.edit(2, &CredentialEdit::UseTotpStep(7)).unwrap();
        // The same way back in is noted once more by a node that does not know that it was used.
        replicas.edit(1, &CredentialEdit::AddRecovery(recovery(1))).unwrap();
        let read: Credential = replicas.agreed();
        assert_eq!((read.generation, read.totp_step), (2, 9));
        assert!(read.recoveries[0].used);
        assert_eq!(read.totp.as_ref().map(Sealed::text), Some(SECRET));
        let unknown = CredentialEdit::UseRecovery(recovery(4).id);
        assert_eq!(replicas.edit(0, &unknown), Err(RecordError::Absent("recovery")));
        replicas.merge_all();
        replicas.edit(0, &CredentialEdit::SetTotp(None)).unwrap();
        let read: Credential = replicas.agreed();
        assert_eq!((read.totp, read.generation), (None, 3));
    }

    #[test]
    fn what_breaks_a_limit_is_refused_here() {
        let mut replicas = Replicas::of(&credential());
        let short = CredentialEdit::SetPassword("short".into());
        assert_eq!(replicas.edit(0, &short), Err(RecordError::Limit(PASSWORD_HASH)));
        let short = CredentialEdit::SetTotp(Some("short".into()));
        assert_eq!(replicas.edit(0, &short), Err(RecordError::Limit(TOTP)));
        assert_eq!(replicas.read::<Credential>(0), credential());
        for number in 0..RECOVERIES_MAX as u64 {
            replicas
                .edit(0, &CredentialEdit::AddRecovery(recovery(number)))
                .unwrap();
        }
        let full = CredentialEdit::AddRecovery(recovery(999));
        assert_eq!(replicas.edit(0, &full), Err(RecordError::Full("recoveries")));
    }
}
