//! People at the gateways of real nodes: coming in, being known everywhere, leaving, and what each of them may do.

mod access;
mod gate;
mod tokens;
