//! Golden bytes of the records: what each writes as the first change of its document, with its personal text sealed, and what
//! documents of older versions say today.

use std::collections::{BTreeMap, BTreeSet};

use crdt::records::{
    EntryId, Owner, Record, RecordKind, Seal, Sealed,
    account::{Account, AccountApiKey, AccountEdit, ApiScope, Consent, ConsentKind, Device, Favourite, Role, Roles},
    alert::{Alert, Severity},
    audit::{Audit, AuditEdit, AuditEvent, Continuation},
    character::{Character, Definition},
    claim::{Claim, ClaimKind},
    complaint::{Complaint, ComplaintReason, Decided, Decision, Taken},
    credential::{Credential, CredentialEdit, Recovery},
    member::Member,
    model::{Licence, Model, ModelShape, ModelTemplate},
    outbox::{Attempt, Channel, Lease, Outbox},
    report::{Report, ReportFormat, ReportKind},
    service::{Scope, Stop, StopKind},
    session::{
        Coverage, Ending, Message, Place, Session, SessionEdit, Speaker, Summary, SummaryOrigin, Version,
        another_answer_id,
    },
    settings::{Setting, Settings},
    standalone::Standalone,
};
use keys::{ContentId, NodeId, Timestamp, membership::Certificate};

use super::{golden, key};

const PERSON: ContentId = ContentId([1; 32]);
const NODE: NodeId = NodeId([9; 32]);
const AT: Timestamp = Timestamp(1_790_000_000_000);

/// Stands for encryption; what is kept is the change, and that holds only a hash of what comes out here.
fn seal(context: &[u8], text: &[u8]) -> Vec<u8> {
    [context, b"|", text].concat()
}

fn open(context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    sealed.strip_prefix(context)?.strip_prefix(b"|").map(<[u8]>::to_vec)
}

fn id(number: u64) -> EntryId {
    EntryId::new(AT.plus(number), u128::from(number) << 70 | 5)
}

/// Writes a record, holds its change against the kept bytes, and reads the kept bytes back.
fn check<R: Record + PartialEq + std::fmt::Debug>(name: &str, record: &R, owner: Owner) {
    let mut standalone = Standalone::new();
    let seal: Option<Seal<'_>> = if R::PERSONAL { Some(&seal) } else { None };
    let written = standalone.begin(record, seal).unwrap();
    assert_eq!(written.owner, owner, "{name}");
    golden(name, &written.change);
    let mut read = Standalone::new();
    read.apply(&written.change).unwrap();
    for kind in RecordKind::ALL {
        assert!(
            kind != R::KIND || read.is_valid(kind),
            "{name} does not begin a document of its kind"
        );
    }
    read.payloads = standalone.payloads;
    read.author = Some(NODE);
    assert_eq!(&read.read::<R>(&open).unwrap(), record, "{name}");
}

/// A document of an older version, as it reads today. Its text stands in plain words.
fn old<R: Record>(name: &str) -> R {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("formats")
        .join(name);
    let mut standalone = Standalone::new();
    standalone.apply(&std::fs::read(path).unwrap()).unwrap();
    assert!(standalone.is_valid(R::KIND), "{name}");
    standalone.read(&|_, _| None).unwrap()
}

fn account() -> Account {
    let device = Device {
        id: id(2),
        label: "Firefox".into(),
        seen: AT.plus(3),
        generation: 4,
        signed_out: false,
    };
    Account {
        email: Some("rita@example.org".into()),
        roles: [Role::User, Role::Moderator].into_iter().collect(),
        blocked: true,
        locale: "ru".into(),
        avatar: Some(ContentId([7; 32])),
        consents: vec![Consent {
            id: id(1),
            kind: ConsentKind::PersonalData,
            given: true,
            text: ContentId([5; 32]),
            edition: 2,
            address: "192.0.2.1".into(),
        }],
        devices: vec![device],
        signed_out: AT,
        preferences: BTreeMap::from([("theme".to_owned(), "dark".to_owned())]),
        favourites: vec![Favourite {
            message: id(3),
            session: ContentId([3; 32]),
            character: ContentId([4; 32]),
            added: AT.plus(5),
            note: Some("remember".into()),
        }],
        ..Account::new("Рита", Role::User, AT, [3; 16])
    }
}

