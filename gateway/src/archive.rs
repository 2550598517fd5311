//! What a person downloads: everything of theirs, as JSON for programs and as pages for people.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Cursor, Write as _},
};

use crdt::records::{
    account::{Account, ApiScope, Role},
    complaint::Complaint,
    session::{Message, Session, Speaker},
};
use keys::ContentId;
use serde_json::{Value, json};
use zip::{CompressionMethod, ZipWriter, result::ZipError, write::SimpleFileOptions};

use crate::{
    routes::complaints::{DecisionBody, ReasonBody},
    terms,
};

/// Packs everything of a person.
pub(crate) fn pack(
    id: ContentId,
    account: &Account,
    chats: &[(ContentId, Session)],
    characters: &BTreeMap<ContentId, String>,
    complaints: &[(ContentId, Complaint)],
) -> Result<Vec<u8>, ZipError> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut put = |name: String, bytes: &[u8]| -> Result<(), ZipError> {
        archive.start_file(name, options)?;
        Ok(archive.write_all(bytes)?)
    };
    put("account.json".into(), pretty(&about(id, account)).as_bytes())?;
    put("complaints.json".into(), pretty(&complained(complaints)).as_bytes())?;
    for (chat_id, chat) in chats {
        let character = characters.get(&chat.character).map_or("", String::as_str);
        put(
            format!("chats/{chat_id}.json"),
            pretty(&chat_json(*chat_id, chat, character)).as_bytes(),
        )?;
        put(format!("chats/{chat_id}.html"), page(chat, character).as_bytes())?;
    }
    Ok(archive.finish()?.into_inner())
}

fn pretty(value: &Value) -> String {
    // Plain data with string keys always serialises.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn about(id: ContentId, account: &Account) -> Value {
    let consents = account.consents.iter().map(|consent| {
        json!({
            "kind": terms::name_of(consent.kind), "given": consent.given, "text_hash": consent.text.to_string(),
            "edition": consent.edition, "at": consent.at().0, "address": consent.address.text(),
        })
    });
    let devices = account.devices.iter().map(|device| {
        json!({
            "label": device.label.text(), "signed_in_at": device.id.at().0, "seen_at": device.seen.0,
            "signed_out": device.signed_out,
        })
    });
    let favourites = account.favourites.iter().map(|favourite| {
        json!({
            "message": favourite.message.to_string(), "chat": favourite.session.to_string(), "added_at": favourite.added.0,
            "note": favourite.note.as_ref().map(|note| note.text().to_owned()),
        })
    });
    let keys = account.api_keys.iter().map(|key| {
        json!({
            "label": key.label.text(), "made_at": key.id.at().0, "expires_at": key.expires.map(|expires| expires.0),
            "scopes": key.scopes.iter().map(ApiScope::name).collect::<Vec<_>>(),
        })
    });
    json!({
        "id": id.to_string(),
        "name": account.name.text(),
        "email": account.email.as_ref().map(|email| email.text().to_owned()),
        "created_at": account.created.0,
        "language": account.locale,
        "roles": account.roles.iter().map(Role::name).collect::<Vec<_>>(),
        "preferences": account.preferences,
        "consents": consents.collect::<Vec<_>>(),
        "devices": devices.collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
        "favourites": favourites.collect::<Vec<_>>(),
    })
}

fn complained(complaints: &[(ContentId, Complaint)]) -> Value {
    let complaints = complaints.iter().map(|(id, complaint)| {
        json!({
            "id": id.to_string(), "character": complaint.name.text(), "reason": ReasonBody::from(complaint.reason),
            "words": complaint.words.text(), "seen": complaint.excerpt.text(), "at": complaint.created.0,
            "decision": complaint.decided().map(|decided| DecisionBody::from(decided.decision)),
        })
    });
    complaints.collect()
}

