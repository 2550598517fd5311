//! The byte protocols that nodes speak, in one list.

use std::fmt;

/// The version in a protocol's name; 0 where there is none.
pub(crate) fn version_in(name: &str) -> u16 {
    let last = name.rsplit('/').next();
    last.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// A protocol's name on the wire, version included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(&'static str);

impl Protocol {
    /// Asking for membership, or proving it: all that a stranger may speak.
    pub const JOIN: Self = Self("/starling/join/1");
    /// Who is a member, agreed upon before anything else on a link, owned by this crate.
    pub const TRUST: Self = Self("/starling/trust/1");
    /// Heartbeats and announcements of one link, owned by this crate.
    pub const CONTROL: Self = Self("/starling/control/1");
    /// Who is linked with whom, owned by this crate.
    pub const LINKS: Self = Self("/starling/links/1");
    /// Who is there, and what each is ready for, owned by this crate.
    pub const LIVENESS: Self = Self("/starling/liveness/1");
    /// Where members can be found, owned by this crate.
    pub const HINTS: Self = Self("/starling/hints/1");
    /// Two members with a relayed link agree to dial each other directly, owned by this crate.
    pub const PUNCH: Self = Self("/starling/punch/1");
    /// A member tries to reach another from outside, owned by this crate.
    pub const DIALBACK: Self = Self("/starling/dialback/1");
    /// Exchange of what the other side is missing, owned by `crdt`.
    pub const RECONCILE: Self = Self("/starling/reconcile/3");
    /// Data keys of accounts, owned by `crdt`.
    pub const KEYS: Self = Self("/starling/keys/1");
    /// Documents that others hold, and what was written away from its holders, owned by `crdt`.
    pub const FETCH: Self = Self("/starling/fetch/1");
    /// A question and its stream of tokens, owned by `inference`.
    pub const GENERATE: Self = Self("/starling/generate/3");
    /// Work for a program, of which nothing is kept, owned by `inference`.
    pub const COMPUTE: Self = Self("/starling/compute/1");
    /// What is computed of a conversation, for the node that goes on with it, owned by `inference`.
    pub const STATE: Self = Self("/starling/state/1");

    /// Blobs: files by their content, owned by this crate.
    pub const BLOB: Self = Self("/starling/blob/1");
    /// The same as [`Protocol::BLOB`], and says that its connection is for nothing else.
    pub const BULK: Self = Self("/starling/bulk/1");

    /// Every protocol of this build. Tests walk this list to show that a stranger reaches none but [`Protocol::JOIN`].
    pub const ALL: [Self; 16] = [
        Self::JOIN,
        Self::TRUST,
        Self::CONTROL,
        Self::LINKS,
        Self::LIVENESS,
        Self::HINTS,
        Self::PUNCH,
        Self::DIALBACK,
        Self::RECONCILE,
        Self::KEYS,
        Self::FETCH,
        Self::GENERATE,
        Self::COMPUTE,
        Self::STATE,
        Self::BLOB,
        Self::BULK,
    ];

    /// The names under which the release before speaks a protocol that has changed since, the newest first. They are proposed and taken
    /// besides, for one release, and [`crate::Stream::version`] tells which was agreed upon: so two adjacent releases make one mesh.
    pub(crate) const FORMER: &'static [(Self, &'static str)] = &[
        (Self::GENERATE, "/starling/generate/2"),
        (Self::GENERATE, "/starling/generate/1"),
    ];

    /// Protocols of libp2p that members speak besides: asking a relay to carry, being brought a circuit by one, and gossip in the versions
    /// that its library offers. They are gated as all are; tests walk this list, too.
    pub const OF_LIBP2P: [&'static str; 6] = [
        "/libp2p/circuit/relay/0.2.0/hop",
        "/libp2p/circuit/relay/0.2.0/stop",
        "/meshsub/1.3.0",
        "/meshsub/1.2.0",
        "/meshsub/1.1.0",
        "/meshsub/1.0.0",
    ];

    /// Whether a stream of it belongs to its link, and ends with it, rather than to somebody's work.
    pub(crate) fn belongs_to_the_link(self) -> bool {
        let of_the_link = [
            Self::TRUST,
            Self::CONTROL,
            Self::LINKS,
            Self::LIVENESS,
            Self::HINTS,
            Self::PUNCH,
            Self::DIALBACK,
        ];
        of_the_link.contains(&self)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// A protocol that is not ours, to try it as a stranger.
    #[cfg(test)]
    pub(crate) const fn foreign(name: &'static str) -> Self {
        Self(name)
    }

    /// The protocol of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.0 == name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_documented_and_found_by_its_name() {
        let document = include_str!("../PROTOCOL.md");
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::named(protocol.name()), Some(protocol));
            assert!(
                document.contains(&format!("`{protocol}`")),
                "{protocol} is not in PROTOCOL.md"
            );
        }
        for name in Protocol::OF_LIBP2P {
            assert!(document.contains(&format!("`{name}`")), "{name} is not in PROTOCOL.md");
        }
        assert_eq!(Protocol::named("/starling/nothing/1"), None);
        assert_eq!(version_in(Protocol::RECONCILE.name()), 3);
    }
}
