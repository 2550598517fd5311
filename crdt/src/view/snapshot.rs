//! A view as bytes, so that a long document opens without reading and judging each of its envelopes again. Local to a node, never
//! sent: a snapshot that is missing, damaged or of another version only costs the time to build the view from the envelopes.
//!
//! Layout: the bytes `STARSNP2`, blake3 of the rest, then postcard of facts, automerge document and sealed payloads. Like the
//! journal it holds ciphertexts only.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{AutoCommit, LoadOptions, VerificationMode};
use keys::{ContentId, DataKeyId};
use serde::{Deserialize, Serialize};

use super::View;
use crate::{facts::Facts, rebase::names::Names};

const MAGIC: &[u8; 8] = b"STARSNP2";
const HEADER: usize = 8 + 32;

/// Bytes are borrowed: read one by one they would take longer than everything else here.
#[derive(Serialize, Deserialize)]
struct Snapshot<'a> {
    facts: Facts,
    names: Names,
    document: &'a [u8],
    #[serde(borrow)]
    payloads: Vec<(ContentId, Option<&'a [u8]>)>,
    sealed_by: Option<[u8; 4]>,
    heads: Vec<[u8; 32]>,
    bytes: u64,
}

impl View {
    /// The view as bytes; `None` for one with forks, which is rare and always built from its envelopes.
    pub(crate) fn snapshot(&mut self) -> Option<Vec<u8>> {
        if self.facts.changes.values().any(|change| change.beside) {
            return None;
        }
        let document = self.document.save_nocompress();
        let payloads = self.payloads.iter().map(|(hash, payload)| (*hash, payload.as_deref()));
        let snapshot = Snapshot {
            facts: self.facts.clone(),
            names: self.names.clone(),
            document: &document,
            payloads: payloads.collect(),
            sealed_by: self.sealed_by.map(|key| key.0),
            heads: self.document.get_heads().iter().map(|head| head.0).collect(),
            bytes: self.bytes as u64,
        };
        let body = postcard::to_stdvec(&snapshot).ok()?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        Some(bytes)
    }

    /// Reads a snapshot; `None` when it is not exactly what was written.
    pub(crate) fn from_snapshot(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(HEADER)?;
        if !header.starts_with(MAGIC) || header[MAGIC.len()..] != *blake3::hash(body).as_bytes() {
            return None;
        }
        let (snapshot, rest): (Snapshot<'_>, _) = postcard::take_from_bytes(body).ok()?;
        if !rest.is_empty() {
            return None;
        }
        // Its bytes were just proven to be those this node wrote, so automerge need not hash every change again; the heads say
        // that what it read is what it wrote.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            AutoCommit::load_with_options(
                snapshot.document,
                LoadOptions::new().verification_mode(VerificationMode::DontCheck),
            )
        }));
        let mut document = loaded.ok()?.ok()?;
        let heads: Vec<[u8; 32]> = document.get_heads().iter().map(|head| head.0).collect();
        if heads != snapshot.heads {
            return None;
        }
        let payloads = snapshot.payloads.into_iter();
        Some(Self {
            document,
            facts: snapshot.facts,
            names: snapshot.names,
            payloads: payloads
                .map(|(hash, payload)| (hash, payload.map(<[u8]>::to_vec)))
                .collect(),
            sealed_by: snapshot.sealed_by.map(DataKeyId),
            used: 0,
            unsaved: 0,
            bytes: usize::try_from(snapshot.bytes).unwrap_or(usize::MAX),
        })
    }
}
