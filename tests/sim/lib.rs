//! Many nodes in one process and in virtual time: the very replicas that run on disks (`crdt::replica`), joined by a model of the
//! mesh, with every fault that can be thought of. The same seed gives the same run, event by event.
//!
//! ## Parts
//! - [`world`]: the one queue of events, the nodes, crashes, and links that go and come.
//! - [`links`]: how long a frame takes, and whether it arrives.
//! - [`gossip`]: gossipsub as `mesh` configures it.
//! - `talks`: reconciliations over streams, opened when `crdt::set::Pace` says so, as `node` does it.
//! - [`people`]: what people do at nodes, and the look at everything in the end.
//! - [`history`]: who wrote, erased and read what, and what must hold of it in the end.
//! - [`byzantine`]: bytes that a hostile member makes.
//! - [`scenarios`]: the faults as a table, each with what protects from it; without that it must fail.
//! - [`figures`]: how long a message takes to be everywhere, and at how many copies.
//! - [`liveness`]: who takes whom for living, dead or split off.
//! - [`placement`]: an hour in which a fifth of a thousand nodes is replaced, with sizes and ids only.
//!
//! ## What is modelled
//! A frame takes its link's latency, then [`STORE_DELAY`] for judging it and making it durable; only then it is forwarded. A link of
//! which nothing is heard makes its neighbour unreachable after `mesh`'s `SUSPECT_AFTER` and is closed after `LINK_SILENCE_MAX`.
//! Clocks of nodes can be wrong by hours.

#![allow(
    clippy::expect_used,
    reason = "memory refuses nothing, and a simulation stops at the first surprise"
)]

pub mod byzantine;
pub mod figures;
pub mod gossip;
pub mod history;
pub mod links;
pub mod liveness;
mod nodes;
pub mod people;
pub mod placement;
pub mod scenarios;
mod talks;
pub mod world;

use std::time::Duration;

/// Virtual time since a run began, in microseconds.
pub type Micros = u64;

/// From a frame's arrival until the node has judged it, made it durable and hands on what follows from it: below 0.3 ms of work
/// (signature, decoding, document) and one `fdatasync`, of which the median was measured as 0.4 ms.
pub const STORE_DELAY: Micros = 1_000;

/// A second of virtual time.
pub const SECOND: Micros = 1_000_000;

/// A length of time as virtual time.
#[must_use]
pub const fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}
