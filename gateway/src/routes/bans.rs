//! Addresses whose requests are refused, at every gateway.

pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod remove;
