//! Letters to people, in their language. A letter is an outbox record: whichever node may, sends it, once.

use std::sync::Weak;

use crdt::records::{
    account::Account,
    outbox::{Channel, Outbox},
};
use keys::{
    ContentId, Timestamp,
    identity::random_bytes,
    limits::{CONFIRMATION_MILLISECONDS, PASSWORD_RESET_MILLISECONDS},
    token::{self, AccountLink, AccountLinkPurpose},
};

use tokio::sync::mpsc;

use crate::{
    app::App,
    auth::passwords,
    error::ApiError,
    limits::{LETTER_AGAIN_MILLISECONDS, LETTERS_ASKED_MAX},
};

/// What a letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    /// Please confirm your address.
    Confirm,
    /// Choose another password.
    Reset,
    /// Somebody asked for an account with your address, and you have one.
    Known,
}

/// Takes wishes for letters. Whoever asks is answered at once, so that the time does not tell whether the address is known.
pub(crate) struct LetterDesk(mpsc::Sender<(String, Letter)>);

impl LetterDesk {
    /// The desk, and the wishes that come over it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<(String, Letter)>) {
        let (sender, receiver) = mpsc::channel(LETTERS_ASKED_MAX);
        (Self(sender), receiver)
    }

    /// A letter to this address, if it is one of ours.
    pub(crate) fn ask(&self, email: String, letter: Letter) -> Result<(), ApiError> {
        self.0
            .try_send((email, letter))
            .map_err(|_| ApiError::TooManyRequests { seconds: 60 })
    }
}

/// Sees to wishes for letters, until the gateway ends.
pub(crate) async fn answer(app: Weak<App>, mut wishes: mpsc::Receiver<(String, Letter)>) {
    while let Some((email, letter)) = wishes.recv().await {
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = answer_one(&app, &email, letter).await {
            tracing::warn!(code = error.code(), "a letter that was asked for was not written");
        }
    }
}

async fn answer_one(app: &App, email: &str, letter: Letter) -> Result<(), ApiError> {
    let Some((id, account)) = app.people.addressed(email.trim()).await? else {
        return Ok(());
    };
    let is_waiting = account.roles.highest().is_none();
    let fits = match letter {
        Letter::Confirm => is_waiting,
        Letter::Reset => !is_waiting,
        Letter::Known => true,
    };
    if !fits || account.blocked || app.policies.current().site_for_letters().is_none() {
        return Ok(());
    }
    write(app, id, &account, letter).await
}

/// A link about an account: its path and its end.
pub(crate) async fn link(
    app: &App,
    account: ContentId,
    purpose: AccountLinkPurpose,
) -> Result<(String, Timestamp), ApiError> {
    let (path, lifetime) = match purpose {
        AccountLinkPurpose::ConfirmAddress => ("confirm", CONFIRMATION_MILLISECONDS),
        AccountLinkPurpose::ResetPassword => ("reset", PASSWORD_RESET_MILLISECONDS),
    };
    let (_, credential) = passwords::credential(app, account).await?.ok_or(ApiError::NotFound)?;
    let expires = Timestamp::now().plus(lifetime);
    let link = AccountLink {
        mesh: app.mesh,
        account,
        purpose,
        generation: credential.generation,
        expires,
    };
    let token = token::issue(&app.key, &link).map_err(|_| ApiError::StorageUnavailable)?;
    Ok((format!("/{path}#{token}"), expires))
}

/// Opens such a link.
pub(crate) fn open(app: &App, text: &str, purpose: AccountLinkPurpose) -> Result<AccountLink, ApiError> {
    let is_member = |node: &keys::NodeId| app.surroundings.is_member(node);
    let link: AccountLink =
        token::verify(text, app.mesh, Timestamp::now(), is_member).map_err(|_| ApiError::LinkInvalid)?;
    if link.purpose == purpose {
        Ok(link)
    } else {
        Err(ApiError::LinkInvalid)
    }
}

