//! Real processes on loopback: the thread from a browser at one node to a model at another, strangers, backup and bad
//! input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod backup;
mod characters;
mod characters_apart;
mod chats;
mod command_line;
mod failover;
mod handoff;
mod liveness;
mod models;
mod overload;
mod roles;
mod rotation;
mod secrets;
mod serving;
mod strangers;
mod thread;
mod trust;
