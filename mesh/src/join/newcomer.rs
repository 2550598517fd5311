//! The newcomer's side of the join protocol: which members it asks, one after another, until one takes it in.
//!
//! The member that the invite names is dialled first, at every address. When it cannot be reached, or is silent for a moment, the
//! other addresses of the invite are dialled as well, and whoever connects first is asked. Nothing tells who should answer there: a
//! stranger can learn that somebody wants to join, but the redemption in its hands is good for this node's key alone, and the
//! certificate that it gives has to hold. Members are asked one at a time, so that the invite is not spent twice.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use futures::StreamExt;
use keys::{
    NodeId, NodeKey,
    invite::Invite,
    membership::{Certificate, Evidence, MembershipError, Roster},
};
use libp2p::{
    Swarm,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts},
};
use tokio::time::{Instant, sleep_until};

use super::{JoinError, Request, ask, shown};
use crate::{
    Protocol,
    counters::Counters,
    limits::{JOIN_HEAD_START, JOIN_TIMEOUT},
    membership::{Membership, node_of, peer_of},
    streams::{self, Opener},
    transport::{self, every_multiaddress},
};

/// What a newcomer has in hand as a member.
#[derive(Debug)]
pub struct Joined {
    /// The mesh, in which this node now is.
    pub roster: Roster,
    /// Who took it in.
    pub member: NodeId,
    /// Where that member was reached.
    pub addresses: Vec<SocketAddr>,
}

type JoinSwarm = Swarm<streams::Behaviour>;

/// Redeems an invite: dials the member it names, or else the others, shows the ticket, and returns the roster of the mesh.
///
/// # Errors
/// Why the node did not become a member. Nothing is stored.
pub async fn join(key: &NodeKey, invite: &Invite, name: &str) -> Result<Joined, JoinError> {
    let counters = Arc::new(Counters::default());
    let (behaviour, opener, _inbound) = streams::new(Membership::Nobody, &[Protocol::JOIN], counters);
    let mut swarm = transport::swarm(key, transport::Congestion::default(), |_| behaviour)?;
    let mut doors = Doors::open(&mut swarm, invite)?;
    loop {
        let (member, addresses) = doors.next(&mut swarm).await?;
        let conversation = converse(&opener, member, (key.id(), name), invite);
        let result = tokio::select! {
            result = conversation => result,
            never = doors.drive(&mut swarm) => match never {},
        };
        match result {
            Ok(roster) => {
                return Ok(Joined {
                    roster,
                    member,
                    addresses,
                });
            }
            // The member that the invite names knows the mesh; who answers elsewhere may be anybody.
            Err(error @ JoinError::Refused(_)) if member == invite.member => return Err(error),
            Err(error) => doors.failed(error),
        }
    }
}

async fn converse(
    opener: &Opener,
    member: NodeId,
    (node, name): (NodeId, &str),
    invite: &Invite,
) -> Result<Roster, JoinError> {
    let request = invite.redeem(node, name).map_err(MembershipError::from)?;
    let request = match (invite.operator(), invite.residency().cloned()) {
        (Some(operator), residency) => Request::RedeemOfOperator(request, residency, operator),
        (None, None) => Request::Redeem(request),
        (None, Some(residency)) => Request::RedeemLabelled(request, residency),
    };
    let mut stream = opener.open(member, Protocol::JOIN, None).await?;
    let answer = ask(&mut stream, request, &[]).await;
    let decided: Vec<Evidence> = shown(&mut stream, &answer).await;
    let mut roster = roster_of(node, invite, answer?)?;
    // What does not verify is left out.
    drop(roster.take(decided));
    Ok(roster)
}

fn roster_of(node: NodeId, invite: &Invite, certificates: Vec<Certificate>) -> Result<Roster, JoinError> {
    let mut own = None;
    let mut others = Vec::new();
    for certificate in certificates {
        let (mesh, member) = certificate.verify()?;
        if mesh != invite.mesh {
            return Err(JoinError::Membership(MembershipError::OtherMesh));
        }
        if member.node == node {
            own = Some(certificate)
        } else {
            others.push(certificate)
        }
    }
    let mut roster = Roster::new(own.ok_or(JoinError::Malformed)?)?;
    roster.insert_all(others);
    Ok(roster)
}

