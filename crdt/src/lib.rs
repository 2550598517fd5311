//! What do we remember?
//!
//! A document is the deterministic view of a *set* of signed changes. The set is what is stored and replicated; automerge only
//! materialises it, so a hostile change can spoil neither the journal nor the exchange between nodes.
//!
//! ## Layers, from the disk up
//! 1. [`journal`]: append-only segments of self-verifying records: the truth. An acknowledged write has been `fdatasync`ed.
//! 2. `index`: sled, rebuildable from the journal; deleting its directory loses nothing.
//! 3. [`replica`]: everything a node does with the set, without disk, network, clock or randomness: [`ingress`] (what to do with
//!    bytes from outside), [`set`] (what the other side is missing), [`erasure`] (what must be forgotten), [`rebase`] (what may go because
//!    it counts no more), `view` and `facts` (what the set amounts to, with its forks). The simulator runs thousands of the same replicas.
//! 4. `engine`, behind the cloneable [`Store`]: the one thread that runs the replica on real disks.
//! 5. [`records`]: what the network remembers, one file per record.
//! 6. [`keyring`]: the data keys under which personal texts are sealed, in files of their own, so that they can be destroyed.
//! 7. [`backup`]: a node's memory as one archive.
//! 8. [`cards`]: characters as files that other programs read and write, with their lorebooks; pure functions.
//! 9. [`placement`]: which members hold which documents; [`fetch`]: how the others read them.
//!
//! `crdt` knows no network: it takes and gives bytes, and `node` carries them.
//!
//! ## Journeys
//! *A local write*: [`Store::create`] or [`Store::edit`] -> replica -> texts sealed under the person's key -> automerge change
//! -> signed [`envelope`] -> journal -> group commit -> the caller's answer, the gossip queue, and a [`Change`] for whoever watches.
//!
//! *A change from outside*: [`Store::receive`] -> ingress -> accepted ones go the same way from the journal on; parked ones wait,
//! bounded and expiring, for what they depend on. Two changes of an author in one turn become main view and fork.
//!
//! *After a split*: [`Store::reconcile_start`] and [`Store::reconcile_step`] on both sides: what is dirty for the peer goes with the
//! first frame; erasures are agreed upon before changes; the talk goes on until the roots agree.
//!
//! *Something is erased*: [`Store::erase`] -> signed statement, journalled and gossiped -> envelopes dropped or stripped of their
//! texts, segments rewritten, snapshots and keys destroyed -> [`Store::erased`] for whatever was derived -> a receipt per node.
//!
//! *A document is read that lies elsewhere*: in a mesh of more than sixteen storage nodes ([`placement`]) -> [`FetchRequest`] to a
//! holder -> [`Store::take_fetched`] -> ordinary ingress -> kept here as long as it is used. What is written here and belongs to others
//! is offered to them until they have it on disk ([`Store::unconfirmed_for`]).
//!
//! *A document was overwritten thousands of times*: [`Store::rebase_long`] on the node that began it -> signed statement -> every node
//! that has the history makes the same base from it, others get it from a peer -> the old envelopes go, and what is written without
//! knowledge of it still takes its place.
//!
//! *A text is read on another node*: the envelope came by gossip, sealed; the account's key is asked of a member over a stream of its
//! own ([`KeyNotice`], [`Store::answer_keys`]), once, and kept in the keyring there.

pub mod backup;
pub mod cards;
pub mod disk;
mod engine;
pub mod envelope;
pub mod erasure;
mod facts;
pub mod fetch;
mod group;
mod index;
pub mod ingress;
pub mod journal;
pub mod keyring;
pub mod limits;
pub mod placement;
pub mod rebase;
pub mod records;
pub mod replica;
pub mod set;
mod store;
mod view;

pub use group::{Group, Lane};
pub use replica::Received;
pub use store::{
    Change, FetchRequest, KeyNotice, OpenReport, Outputs, Scrubbed, Store, StoreError, StoreSettings, Summary,
};
