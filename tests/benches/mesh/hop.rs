//! What a hop costs: a hundred bytes there and back on a stream that is open, through two nodes, and beside it by plain quinn.

use std::time::Instant;

use keys::NodeId;
use mesh::{Protocol, frame};

use crate::{
    Figure,
    nodes::{Founder, loopback, runtime},
    print, quantile,
};

const ROUNDS: usize = 3000;
const WARM_UP: usize = 300;
const BYTES: usize = 100;

pub fn run() {
    let mut ours = runtime().block_on(through_nodes());
    let mut theirs = plain(ROUNDS);
    let rival = |figures: &mut Vec<f64>, share| (!figures.is_empty()).then(|| quantile(figures, share));
    for (share, name) in [
        (0.5, "100 bytes there and back, p50"),
        (0.99, "100 bytes there and back, p99"),
    ] {
        let (value, plain) = (quantile(&mut ours, share), rival(&mut theirs, share));
        print(&Figure {
            name,
            value,
            unit: "us",
            goal: plain.filter(|_| share == 0.5).map(|plain| plain * 1.5),
            rival: plain.map(|plain| ("plain quinn", plain)),
        });
        if let Some(plain) = plain {
            eprintln!(
                "{name}: {value:.1} us, plain quinn {plain:.1} us, ratio {:.2}",
                value / plain
            );
        }
    }
}

async fn through_nodes() -> Vec<f64> {
    let mut founder = Founder::start(loopback());
    let second = founder.second().await;
    let target: NodeId = founder.running.key.id();
    let mut stream = second.mesh.open(target, Protocol::GENERATE).await.unwrap();
    let streams = founder.running.inputs.streams.remove(&Protocol::GENERATE);
    let (_, mut served) = streams.unwrap().recv().await.unwrap();
    tokio::spawn(async move {
        while let Ok(Some(bytes)) = frame::read_frame(&mut served, BYTES).await {
            frame::write_frame(&mut served, &bytes, BYTES).await.unwrap();
        }
    });
    let mut figures = Vec::with_capacity(ROUNDS);
    for round in 0..WARM_UP + ROUNDS {
        let began = Instant::now();
        frame::write_frame(&mut stream, &[7; BYTES], BYTES).await.unwrap();
        frame::read_frame(&mut stream, BYTES).await.unwrap().unwrap();
        if round >= WARM_UP {
            figures.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    figures
}

#[cfg(not(feature = "rivals"))]
fn plain(_: usize) -> Vec<f64> {
    Vec::new()
}

/// The same with nothing but quinn: the floor.
#[cfg(feature = "rivals")]
fn plain(rounds: usize) -> Vec<f64> {
    use std::sync::Arc;

    use quinn::rustls::{
        RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer},
    };

    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(certified.cert);
    let private = PrivateKeyDer::try_from(certified.key_pair.serialize_der()).unwrap();
    runtime().block_on(async move {
        let server = quinn::ServerConfig::with_single_cert(vec![certificate.clone()], private).unwrap();
        let server = quinn::Endpoint::server(server, (loopback(), 0).into()).unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let connection = server.accept().await.unwrap().await.unwrap();
            let (mut send, mut receive) = connection.accept_bi().await.unwrap();
            let mut bytes = [0; BYTES];
            while receive.read_exact(&mut bytes).await.is_ok() {
                send.write_all(&bytes).await.unwrap();
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = quinn::ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
        let mut endpoint = quinn::Endpoint::client((loopback(), 0).into()).unwrap();
        endpoint.set_default_client_config(client);
        let connection = endpoint.connect(address, "localhost").unwrap().await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        let (mut figures, mut bytes) = (Vec::with_capacity(rounds), [0; BYTES]);
        for round in 0..WARM_UP + rounds {
            let began = Instant::now();
            send.write_all(&[7; BYTES]).await.unwrap();
            receive.read_exact(&mut bytes).await.unwrap();
            if round >= WARM_UP {
                figures.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        figures
    })
}