fn session() -> Session {
    let chat = ContentId([2; 32]);
    let gateway = Speaker::Person { gateway: Some(NODE) };
    let question = Message {
        speaker: gateway.clone(),
        ..Message::from_person("Привет!", "outbox-1", &chat, None, AT)
    };
    let by = |ending| Speaker::Character {
        node: Some(NodeId([8; 32])),
        model: "built-in".into(),
        ending,
    };
    let text = Version::new(id(9_000), "Привет! Я Лис.");
    let mut answer = Message {
        speaker: by(Ending::Stopped),
        ..Message::answer(question.id, "Привет!", AT.plus(2500), "built-in", Ending::Stopped)
    };
    let original = Version {
        id: answer.id,
        text: answer.text.clone(),
        truncated: false,
    };
    answer.text = text.text.clone();
    answer.versions = vec![original, text];
    let another = Message {
        id: another_answer_id(question.id, "again", AT.plus(5000)),
        speaker: by(Ending::Complete),
        ..Message::answer(question.id, "Да?", AT.plus(6000), "built-in", Ending::Complete)
    };
    let edited = Message {
        place: Place::Replaces(question.id),
        speaker: gateway.clone(),
        ..Message::from_person("Привет, Лис!", "outbox-2", &chat, None, AT.plus(7000))
    };
    let branch = Message {
        place: Place::Branches,
        speaker: gateway.clone(),
        truncated: true,
        ..Message::from_person("Ещё", "outbox-3", &chat, Some(another.id), AT.plus(8000))
    };
    let anew = Message {
        speaker: gateway,
        ..Message::from_person("Снова", "outbox-4", &chat, Some(id(10_000)), AT.plus(11_000))
    };
    let summary = Summary {
        first: question.id,
        last: answer.id,
        covers: Coverage::of([question.id, answer.id]),
        origin: SummaryOrigin::Model,
        text: "Познакомились.".into(),
    };
    Session {
        title: Some("Лис".into()),
        threads: vec![id(10_000)],
        current: Some(another.id),
        read: Some(edited.id),
        deleted: BTreeSet::from([branch.id]),
        pinned: BTreeSet::from([question.id]),
        excluded: BTreeSet::from([answer.id]),
        summaries: vec![summary],
        archived: true,
        messages: vec![question, answer, another, edited, branch, anew],
        ..Session::new(PERSON, ContentId([6; 32]), AT)
    }
}

#[test]
fn records_of_people() {
    check("account-document-2.bin", &account(), Owner::Itself);
    let credential = Credential {
        totp: Some("JBSWY3DPEHPK3PXP".into()),
        totp_step: 7,
        generation: 2,
        recoveries: vec![Recovery {
            id: id(1),
            hash: "a hash".into(),
            expires: Some(AT),
            used: true,
        }],
        ..Credential::new(PERSON, "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".into())
    };
    check("credential-document-2.bin", &credential, Owner::Account(PERSON));
    check("session-document-2.bin", &session(), Owner::Account(PERSON));
    let claim = Claim {
        kind: ClaimKind::Email,
        key: [5; 32],
        subject: PERSON,
        earlier: BTreeSet::from([ContentId([4; 32])]),
        created: AT,
        verified: true,
        released: true,
    };
    check("claim-document-1.bin", &claim, Owner::Account(PERSON));
    let outbox = Outbox {
        account: Some(PERSON),
        channel: Channel::Mail,
        key: [5; 16],
        recipient: "rita@example.org".into(),
        subject: "Code".into(),
        body: "123456".into(),
        created: AT,
        not_before: AT.plus(1),
        expires: AT.plus(2),
        lease: Some(Lease {
            holder: Some(NODE),
            taken: AT,
            until: AT.plus(60_000),
            attempt: 1,
        }),
        attempts: vec![Attempt {
            id: id(1),
            node: Some(NODE),
            error: "busy".into(),
        }],
        done: Some(AT.plus(9)),
        abandoned: true,
    };
    check("outbox-document-1.bin", &outbox, Owner::Account(PERSON));
    let complaint = Complaint {
        account: PERSON,
        character: ContentId([6; 32]),
        author: Some(ContentId([7; 32])),
        answer: Some((ContentId([2; 32]), id(1))),
        reason: ComplaintReason::Harmful,
        words: "It told me to jump.".into(),
        name: "Лис".into(),
        excerpt: "Прыгай!".into(),
        created: AT,
        taken: Some(Taken {
            by: ContentId([8; 32]),
            at: AT.plus(1),
        }),
        decisions: vec![Decided {
            id: id(2),
            decision: Decision::CharacterHidden,
            by: ContentId([8; 32]),
        }],
    };
    check("complaint-document-1.bin", &complaint, Owner::Account(PERSON));
}

