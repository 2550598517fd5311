//! A person's own account.

pub(crate) mod devices;
pub(crate) mod sign_out_device;
