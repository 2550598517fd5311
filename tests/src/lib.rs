//! Does the whole hold?
//!
//! The harness: real `starling` processes in data directories of their own, and a client that speaks to them as a browser does.
//! Every process is ended when its handle is dropped, also when a test fails.

pub mod client;
#[path = "../../mesh/tests/nodes/free_address.rs"]
pub mod free_address;
pub mod gateways;
pub mod process;