#[test]
fn records_of_nobody() {
    let certificate = Certificate::found(&key(1), key(2).id(), "first", [3; 16], Timestamp(4)).unwrap();
    check("member-document-1.bin", &Member { certificate }, Owner::Nobody);
    let definition = Definition {
        alternatives: vec!["Hi!".into()],
        examples: vec!["A: who? B: a fox.".into()],
        filters: vec!["politics".into()],
        avatar: Some(ContentId([7; 32])),
        card: Some(ContentId([8; 32])),
        ..Definition::new("Лис", "Хитрый лис", "Привет!", "Ты Лис.")
    };
    let character = Character {
        retired: true,
        ..Character::published(definition, Some(PERSON), AT)
    };
    check("character-document-2.bin", &character, Owner::Nobody);
    let stop = Stop {
        kind: StopKind::Partial,
        scope: Scope::Role("gateway".into()),
        reason: "new disks".into(),
        contacts: "admin@example.org".into(),
        proposed_by: Some(PERSON),
        created: AT,
        begins: AT.plus(1),
        ends: AT.plus(2),
        confirmed: BTreeMap::from([(PERSON, AT)]),
        cancelled: Some(AT.plus(3)),
        ended: Some(AT.plus(4)),
    };
    check("service-document-1.bin", &stop, Owner::Nobody);
    let alert = Alert {
        value: Some(0.97),
        limit: Some(0.9),
        seen: AT.plus(1),
        acknowledged: BTreeMap::from([(PERSON, AT.plus(2))]),
        resolved: Some(AT.plus(3)),
        notified: BTreeMap::from([("mail".to_owned(), AT.plus(4))]),
        ..Alert::new("cpu.high", Some(NODE), Severity::High, "97 %", AT)
    };
    check("alert-document-1.bin", &alert, Owner::Nobody);
    let report = Report {
        kind: ReportKind::Weekly,
        format: ReportFormat::Pdf,
        title: "Week 47".into(),
        from: AT,
        to: AT.plus(1),
        created: AT.plus(2),
        blob: ContentId([7; 32]),
        bytes: 12_345,
        resolved: true,
    };
    check("report-document-1.bin", &report, Owner::Nobody);
    let values = [
        ("mail.tls", Setting::Flag(true)),
        ("mail.port", Setting::Number(587)),
        ("limit.load", Setting::Decimal(0.9)),
        ("mail.host", Setting::Text("mail.example.org".into())),
    ];
    let settings = Settings {
        values: values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    };
    check("settings-document-1.bin", &settings, Owner::Nobody);
    let continuation = Continuation {
        document: ContentId([7; 32]),
        hash: [8; 32],
    };
    let audit = Audit {
        node: Some(NODE),
        ..Audit::new(AT, Some(continuation))
    };
    check("audit-document-1.bin", &audit, Owner::Nobody);
}

