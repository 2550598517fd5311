//! A view as bytes, so that a long document opens without reading and judging each of its envelopes again. Local to a node, never
//! sent: a snapshot that is missing, damaged or of another version only costs the time to build the view from the envelopes.
//!
//! Layout: the bytes `STARSNP3`, blake3 of the rest, then postcard of automerge document, facts and sealed payloads. Like the
//! journal it holds ciphertexts only. The document comes first so that it can be loaded while the rest is read: each takes about
//! half of the time.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use automerge::{AutoCommit, LoadOptions, VerificationMode};
use keys::{ContentId, DataKeyId};
use serde::{Deserialize, Serialize};

use super::View;
use crate::{facts::Facts, rebase::names::Names};

const MAGIC: &[u8; 8] = b"STARSNP3";
const HEADER: usize = 8 + 32;
/// A document from this size on is loaded on a thread of its own: 100 us of work, where starting a thread takes 30.
const LOADED_BESIDE_FROM: usize = 16 * 1024;

/// What stands behind the document. Bytes are borrowed: read one by one they would take longer than everything else here.
#[derive(Serialize, Deserialize)]
struct Rest<'a> {
    facts: Facts,
    names: Names,
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
        let rest = Rest {
            facts: self.facts.clone(),
            names: self.names.clone(),
            payloads: payloads.collect(),
            sealed_by: self.sealed_by.map(|key| key.0),
            heads: self.document.get_heads().iter().map(|head| head.0).collect(),
            bytes: self.bytes as u64,
        };
        let body = postcard::to_stdvec(&(document.as_slice(), &rest)).ok()?;
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
        let (document, body): (&[u8], _) = postcard::take_from_bytes(body).ok()?;
        let (loaded, rest) = if document.len() < LOADED_BESIDE_FROM {
            (load(document), Rest::read(body))
        } else {
            thread::scope(|scope| {
                let loading = thread::Builder::new().name("starling-load".into());
                let loading = loading.spawn_scoped(scope, || load(document));
                let rest = Rest::read(body);
                // Where no thread can be had, it is done here.
                let loaded = loading.map_or_else(|_| load(document), |loading| loading.join().ok()?);
                (loaded, rest)
            })
        };
        let ((document, heads), (rest, payloads)) = (loaded?, rest?);
        (heads == rest.heads).then(|| Self {
            document,
            facts: rest.facts,
            names: rest.names,
            payloads,
            sealed_by: rest.sealed_by.map(DataKeyId),
            used: 0,
            unsaved: 0,
            bytes: usize::try_from(rest.bytes).unwrap_or(usize::MAX),
        })
    }
}

/// Sealed texts by their hash.
type Payloads = BTreeMap<ContentId, Option<Vec<u8>>>;

impl<'a> Rest<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, Payloads)> {
        let (mut rest, behind): (Self, _) = postcard::take_from_bytes(bytes).ok()?;
        let payloads = std::mem::take(&mut rest.payloads).into_iter();
        let payloads = payloads.map(|(hash, payload)| (hash, payload.map(<[u8]>::to_vec)));
        behind.is_empty().then(|| (rest, payloads.collect()))
    }
}

/// The document and its heads, which say that what was read is what was written. The bytes were just proven to be those this node
/// wrote, so automerge need not hash every change again.
fn load(document: &[u8]) -> Option<(AutoCommit, Vec<[u8; 32]>)> {
    let options = LoadOptions::new().verification_mode(VerificationMode::DontCheck);
    let loaded = catch_unwind(AssertUnwindSafe(|| AutoCommit::load_with_options(document, options)));
    let mut document = loaded.ok()?.ok()?;
    let heads = document.get_heads().iter().map(|head| head.0).collect();
    Some((document, heads))
}