/// The members that may be asked, as they are reached.
struct Doors<'a> {
    invite: &'a Invite,
    /// Which addresses each dial that runs is meant for.
    dials: BTreeMap<ConnectionId, Vec<SocketAddr>>,
    /// Who has been reached and is not asked yet.
    reached: VecDeque<(NodeId, Vec<SocketAddr>)>,
    /// Who has been reached at all: an address is dialled in two ways.
    known: BTreeSet<NodeId>,
    /// When the other members are dialled, too; nothing once they are.
    others_at: Option<Instant>,
    /// Until when somebody must be reached.
    until: Instant,
    /// Why the last conversation came to nothing.
    failed: Option<JoinError>,
    /// Why the last dial did.
    reason: String,
}

impl<'a> Doors<'a> {
    fn open(swarm: &mut JoinSwarm, invite: &'a Invite) -> Result<Self, JoinError> {
        let now = Instant::now();
        let mut doors = Self {
            invite,
            dials: BTreeMap::new(),
            reached: VecDeque::new(),
            known: BTreeSet::new(),
            others_at: Some(now + JOIN_HEAD_START),
            // Twice the join timeout: an address that drops packets must not hide one that answers.
            until: now + JOIN_TIMEOUT * 2,
            failed: None,
            reason: format!("no answer in {:?}", JOIN_TIMEOUT * 2),
        };
        let peer = peer_of(&invite.member).ok_or(JoinError::Malformed)?;
        let dial = DialOpts::peer_id(peer).addresses(every_multiaddress(&invite.addresses));
        doors.dial(swarm, dial.build(), invite.addresses.clone());
        Ok(doors)
    }

    fn dial(&mut self, swarm: &mut JoinSwarm, dial: DialOpts, addresses: Vec<SocketAddr>) {
        let id = dial.connection_id();
        match swarm.dial(dial) {
            Ok(()) => drop(self.dials.insert(id, addresses)),
            Err(error) => self.reason = transport::why(&error),
        }
    }

    fn dial_others(&mut self, swarm: &mut JoinSwarm) {
        self.others_at = None;
        for address in self.invite.others() {
            for way in every_multiaddress(&[*address]) {
                let dial = DialOpts::unknown_peer_id().address(way).build();
                self.dial(swarm, dial, vec![*address]);
            }
        }
    }

    /// The next one to ask.
    async fn next(&mut self, swarm: &mut JoinSwarm) -> Result<(NodeId, Vec<SocketAddr>), JoinError> {
        loop {
            if let Some(reached) = self.reached.pop_front() {
                return Ok(reached);
            }
            if self.dials.is_empty() && self.others_at.is_some() {
                self.dial_others(swarm);
            }
            if self.dials.is_empty() || Instant::now() >= self.until {
                return Err(self.nobody());
            }
            let wake = self.others_at.unwrap_or(self.until);
            tokio::select! {
                event = swarm.select_next_some() => self.handle(event),
                () = sleep_until(wake) => if self.others_at.is_some() {
                    self.dial_others(swarm);
                },
            }
        }
    }

    /// Runs the swarm for as long as the conversation beside it lasts.
    async fn drive(&mut self, swarm: &mut JoinSwarm) -> std::convert::Infallible {
        loop {
            let event = swarm.select_next_some().await;
            self.handle(event);
        }
    }

    fn handle<E>(&mut self, event: SwarmEvent<E>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id, connection_id, ..
            } => {
                let addresses = self.dials.remove(&connection_id).unwrap_or_default();
                if let Some(node) = node_of(&peer_id)
                    && self.known.insert(node)
                {
                    self.reached.push_back((node, addresses));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id, error, ..
            } => {
                self.dials.remove(&connection_id);
                self.reason = transport::why(&error);
            }
            _ => {}
        }
    }

    /// Somebody was asked in vain.
    fn failed(&mut self, error: JoinError) {
        self.until = Instant::now() + JOIN_TIMEOUT * 2;
        self.failed = Some(error);
    }

    /// Why there is nobody left to ask.
    fn nobody(&mut self) -> JoinError {
        let tried = self.invite.addresses.iter().chain(self.invite.others());
        self.failed.take().unwrap_or_else(|| JoinError::Unreachable {
            addresses: tried.map(SocketAddr::to_string).collect::<Vec<_>>().join(", "),
            reason: std::mem::take(&mut self.reason),
        })
    }
}
