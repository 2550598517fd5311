//! A mail server that keeps what it is given: real SMTP on loopback.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// The letters that came, as they came.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<String>>>);

impl Sink {
    pub async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Self::default();
        let letters = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let letters = letters.clone();
                // A client that breaks off is no trouble of the server's.
                tokio::spawn(async move { letters.serve(stream).await });
            }
        });
        (sink, address)
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 sink\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let command = line.to_ascii_uppercase();
            if command.starts_with("DATA") {
                writer.write_all(b"354 go on\r\n").await?;
                let mut letter = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    letter.push_str(&line);
                    letter.push('\n');
                }
                self.0.lock().unwrap().push(letter);
                writer.write_all(b"250 kept\r\n").await?;
            } else if command.starts_with("QUIT") {
                return writer.write_all(b"221 bye\r\n").await;
            } else {
                writer.write_all(b"250 ok\r\n").await?;
            }
        }
        Ok(())
    }

    pub fn letters(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The text of a letter, out of base64 or quoted-printable, whichever its header says.
pub fn body(letter: &str) -> String {
    let (head, body) = letter.split_once("\n\n").unwrap();
    if head.to_lowercase().contains("base64") {
        let text: String = body.split_whitespace().collect();
        String::from_utf8(data_encoding::BASE64.decode(text.as_bytes()).unwrap()).unwrap()
    } else {
        let joined = body.replace("=\n", "");
        let mut bytes = Vec::new();
        let mut rest = joined.as_bytes();
        while let [first, more @ ..] = rest {
            if let (b'=', [high, low, after @ ..]) = (first, more)
                && let Ok(byte) = u8::from_str_radix(&format!("{}{}", char::from(*high), char::from(*low)), 16)
            {
                bytes.push(byte);
                rest = after;
            } else {
                bytes.push(*first);
                rest = more;
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}

/// The token of the link in a letter.
pub fn token(letter: &str, page: &str) -> String {
    let body = body(letter);
    let (_, rest) = body
        .split_once(&format!("/{page}#"))
        .unwrap_or_else(|| panic!("no link to {page} in {body}"));
    rest.split_whitespace().next().unwrap().to_owned()
}
