//! When does it live and die?
//!
//! `node` is the composition root: it reads the configuration, starts the parts of [`node::Node`] in order, joins those that do not
//! know each other ([`wiring`]), and stops them in reverse. It decides nothing that another crate owns.
//!
//! ## Journeys
//! *Start*: configuration -> data directory (locked) -> mesh -> store -> wiring -> one reconciliation with any member, so that what
//! was erased meanwhile is not shown -> monitor -> engine and desk -> gateway; each step is logged, and a failed one says in one
//! sentence what to do.
//!
//! *A node joins*: `starling invite` on a member signs a ticket; `starling join` on the new machine asks the member it names, makes
//! the data directory in one rename, and `starling run` does the rest.
//!
//! *A node is put out*: `starling revoke` signs the decision with the keys at hand and gives it to the running node, which takes it
//! in, writes it to the disk and tells every neighbour; each closes its connections with the node that is out.
//!
//! *A node is kept from working*: `starling maintenance on` notes it on the disk and tells every member; what runs is finished, and new
//! questions are answered elsewhere until it is switched off.

pub mod backups;
pub mod banner;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod data_directory;
mod deciding;
mod dialback;
mod erasing;
mod files;
pub mod hints;
mod inviting;
mod links;
pub mod logging;
mod maintenance;
pub mod models;
mod neighbours;
pub mod node;
mod origins;
pub mod ports;
mod repairs;
pub mod scrub;
pub mod seed;
mod standing;
pub mod surroundings;
pub mod tasks;
pub mod wiring;
