//! One letter over SMTP.

use std::time::Duration;

use crdt::records::outbox::Outbox;
use data_encoding::HEXLOWER;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::authentication::Credentials,
};

use super::{MailServer, Security};

/// Sending takes at most this: less than what a lease reserves for it.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a letter did not leave.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Sender or recipient cannot be written to.
    #[error("this is no address: {0}")]
    Address(#[from] lettre::address::AddressError),
    /// It cannot be written as a letter.
    #[error("the letter cannot be written: {0}")]
    Letter(#[from] lettre::error::Error),
    /// The server.
    #[error("the mail server did not take the letter: {0}")]
    Server(#[from] lettre::transport::smtp::Error),
    /// It took too long.
    #[error("the mail server did not answer within {} seconds", SEND_TIMEOUT.as_secs())]
    Timeout,
}

/// Sends a letter now, whoever's turn it is.
///
/// # Errors
/// Why it did not leave. After [`MailError::Timeout`] it may have left all the same.
pub async fn send(server: &MailServer, letter: &Outbox) -> Result<(), MailError> {
    let from: Mailbox = server.from.parse()?;
    let to: Mailbox = letter.recipient.text().parse()?;
    let domain = from.email.domain().to_owned();
    let message = Message::builder()
        .from(from)
        .to(to)
        // The same from whichever node it comes, so that a second copy is known as one.
        .message_id(Some(format!("<{}@{domain}>", HEXLOWER.encode(&letter.key))))
        .subject(letter.subject.text())
        .header(ContentType::TEXT_PLAIN)
        .body(letter.body.text().to_owned())?;
    let host = server.host.as_str();
    let builder = match server.security {
        Security::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host)?,
        Security::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host)?,
        Security::None => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host),
    };
    let builder = builder.port(server.port).timeout(Some(SEND_TIMEOUT));
    let transport = match &server.login {
        Some((user, password)) => builder.credentials(Credentials::new(user.clone(), password.clone())),
        None => builder,
    }
    .build();
    tokio::time::timeout(SEND_TIMEOUT, transport.send(message))
        .await
        .map_err(|_| MailError::Timeout)??;
    Ok(())
}
