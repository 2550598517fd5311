//! A connection that asks, and a page's socket; both cost the load generator as little as can be, because it shares the node's cores.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, Utf8Bytes, client::IntoClientRequest, protocol::WebSocketConfig},
};

async fn connect(to: SocketAddr, from: IpAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // The port is chosen with the other end in view, so that many connections find one.
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection that stays open between requests.
pub struct Connection {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr, from: IpAddr, token: &str) -> io::Result<Self> {
        Ok(Self {
            stream: connect(to, from).await?,
            head: format!("host: {to}\r\nauthorization: Bearer {token}\r\n\r\n"),
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Asks once; the bytes of the answer, head included.
    pub async fn get(&mut self, path: &str) -> io::Result<&[u8]> {
        let request = format!("GET {path} HTTP/1.1\r\n{}", self.head);
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let whole = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(whole) = whole(&self.buffer) {
                break whole;
            }
        };
        while self.buffer.len() < whole {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !self.buffer.starts_with(b"HTTP/1.1 200") {
            let said = String::from_utf8_lossy(&self.buffer).into_owned();
            return Err(io::Error::other(format!("{path}: {said}")));
        }
        Ok(&self.buffer)
    }
}

/// Bytes of an answer whose head is here.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?.to_ascii_lowercase();
    let length = text.split("content-length:").nth(1)?.split('\r').next()?;
    Some(head + length.trim().parse::<usize>().ok()?)
}

/// A page's socket, greeted.
pub struct Page(WebSocketStream<TcpStream>);

impl Page {
    pub async fn open(to: SocketAddr, from: IpAddr, token: &str) -> Result<Self, String> {
        let stream = connect(to, from).await.map_err(|error| error.to_string())?;
        let mut request = format!("ws://{to}/api/v1/ws")
            .into_client_request()
            .map_err(|error| error.to_string())?;
        let value = format!("Bearer {token}").parse().map_err(|_| "a token is a header")?;
        request.headers_mut().insert("authorization", value);
        // Ten thousand of them must not take a gigabyte here.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (stream, _) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|error| error.to_string())?;
        let mut page = Self(stream);
        match page.next().await {
            Some(hello) if hello.contains("\"hello\"") => Ok(page),
            other => Err(format!("no greeting but {other:?}")),
        }
    }

    pub async fn send(&mut self, text: String) -> Result<(), String> {
        let sent = self.0.send(Message::text(text)).await;
        sent.map_err(|error| error.to_string())
    }

    /// The next frame; pings are answered meanwhile. `None` when the socket is gone.
    pub async fn next(&mut self) -> Option<Utf8Bytes> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(text),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
