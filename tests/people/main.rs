//! People at the gateways of real nodes: coming in, being known everywhere, leaving, and what each of them may do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod access;
mod complaints;
mod door;
mod gate;
mod invites;
mod keeping;
mod leaving;
mod limits;
mod paging;
mod programs;
mod refusals;
mod registration;
mod sink;
mod tokens;
mod wrong;
