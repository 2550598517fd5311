//! The live chat: one WebSocket per page.

pub(crate) mod frames;
pub(crate) mod messages;
pub(crate) mod socket;
mod streams;
