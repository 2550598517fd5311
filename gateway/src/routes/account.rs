//! A person's own account.

pub(crate) mod consents;
pub(crate) mod delete;
pub(crate) mod devices;
pub(crate) mod export;
pub(crate) mod second_factor;
pub(crate) mod show;
pub(crate) mod sign_out_device;
pub(crate) mod warnings;
