//! The targets, a file each.

mod backup;
mod base;
mod card;
mod change;
mod envelope;
mod evidence;
mod fetch;
mod hint;
mod invite;
mod journal;
mod mesh;
mod reconcile;
mod statement;

use ::mesh::decoders::Decoder;
use keys::NodeKey;

use crate::Target;

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "base",
        run: base::run,
        seeds: base::seeds,
    },
    Target {
        name: "card",
        run: card::run,
        seeds: card::seeds,
    },
    Target {
        name: "envelope",
        run: envelope::run,
        seeds: envelope::seeds,
    },
    Target {
        name: "fetch",
        run: fetch::run,
        seeds: fetch::seeds,
    },
    Target {
        name: "change",
        run: change::run,
        seeds: change::seeds,
    },
    Target {
        name: "journal",
        run: journal::run,
        seeds: journal::seeds,
    },
    Target {
        name: "reconcile",
        run: reconcile::run,
        seeds: reconcile::seeds,
    },
    Target {
        name: "statement",
        run: statement::run,
        seeds: statement::seeds,
    },
    Target {
        name: "evidence",
        run: evidence::run,
        seeds: evidence::seeds,
    },
    Target {
        name: "invite",
        run: invite::run,
        seeds: invite::seeds,
    },
    Target {
        name: "backup",
        run: backup::run,
        seeds: backup::seeds,
    },
    Target {
        name: "control",
        run: mesh::control,
        seeds: || Decoder::Control.examples(),
    },
    Target {
        name: "trust",
        run: mesh::trust,
        seeds: || Decoder::Trust.examples(),
    },
    Target {
        name: "links",
        run: mesh::links,
        seeds: || Decoder::Links.examples(),
    },
    Target {
        name: "hints",
        run: mesh::hints,
        seeds: || Decoder::Hints.examples(),
    },
    Target {
        name: "hint",
        run: hint::run,
        seeds: hint::seeds,
    },
    Target {
        name: "punch",
        run: mesh::punch,
        seeds: || Decoder::Punch.examples(),
    },
    Target {
        name: "dialback",
        run: mesh::dialback,
        seeds: || Decoder::Dialback.examples(),
    },
    Target {
        name: "liveness",
        run: mesh::liveness,
        seeds: || Decoder::Liveness.examples(),
    },
    Target {
        name: "life",
        run: mesh::life,
        seeds: || Decoder::Life.examples(),
    },
    Target {
        name: "join",
        run: mesh::join,
        seeds: || Decoder::Join.examples(),
    },
    Target {
        name: "blob",
        run: mesh::blob,
        seeds: mesh::blob_seeds,
    },
];

/// The member who signs what a stranger could not: behind the signature the search begins anew.
fn member() -> NodeKey {
    NodeKey::from_seed(&[2; 32])
}
