//! The second factor of a person: begun, set, shown, taken off.

pub(crate) mod begin;
pub(crate) mod remove;
pub(crate) mod set;
pub(crate) mod show;
