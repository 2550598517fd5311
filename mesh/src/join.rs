//! The join protocol, all that a stranger may speak: redeem an invite, or prove a membership this node has not heard of.
//!
//! One request, one reply, each frame bounded, the whole conversation under one deadline. After a welcome the newcomer closes
//! the connection and dials again, because what a connection may speak is decided when it is established.

mod newcomer;

use keys::{
    NodeId,
    invite::JoinRequest,
    membership::{Certificate, Evidence, MembershipError, Residency, Roster},
};
use serde::{Deserialize, Serialize};

pub use self::newcomer::{Joined, join};
use crate::{
    Protocol,
    frame::{self, FrameError, read_frame, write_frame},
    limits::{JOIN_CERTIFICATES_MAX, JOIN_EVIDENCE_MAX, JOIN_FRAME_BYTES_MAX, JOIN_TIMEOUT},
    streams::{OpenError, Opener, Stream},
    transport,
};

/// First byte of every frame of this protocol.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    /// "I hold an invite."
    Redeem(JoinRequest),
    /// "I am a member already": this many certificates follow, one a frame.
    Present(u32),
    /// "I hold an invite that says where I stand." The last variant, so that members of the release before read the others.
    RedeemLabelled(JoinRequest, Residency),
    /// "I am a member already": so many pieces of evidence follow, one a frame.
    PresentEvidence(u32),
    /// "I hold an invite that this operator has signed."
    RedeemOfOperator(JoinRequest, Option<Residency>, NodeId),
}

#[derive(Serialize, Deserialize)]
enum Reply {
    /// The roster follows, one certificate a frame.
    Welcome(u32),
    /// Why not, in words for the operator's terminal.
    Refused(String),
    /// Behind a refusal or a welcome: so many pieces of signed evidence follow, one a frame. A member of the release before says nothing
    /// more.
    Because(u32),
}

/// A request together with what came with it.
pub(crate) enum Asked {
    Redeem {
        request: JoinRequest,
        residency: Option<Residency>,
        /// Who signed the invite; the root when there is none.
        operator: Option<NodeId>,
    },
    Present(Vec<Evidence>),
}

/// What a stranger is answered.
pub(crate) enum Answer {
    /// The members, and what was decided about any of them since: without it a newcomer would take one that was put out for a member until
    /// it meets somebody who knows better.
    Welcome(Vec<Certificate>, Vec<Evidence>),
    /// Why not, and what was decided about the stranger.
    Refused(MembershipError, Vec<Evidence>),
}

/// What came of presenting oneself.
pub(crate) struct Presented {
    pub(crate) result: Result<Vec<Certificate>, JoinError>,
    /// What the other side has to show for a refusal, or has decided besides; nobody's word, but evidence to be verified.
    pub(crate) because: Vec<Evidence>,
}