#[test]
fn a_model_in_the_catalogue() {
    let model = Model {
        name: "Qwen3-8B-Q4_K_M".into(),
        blob: ContentId([6; 32]),
        bytes: 5_027_783_488,
        shape: ModelShape {
            architecture: "qwen3".into(),
            parameters: 8_190_735_360,
            weight_bytes: 5_020_000_000,
            layers: 36,
            width: 4096,
            inner_width: 12_288,
            heads: 32,
            key_heads: 8,
            key_length: 128,
            value_length: 128,
            context_tokens: 40_960,
            vocabulary: 151_936,
        },
        quantisation: "Q4_K_M".into(),
        template: ModelTemplate::Text("{% for message in messages %}...{% endfor %}".into()),
        licence: Licence {
            name: "apache-2.0".into(),
            text: "Apache License, Version 2.0".into(),
        },
        added: AT,
        removed: false,
    };
    check("model-document-1.bin", &model, Owner::Nobody);
    let templates = [ModelTemplate::None, ModelTemplate::Long(ContentId([5; 32]))];
    for (number, template) in templates.into_iter().enumerate() {
        let model = Model {
            template,
            removed: true,
            ..model.clone()
        };
        check(
            &format!("model-document-1-template-{number}.bin"),
            &model,
            Owner::Nobody,
        );
    }
}

/// Changes that come after the first: an edit of each record that has composed values of its own.
#[test]
fn edits() {
    let mut standalone = Standalone::new();
    standalone.begin(&Audit::new(AT, None), None).unwrap();
    let event = AuditEvent {
        at: AT,
        by: Some(PERSON),
        action: "account.block".into(),
        subject: "an account".into(),
        address: "192.0.2.1".into(),
        device: "Firefox".into(),
        detail: "spam".into(),
    };
    let entry = standalone.edit(&AuditEdit::Append(event.clone()), None).unwrap();
    golden("audit-entry-1.bin", &entry.change);
    let read: Audit = standalone.read(&open).unwrap();
    assert_eq!(read.entries[0].event, event);
    read.verify().unwrap();

    let mut standalone = Standalone::new();
    let first = standalone.begin(&session(), Some(&seal)).unwrap();
    assert!(
        standalone
            .edit(&SessionEdit::SetArchived(true), None)
            .unwrap()
            .change
            .is_empty(),
        "it is so already"
    );
    let message = Message::from_person(
        "Как дела?",
        "outbox-9",
        &ContentId([2; 32]),
        Some(id(5)),
        AT.plus(20_000),
    );
    let put = standalone.edit(&SessionEdit::PutMessage(message), Some(&seal)).unwrap();
    golden("session-message-2.bin", &put.change);
    assert_eq!((put.payloads.len(), first.payloads.len()), (1, 9));

    let derived = SessionEdit::SetTitleFrom {
        title: "Как дела?".into(),
        message: id(5),
    };
    let title = standalone.edit(&derived, Some(&seal)).unwrap();
    golden("session-title-2.bin", &title.change);
    let read: Session = standalone.read(&open).unwrap();
    assert_eq!(read.title, Some("Как дела?".into()));

    let mut standalone = Standalone::new();
    standalone.begin(&account(), Some(&seal)).unwrap();
    let rename = standalone
        .edit(&AccountEdit::SetName("Рита К.".into()), Some(&seal))
        .unwrap();
    golden("account-name-2.bin", &rename.change);
    let added = AccountApiKey {
        id: id(6),
        label: "a script".into(),
        hash: [7; 32],
        scopes: ApiScope::ALL.into_iter().collect(),
        expires: Some(AT),
    };
    let edit = AccountEdit::AddApiKey(added.clone());
    let change = standalone.edit(&edit, Some(&seal)).unwrap();
    golden("account-key-1.bin", &change.change);
    assert_eq!(standalone.read::<Account>(&open).unwrap().api_keys, [added]);
    let mut standalone = Standalone::new();
    let credential = Credential::new(PERSON, "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".into());
    standalone.begin(&credential, Some(&seal)).unwrap();
    let secret = CredentialEdit::SetTotp(Some("JBSWY3DPEHPK3PXP".into()));
    golden(
        "credential-totp-2.bin",
        &standalone.edit(&secret, Some(&seal)).unwrap().change,
    );
}

