//! Another password: by those who know the old one, and by those who read letters to the address.

pub(crate) mod change;
pub(crate) mod forgot;
pub(crate) mod reset;
