//! What goes into the keys file.

use std::{io::Write, path::Path};

use keys::{ContentId, DataKey};

use super::{BackupError, ContentWriter, Identity, Part, Survey, records::write_statements};
use crate::keyring::{Keyring, KeyringError};

/// Writes the content of a keys file: who the node is, every statement that the journal in `directory` holds now, and the data keys
/// of all accounts. A damaged key file is left out and counted: it must not keep all others from being backed up.
///
/// # Errors
/// When journal or key files cannot be read, or the file not be written.
pub fn write_secrets<W: Write>(
    writer: &mut ContentWriter<W>,
    identity: &Identity,
    directory: &Path,
    is_statement: impl Fn(&[u8]) -> bool,
    keyring: &Keyring,
) -> Result<Survey, BackupError> {
    writer.write(&Part::NodeKey(identity.node_key.clone()))?;
    if let Some(root) = &identity.root_key {
        writer.write(&Part::RootKey(root.clone()))?;
    }
    writer.write(&Part::Membership(&identity.membership))?;
    writer.write(&Part::Configuration(&identity.configuration))?;
    let records = write_statements(writer, directory, is_statement)?;
    let mut damaged = 0;
    for account in keyring.accounts() {
        let account = account?;
        match keys_of(keyring, &account) {
            // Erased a moment ago.
            Ok(keys) if keys.is_empty() => {}
            Ok(keys) => writer.write(&Part::DataKeys(account, keys))?,
            Err(error @ KeyringError::Damaged { .. }) => {
                tracing::error!(%error, "the keys of an account are left out of the backup");
                damaged += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Survey { records, damaged })
}

/// Reads twice before it believes in damage: the running node overwrites a key file that it has just replaced, maybe under the
/// reader.
fn keys_of(keyring: &Keyring, account: &ContentId) -> Result<Vec<DataKey>, KeyringError> {
    match keyring.all(account) {
        Err(KeyringError::Damaged { .. }) => keyring.all(account),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use keys::{NodeKey, Timestamp};

    use super::super::{ContentKind, Origin, verify};
    use super::*;
    use crate::journal::Journal;

    #[test]
    fn a_damaged_key_file_is_left_out_and_counted() {
        let base = tempfile::tempdir().unwrap();
        let journal = base.path().join("journal");
        Journal::open(&journal, None, |_, _| {})
            .unwrap()
            .0
            .append(&[b"one", b"S1"])
            .unwrap();
        let keyring = Keyring::open(&base.path().join("keys")).unwrap();
        for number in 0..3_u8 {
            keyring.insert(ContentId([number; 32]), DataKey::generate()).unwrap();
        }
        let damaged = ContentId([1; 32]);
        let path = base.path().join(format!("keys/01/{damaged}.key"));
        std::fs::write(path, b"damaged").unwrap();
        let keyring = Keyring::open(&base.path().join("keys")).unwrap();
        let identity = Identity {
            node_key: NodeKey::from_seed(&[3; 32]),
            root_key: Some(NodeKey::from_seed(&[4; 32])),
            membership: b"members".to_vec(),
            configuration: String::new(),
        };
        let origin = Origin {
            mesh: ContentId([1; 32]),
            node: identity.node_key.id(),
            created: Timestamp(3),
        };
        let mut writer = ContentWriter::new(Vec::new(), ContentKind::Secrets, origin).unwrap();
        let is_statement = |body: &[u8]| body.starts_with(b"S");
        let survey = write_secrets(&mut writer, &identity, &journal, is_statement, &keyring).unwrap();
        assert_eq!(survey, Survey { records: 1, damaged: 1 });
        let (bytes, summary) = writer.finish().unwrap();
        assert_eq!((summary.statements, summary.accounts), (1, 2));
        assert_eq!(verify(&bytes[..], ContentKind::Secrets).unwrap(), summary);
    }
}
