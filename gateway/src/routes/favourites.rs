//! Messages that a person wants to find again, at most fifty.

pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod remove;