/// Writes a letter to a person, unless one went a moment ago.
pub(crate) async fn write(app: &App, id: ContentId, account: &Account, letter: Letter) -> Result<(), ApiError> {
    let policy = app.policies.current();
    let site = policy.site_for_letters().ok_or(ApiError::MailNotConfigured)?;
    let Some(email) = account.email.as_ref().filter(|email| email.is_readable()) else {
        return Ok(());
    };
    let now = Timestamp::now();
    let earlier = app.store.list_of::<Outbox>(id).await?;
    if earlier
        .iter()
        .any(|(_, earlier)| !earlier.abandoned && now.since(earlier.created) < LETTER_AGAIN_MILLISECONDS)
    {
        return Ok(());
    }
    let (link, expires) = match letter {
        Letter::Confirm => link(app, id, AccountLinkPurpose::ConfirmAddress).await?,
        Letter::Reset => link(app, id, AccountLinkPurpose::ResetPassword).await?,
        Letter::Known => ("/sign-in".to_owned(), now.plus(CONFIRMATION_MILLISECONDS)),
    };
    let address = format!("{}{link}", site.trim_end_matches('/'));
    let (subject, body) = words(letter, account.locale.starts_with("ru"), account.name.text(), &address);
    app.store
        .create(Outbox {
            account: Some(id),
            channel: Channel::Mail,
            key: random_bytes(),
            recipient: email.clone(),
            subject: subject.into(),
            body: body.into(),
            created: now,
            not_before: now,
            expires,
            lease: None,
            attempts: Vec::new(),
            done: None,
            abandoned: false,
        })
        .await?;
    Ok(())
}

fn words(letter: Letter, is_russian: bool, name: &str, address: &str) -> (&'static str, String) {
    match (letter, is_russian) {
        (Letter::Confirm, true) => (
            "Подтвердите адрес",
            format!(
                "Здравствуйте, {name}!\n\nКто-то (надеемся, вы) зарегистрировался в Starling с этим адресом. Чтобы подтвердить его, \
                 откройте ссылку:\n\n{address}\n\nОна действует сутки. Если это были не вы, ничего не делайте.\n"
            ),
        ),
        (Letter::Confirm, false) => (
            "Please confirm your address",
            format!(
                "Hello {name},\n\nsomebody (you, we hope) signed up at Starling with this address. To confirm it, open this link:\n\n\
                 {address}\n\nIt is good for a day. If it was not you, do nothing.\n"
            ),
        ),
        (Letter::Reset, true) => (
            "Новый пароль",
            format!(
                "Здравствуйте, {name}!\n\nЧтобы выбрать новый пароль, откройте ссылку:\n\n{address}\n\nОна действует час. Если вы не \
                 просили об этом, ничего не делайте: пароль останется прежним.\n"
            ),
        ),
        (Letter::Reset, false) => (
            "Another password",
            format!(
                "Hello {name},\n\nto choose another password, open this link:\n\n{address}\n\nIt is good for an hour. If you did not \
                 ask for it, do nothing: the password stays as it is.\n"
            ),
        ),
        (Letter::Known, true) => (
            "У вас уже есть учётная запись",
            format!(
                "Здравствуйте, {name}!\n\nКто-то попытался зарегистрироваться в Starling с вашим адресом. Учётная запись у вас уже \
                 есть:\n\n{address}\n\nЕсли забыли пароль, там можно выбрать новый. Если это были не вы, ничего не делайте.\n"
            ),
        ),
        (Letter::Known, false) => (
            "You have an account already",
            format!(
                "Hello {name},\n\nsomebody tried to sign up at Starling with your address. You have an account already:\n\n{address}\n\n\
                 If you forgot the password, you can choose another one there. If it was not you, do nothing.\n"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_has_both_languages_and_its_link() {
        for letter in [Letter::Confirm, Letter::Reset, Letter::Known] {
            let (russian, body) = words(letter, true, "Рита", "https://chat.example/x#T");
            assert!(body.contains("\n\nhttps://chat.example/x#T\n\n") && body.contains("Рита"));
            let (english, other) = words(letter, false, "Рита", "https://chat.example/x#T");
            assert!(other.contains("\n\nhttps://chat.example/x#T\n\n") && other.contains("Hello Рита"));
            assert_ne!(russian, english);
        }
    }
}
