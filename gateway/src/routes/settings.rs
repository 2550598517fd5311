//! What administrators have set.

pub(crate) mod read;
pub(crate) mod test_mail;
pub(crate) mod write;
