//! Who are you, and what may you do?
//!
//! `keys` holds every secret and every rule about who belongs to a mesh, as pure types without IO beyond the key files:
//!
//! - [`NodeKey`] / [`NodeId`]: the ed25519 identity of a node. The id *is* the public key, so a transport that proves the key
//!   proves the id.
//! - [`Signed`]: bytes with an author. Born only by [`Signed::sign`], read only through [`Signed::open`], so unverified content
//!   cannot be used by mistake. The signature covers a domain string and the exact bytes, never a re-serialised structure.
//! - [`membership`]: genesis, grants, redemptions and [`Certificate`](membership::Certificate)s, merged by the pure
//!   [`Roster`](membership::Roster).
//! - [`invite`]: the one line of text by which an operator adds a node.
//! - [`password`], [`totp`], [`token`]: what people sign in with, and what they show afterwards.
//! - [`ApiKey`]: what a program of a person shows.
//! - [`versioned`]: how everything that lasts is written down: a version byte, then postcard.
//! - [`DataKey`]: what one account's texts are sealed with; to destroy it is to erase them.
//! - [`archive`]: an encrypted stream for backups.
//! - [`sealed_key`]: a key in a safe place, closed with a passphrase.
//!
//! ## Journey: a node joins
//! The operator's root key signs a [`TicketGrant`](membership::TicketGrant) for a fresh *ticket key*; the invite carries that
//! ticket key's seed. The new node signs a [`Redemption`](membership::Redemption) of its own id with the ticket key and shows it
//! to any member. The member checks root -> grant -> redemption alone, adds an [`Admission`](membership::Admission) that says
//! when it saw it (so that an expired grant cannot be used later), and the three together are the certificate that every other
//! node checks again for itself. No step asks the issuer, so joining works in a split.

pub mod api_key;
pub mod archive;
pub mod content;
pub mod data_key;
pub mod identity;
pub mod invite;
pub mod limits;
pub mod membership;
pub mod password;
pub mod sealed_key;
pub mod secret_file;
pub mod signed;
pub mod timestamp;
pub mod token;
pub mod totp;
pub mod versioned;

pub use api_key::ApiKey;
pub use content::ContentId;
pub use data_key::{DataKey, DataKeyId, Opener, SealError};
pub use identity::{NodeId, NodeKey};
pub use signed::{Payload, Signed, SignedError};
pub use timestamp::Timestamp;
/// What holds a secret's bytes: they are overwritten when it is dropped.
pub use zeroize::Zeroizing;
