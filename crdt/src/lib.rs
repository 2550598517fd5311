//! What do we remember?
//!
//! A document is the deterministic view of a *set* of signed changes. The set is what is stored and replicated; automerge only
//! materialises it, so a hostile change can spoil neither the journal nor the exchange between nodes.
//!
//! ## Layers
//! 1. [`journal`]: append-only segments of self-verifying records: the truth. An acknowledged write has been `fdatasync`ed.
//! 2. `index`: sled, rebuildable from the journal; deleting its directory loses nothing.
//! 3. [`ingress`]: a pure function that decides what to do with bytes from outside.
//! 4. [`reconcile`]: sans-IO exchange of what the other side is missing.
//! 5. `view`: automerge documents in a bounded cache.
//! 6. [`records`]: what the network remembers, one file per record.
//!
//! One thread owns all of it (`engine`), behind the cloneable [`Store`]. `crdt` knows no network: it takes and gives bytes, and
//! `node` carries them.
//!
//! ## Journeys
//! *A local write*: [`Store::create`] or [`Store::edit`] -> engine -> automerge change -> signed [`envelope`] -> journal
//! -> group commit -> the caller's answer, the gossip queue, and a [`Change`] notice for whoever watches.
//!
//! *A change from outside*: [`Store::receive`] -> ingress -> accepted ones go the same way from the journal on; parked ones wait,
//! bounded and expiring, for what they depend on.
//!
//! *After a split*: [`Store::reconcile_start`] and [`Store::reconcile_step`] on both sides until the roots agree.

mod engine;
pub mod envelope;
mod index;
pub mod ingress;
pub mod journal;
pub mod limits;
pub mod reconcile;
pub mod records;
mod store;
mod view;

pub use store::{Change, OpenReport, Outputs, Received, Store, StoreError, StoreSettings};
