//! Bytes as an envelope, and as what a member signed: only one sequence of bytes is an envelope, and its content survives.

use crdt::{
    envelope::{Body, Envelope},
    records::RecordKind,
};
use keys::{ContentId, Payload, Signed};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeTuple};

use super::member;
use crate::script::Script;

pub fn run(bytes: &[u8]) {
    check(bytes);
    // A body that is signed whatever it says, then payloads that need not be what it says.
    let mut script = Script::new(bytes);
    if let Ok(signed) = Signed::sign(&member(), &Unchecked(script.piece().to_vec())) {
        check(&framed(&signed.to_bytes(), script.rest()));
    }
}

/// The layout of an envelope around a signed part.
fn framed(signed: &[u8], payloads: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2];
    let mut length = signed.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    [&bytes, signed, payloads].concat()
}

fn check(bytes: &[u8]) {
    let Ok(envelope) = Envelope::open(bytes) else {
        return;
    };
    // Otherwise anyone could give a second id to what someone else has signed: a second document, for a genesis.
    assert_eq!(envelope.to_bytes(), bytes, "a second way to write one envelope");
    let own = Envelope::open_own(bytes).expect("what opens opens from the journal, too");
    assert_eq!(
        (own.id, own.author, own.document),
        (envelope.id, envelope.author, envelope.document)
    );
    for (hash, payload) in &envelope.payloads {
        assert!(payload.as_ref().is_none_or(|payload| ContentId::of(payload) == *hash));
    }
    let mut stripped = envelope.clone();
    stripped.strip();
    let stripped = Envelope::open(&stripped.to_bytes()).expect("without its texts it is an envelope still");
    assert_eq!(stripped.id, envelope.id);
}

/// Any bytes, signed as if they were the body of an envelope.
struct Unchecked(Vec<u8>);

impl Payload for Unchecked {
    const DOMAIN: &'static str = Body::DOMAIN;
}

impl Serialize for Unchecked {
    // postcard writes a tuple without its length.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Unchecked {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("only ever signed"))
    }
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for kind in RecordKind::ALL {
        let document = (kind == RecordKind::Session).then_some(ContentId([5; 32]));
        let payloads = vec![b"sealed".to_vec()];
        let envelope = Envelope::seal(&member(), kind, document, None, vec![1, 2, 3], payloads).expect("it is small");
        let body = Body {
            kind,
            document,
            owner: None,
            change: vec![1, 2, 3],
            payloads: vec![ContentId::of(b"sealed")],
        };
        let body = postcard::to_stdvec(&body).expect("it can be written");
        let script = [&(body.len() as u16).to_le_bytes()[..], &body, &[7], b"sealed"].concat();
        seeds.push((format!("body-{kind:?}").to_lowercase(), script));
        seeds.push((format!("whole-{kind:?}").to_lowercase(), envelope.to_bytes()));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_read_to_its_end() {
        for (name, input) in seeds() {
            let bytes = if name.starts_with("body") {
                let mut script = Script::new(&input);
                let signed = Signed::sign(&member(), &Unchecked(script.piece().to_vec())).unwrap();
                framed(&signed.to_bytes(), script.rest())
            } else {
                input
            };
            assert_eq!(Envelope::open(&bytes).unwrap().change, [1, 2, 3], "{name}");
        }
    }
}