fn chat_json(id: ContentId, chat: &Session, character: &str) -> Value {
    let messages = chat.messages.iter().map(|message| {
        let (role, model) = match &message.speaker {
            Speaker::Person { .. } => ("person", None),
            Speaker::Character { model, .. } => ("character", Some(model.clone())),
        };
        let versions = message.versions.iter().map(|version| version.text.text().to_owned());
        json!({
            "id": message.id.to_string(), "parent": message.parent.map(|parent| parent.to_string()), "role": role,
            "text": message.text.text(), "at": message.at.0, "model": model, "made_by_ai": role == "character",
            "versions": versions.collect::<Vec<_>>(), "deleted": chat.deleted.contains(&message.id),
            "pinned": chat.pinned.contains(&message.id),
        })
    });
    let summaries = chat.summaries.iter().map(|summary| summary.text.text().to_owned());
    json!({
        "id": id.to_string(),
        "character": character,
        "title": chat.title.as_ref().map(|title| title.text().to_owned()),
        "created_at": chat.created.0,
        "messages": messages.collect::<Vec<_>>(),
        "summaries": summaries.collect::<Vec<_>>(),
    })
}

/// A page without any script, so that nothing in a message can act.
fn page(chat: &Session, character: &str) -> String {
    let mut page = format!(
        "<!doctype html><html><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\"><title>{name}</title><style>body{{font:1rem/1.5 system-ui;max-width:45rem;margin:2rem auto;padding:0 1rem}}\
         p{{white-space:pre-wrap;margin:.2rem 0 1rem}}small{{color:#666}}</style><h1>{name}</h1>",
        name = escaped(character)
    );
    for message in chat
        .messages
        .iter()
        .filter(|message| !chat.deleted.contains(&message.id))
    {
        let speaker = if message.is_from_person() {
            "—".to_owned()
        } else {
            format!("{} · ответ создан ИИ / made by AI", escaped(character))
        };
        // Writing into a string cannot fail.
        let _ = write!(
            page,
            "<small>{speaker} · {}</small><p>{}</p>",
            time(message),
            escaped(message.text.text())
        );
    }
    page.push_str("</html>\n");
    page
}

/// Days since 1970 and the time of day: a calendar date, in UTC.
fn time(message: &Message) -> String {
    let seconds = message.at.0 / 1000;
    let (days, second) = (i64::try_from(seconds / 86_400).unwrap_or(0), seconds % 86_400);
    // Howard Hinnant's algorithm: the year begins in March, so that the leap day is its last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use crdt::records::complaint::ComplaintReason;
    use keys::Timestamp;

    use super::*;

    #[test]
    fn an_archive_holds_everything_and_no_message_can_act_in_it() {
        let account = Account::new("Рита", Role::User, Timestamp(1), [0; 16]);
        let (id, chat_id, character) = (ContentId([1; 32]), ContentId([2; 32]), ContentId([3; 32]));
        let mut chat = Session::new(id, character, Timestamp(2));
        let at = Timestamp(1_764_371_106_000);
        chat.messages.push(Message::from_person(
            "<script>alert('x')</script>",
            "outbox-1",
            &chat_id,
            None,
            at,
        ));
        let complaint = Complaint {
            account: id,
            character,
            author: None,
            answer: None,
            reason: ComplaintReason::Harmful,
            words: "опасно".into(),
            name: "Лис".into(),
            excerpt: "Прыгай!".into(),
            created: at,
            taken: None,
            decisions: Vec::new(),
        };
        let names = BTreeMap::from([(character, "Лис & Co".to_owned())]);
        let bytes = pack(id, &account, &[(chat_id, chat)], &names, &[(chat_id, complaint)]).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut read = |name: &str| {
            let mut text = String::new();
            archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let account: Value = serde_json::from_str(&read("account.json")).unwrap();
        assert_eq!(account["name"], "Рита");
        let chat: Value = serde_json::from_str(&read(&format!("chats/{chat_id}.json"))).unwrap();
        assert_eq!(chat["messages"][0]["text"], "<script>alert('x')</script>");
        let complaints: Value = serde_json::from_str(&read("complaints.json")).unwrap();
        assert_eq!(
            (&complaints[0]["reason"], &complaints[0]["seen"]),
            (&json!("harmful"), &json!("Прыгай!"))
        );
        let page = read(&format!("chats/{chat_id}.html"));
        assert!(
            page.contains("Лис &amp; Co") && page.contains("&lt;script&gt;") && !page.contains("<script"),
            "{page}"
        );
        assert!(page.contains("2025-11-28 23:05:06 UTC"), "{page}");
    }
}
