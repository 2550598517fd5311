//! Counts what passes on the connections with each node: bytes, and packets that were lost where the path tells.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt, future::BoxFuture};
use keys::NodeId;
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    noise,
};

use crate::membership::peer_of;

/// The meters of all connections that stand, by the node at the other end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters(Arc<Mutex<HashMap<PeerId, Vec<Weak<Meter>>>>>);

/// What was counted on one connection; it lives as long as that.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    packets: AtomicU64,
    lost: AtomicU64,
}

/// What was counted with one node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Metered {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// The share of lost packets; `None` where the path does not tell.
    pub(crate) loss: Option<f64>,
}

impl Meters {
    /// A meter for a connection that has just been established.
    pub(super) fn meter(&self, peer: PeerId) -> Arc<Meter> {
        let meter = Arc::new(Meter::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are connections, which are limited elsewhere.
        all.retain(|_, meters| {
            meters.retain(|meter| meter.strong_count() > 0);
            !meters.is_empty()
        });
        all.entry(peer).or_default().push(Arc::downgrade(&meter));
        meter
    }

    /// What was counted on the connections with a node that stand now.
    pub(crate) fn read(&self, node: &NodeId) -> Option<Metered> {
        let peer = peer_of(node)?;
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meters: Vec<Arc<Meter>> = all.get(&peer)?.iter().filter_map(Weak::upgrade).collect();
        let sum = |of: fn(&Meter) -> &AtomicU64| -> u64 {
            meters.iter().map(|meter| of(meter).load(Ordering::Relaxed)).sum()
        };
        let packets = sum(|meter| &meter.packets);
        (!meters.is_empty()).then(|| Metered {
            sent: sum(|meter| &meter.sent),
            received: sum(|meter| &meter.received),
            loss: (packets > 0).then(|| sum(|meter| &meter.lost) as f64 / packets as f64),
        })
    }
}

impl Meter {
    /// What quinn has counted so far.
    pub(super) fn note_quic(&self, stats: &quinn::ConnectionStats) {
        self.sent.store(stats.udp_tx.bytes, Ordering::Relaxed);
        self.received.store(stats.udp_rx.bytes, Ordering::Relaxed);
        self.packets.store(stats.path.sent_packets, Ordering::Relaxed);
        self.lost.store(stats.path.lost_packets, Ordering::Relaxed);
    }
}

/// Noise that counts what passes once it has proven who is there.
#[derive(Clone)]
pub(super) struct MeteredNoise {
    pub(super) noise: noise::Config,
    pub(super) meters: Meters,
}

impl UpgradeInfo for MeteredNoise {
    type Info = <noise::Config as UpgradeInfo>::Info;
    type InfoIter = <noise::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.noise.protocol_info()
    }
}

type Upgrading<C> = BoxFuture<'static, Result<(PeerId, Counted<noise::Output<C>>), noise::Error>>;

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for MeteredNoise {
    type Output = (PeerId, Counted<noise::Output<C>>);
    type Error = noise::Error;
    type Future = Upgrading<C>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Upgrading<C> {
        counted(self.noise.upgrade_inbound(socket, info), self.meters)
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for MeteredNoise {
    type Output = (PeerId, Counted<noise::Output<C>>);
    type Error = noise::Error;
    type Future = Upgrading<C>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Upgrading<C> {
        counted(self.noise.upgrade_outbound(socket, info), self.meters)
    }
}

fn counted<C: Send + 'static>(
    upgrade: impl Future<Output = Result<(PeerId, noise::Output<C>), noise::Error>> + Send + 'static,
    meters: Meters,
) -> Upgrading<C> {
    let proven = move |(peer, stream)| (peer, Counted::new(stream, meters.meter(peer)));
    upgrade.map_ok(proven).boxed()
}

/// A byte stream that counts.
pub(crate) struct Counted<S> {
    stream: S,
    meter: Arc<Meter>,
}

impl<S> Counted<S> {
    pub(super) const fn new(stream: S, meter: Arc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(bytes)) = read {
            self.meter.received.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buffer);
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
