//! Who is measured beside, in the same run and with the same content: libraries for replicated documents and embedded databases.

pub mod documents;
pub mod stores;
