//! Invites with which machines become nodes: made and taken back by administrators.

pub(crate) mod list;
pub(crate) mod make;
pub(crate) mod revoke;