/// Why a join did not come about.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No address in the invite answered.
    #[error(
        "no member could be reached at {addresses}: {reason}; is the other node running, and is its port open for UDP and TCP?"
    )]
    Unreachable {
        /// What was tried.
        addresses: String,
        /// The last thing that went wrong.
        reason: String,
    },
    /// The member said no.
    #[error("the member refused: {0}")]
    Refused(String),
    /// The conversation broke or was too slow.
    #[error("the conversation with the member broke: {0}")]
    Broken(#[from] FrameError),
    /// No stream for the conversation.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The member's reply makes no sense.
    #[error("the member's reply is malformed or of another version")]
    Malformed,
    /// What the member sent does not verify.
    #[error("the member sent a membership that does not verify: {0}")]
    Membership(#[from] MembershipError),
    /// The local network could not be used.
    #[error(transparent)]
    Transport(#[from] transport::TransportError),
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    frame::encode(VERSION, message)
}

async fn receive<T: for<'de> Deserialize<'de>>(stream: &mut Stream) -> Result<T, JoinError> {
    let body = read_frame(stream, JOIN_FRAME_BYTES_MAX)
        .await?
        .ok_or(JoinError::Malformed)?;
    frame::decode(VERSION, &body).ok_or(JoinError::Malformed)
}

async fn send(stream: &mut Stream, message: &impl Serialize) -> Result<(), JoinError> {
    Ok(write_frame(stream, &encode(message), JOIN_FRAME_BYTES_MAX).await?)
}

async fn receive_certificates(stream: &mut Stream, count: u32) -> Result<Vec<Certificate>, JoinError> {
    if count as usize > JOIN_CERTIFICATES_MAX {
        return Err(JoinError::Malformed);
    }
    let mut certificates = Vec::new();
    for _ in 0..count {
        certificates.push(receive(stream).await?);
    }
    Ok(certificates)
}

async fn receive_evidence(stream: &mut Stream, count: u32) -> Result<Vec<Evidence>, JoinError> {
    if count as usize > JOIN_EVIDENCE_MAX {
        return Err(JoinError::Malformed);
    }
    let mut evidence = Vec::new();
    for _ in 0..count {
        let frame = read_frame(stream, JOIN_FRAME_BYTES_MAX).await?;
        let frame = frame.ok_or(JoinError::Malformed)?;
        evidence.push(Evidence::from_bytes(&frame).map_err(|_| JoinError::Malformed)?);
    }
    Ok(evidence)
}

/// Server side, first half: reads what the stranger asks.
pub(crate) async fn read_request(stream: &mut Stream) -> Result<Asked, JoinError> {
    within(async {
        Ok(match receive(stream).await? {
            Request::Redeem(request) => Asked::Redeem {
                request,
                residency: None,
                operator: None,
            },
            Request::RedeemLabelled(request, residency) => Asked::Redeem {
                request,
                residency: Some(residency),
                operator: None,
            },
            Request::RedeemOfOperator(request, residency, operator) => Asked::Redeem {
                request,
                residency,
                operator: Some(operator),
            },
            Request::Present(count) => {
                let certificates = receive_certificates(stream, count).await?;
                Asked::Present(certificates.into_iter().map(Evidence::Certificate).collect())
            }
            Request::PresentEvidence(count) => Asked::Present(receive_evidence(stream, count).await?),
        })
    })
    .await
}

/// Server side, second half: the roster, or why not and what was decided about the stranger.
pub(crate) async fn write_reply(stream: &mut Stream, answer: Answer) -> Result<(), JoinError> {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    within(async {
        match answer {
            Answer::Welcome(certificates, decided) => {
                send(stream, &Reply::Welcome(count(certificates.len()))).await?;
                for certificate in &certificates {
                    send(stream, certificate).await?;
                }
                show(stream, &decided).await
            }
            Answer::Refused(error, evidence) => {
                send(stream, &Reply::Refused(error.to_string())).await?;
                show(stream, &evidence).await
            }
        }
    })
    .await
}

/// What stands behind an answer. A member of the release before does not read it.
async fn show(stream: &mut Stream, evidence: &[Evidence]) -> Result<(), JoinError> {
    if !evidence.is_empty() {
        let count = u32::try_from(evidence.len()).unwrap_or(u32::MAX);
        send(stream, &Reply::Because(count)).await?;
    }
    for one in evidence {
        write_frame(stream, &one.to_bytes(), JOIN_FRAME_BYTES_MAX).await?;
    }
    Ok(())
}

async fn within<T>(work: impl Future<Output = Result<T, JoinError>>) -> Result<T, JoinError> {
    tokio::time::timeout(JOIN_TIMEOUT, work)
        .await
        .unwrap_or(Err(JoinError::Broken(FrameError::Timeout(JOIN_TIMEOUT))))
}

async fn ask(stream: &mut Stream, request: Request, presented: &[Vec<u8>]) -> Result<Vec<Certificate>, JoinError> {
    within(async {
        send(stream, &request).await?;
        for frame in presented {
            write_frame(stream, frame, JOIN_FRAME_BYTES_MAX).await?;
        }
        match receive(stream).await? {
            Reply::Welcome(count) => receive_certificates(stream, count).await,
            Reply::Refused(reason) => Err(JoinError::Refused(reason)),
            Reply::Because(_) => Err(JoinError::Malformed),
        }
    })
    .await
}

/// Proves this node's membership to a node that does not know it yet; that node's roster, or a refusal with what was decided.
pub(crate) async fn present(opener: &Opener, node: NodeId, roster: &Roster) -> Presented {
    let mut because = Vec::new();
    let result = introduce(opener, node, roster, &mut because).await;
    Presented { result, because }
}

async fn introduce(
    opener: &Opener,
    node: NodeId,
    roster: &Roster,
    because: &mut Vec<Evidence>,
) -> Result<Vec<Certificate>, JoinError> {
    if roster.has_decrees() {
        let evidence: Vec<_> = roster.evidence().map(|(_, evidence)| evidence.to_bytes()).collect();
        let count = u32::try_from(evidence.len()).unwrap_or(u32::MAX);
        let mut stream = opener.open(node, Protocol::JOIN, None).await?;
        match ask(&mut stream, Request::PresentEvidence(count), &evidence).await {
            // A member of the release before does not know the question.
            Err(JoinError::Malformed | JoinError::Broken(FrameError::Io(_))) => {}
            answer => {
                *because = shown(&mut stream, &answer).await;
                return answer;
            }
        }
    }
    let mut stream = opener.open(node, Protocol::JOIN, None).await?;
    let certificates: Vec<_> = roster.certificates().map(encode).collect();
    let count = u32::try_from(certificates.len()).unwrap_or(u32::MAX);
    let answer = ask(&mut stream, Request::Present(count), &certificates).await;
    *because = shown(&mut stream, &answer).await;
    answer
}

/// What the other side shows for its refusal, or has decided about those whom it names as members; the answer stands without it, too.
async fn shown(stream: &mut Stream, answer: &Result<Vec<Certificate>, JoinError>) -> Vec<Evidence> {
    if !matches!(answer, Ok(_) | Err(JoinError::Refused(_))) {
        return Vec::new();
    }
    let read = within(async {
        match receive(stream).await? {
            Reply::Because(count) => receive_evidence(stream, count).await,
            Reply::Welcome(_) | Reply::Refused(_) => Err(JoinError::Malformed),
        }
    });
    read.await.unwrap_or_default()
}

/// For whoever tries bytes: reads a request and writes what was read.
pub(crate) fn request_again(bytes: &[u8]) -> Option<Vec<u8>> {
    frame::decode(VERSION, bytes).map(|request: Request| encode(&request))
}

/// Requests that need no invite.
pub(crate) fn request_examples() -> Vec<(String, Vec<u8>)> {
    [
        ("present", Request::Present(3)),
        ("evidence", Request::PresentEvidence(3)),
    ]
    .map(|(name, request)| (name.to_owned(), encode(&request)))
    .into()
}