/// The bytes were written by the program as it was before version 2 of these records.
#[test]
fn documents_of_version_1() {
    let account: Account = old("account-document-1.bin");
    assert_eq!(
        account,
        Account::new("Рита", Role::Administrator, Timestamp(5), [3; 16])
    );
    assert_eq!(account.roles, Roles::of(Role::Administrator));
    let credential: Credential = old("credential-document-1.bin");
    let hash = "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";
    assert_eq!((credential.account, credential.password_hash.text()), (PERSON, hash));
    let character: Character = old("character-document-1.bin");
    let fox = character.definition().unwrap();
    assert_eq!((fox.name.as_str(), fox.prompt.as_str()), ("Лис", "Ты Лис."));
    assert_eq!((fox.temperature, fox.answer_characters_max), (0.7, 600));
    let session: Session = old("session-document-1.bin");
    let (gateway, node) = (NodeId([1; 32]), NodeId([9; 32]));
    let texts: Vec<&str> = session.messages.iter().map(|message| message.text.text()).collect();
    assert_eq!(texts, ["Привет! Как тебя зовут?", "Меня зовут Лис.", "long"]);
    let [question, answer, cut] = session.messages.as_slice() else {
        panic!("three messages")
    };
    assert_eq!(question.speaker, Speaker::Person { gateway: Some(gateway) });
    assert_eq!(
        (question.parent, answer.parent, cut.parent),
        (None, Some(question.id), Some(answer.id))
    );
    let speaker = Speaker::Character {
        node: Some(node),
        model: "built-in".into(),
        ending: Ending::Stopped,
    };
    assert_eq!(
        (&answer.speaker, answer.at, cut.truncated),
        (&speaker, Timestamp(1_700_000_002_500), true)
    );
    assert_eq!(
        session.unanswered().map(|message| message.id).collect::<Vec<_>>(),
        [cut.id]
    );
}

/// Written before summaries said what they cover: such a one goes with any message of its chat.
#[test]
fn a_session_whose_summary_is_of_version_1() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/session-document-2-summary-1.bin");
    let mut old = Standalone::new();
    old.apply(&std::fs::read(path).unwrap()).unwrap();
    let mut today = Standalone::new();
    today.begin(&session(), Some(&seal)).unwrap();
    old.payloads = today.payloads;
    old.author = Some(NODE);
    let read: Session = old.read(&open).unwrap();
    assert_eq!(read.summaries[0].covers, Coverage::Everything);
    let mut expected = session();
    expected.summaries[0].covers = Coverage::Everything;
    assert_eq!(read, expected);
}

/// A document of version 1 can be written on with edits of today.
#[test]
fn a_session_of_version_1_goes_on() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/session-document-1.bin");
    let mut standalone = Standalone::new();
    standalone.apply(&std::fs::read(path).unwrap()).unwrap();
    let before: Session = standalone.read(&open).unwrap();
    let last = before.messages.last().unwrap().id;
    let answer = Message::answer(
        last,
        "Короче!",
        Timestamp(1_700_000_010_000),
        "built-in",
        Ending::Complete,
    );
    standalone.edit(&SessionEdit::PutMessage(answer), Some(&seal)).unwrap();
    let after: Session = standalone.read(&open).unwrap();
    assert_eq!(after.messages.len(), 4);
    assert_eq!(after.messages[3].text, Sealed::from("Короче!"));
    assert_eq!(after.messages[3].parent, Some(last));
    assert!(after.unanswered().next().is_none());
}
