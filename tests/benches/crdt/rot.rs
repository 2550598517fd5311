//! Row 8: copies of a node's disk, each damaged in one place, and what a reader then sees.
//!
//! Nothing wrong may be shown, and what is missing must have been told: a damaged record at start, in the scrub, or another root,
//! which makes the next reconciliation bring it back. That it does is looked at, too. Two controls show that this can fail: an
//! undamaged copy is clean, and the same observations without what the store told are found wanting.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crdt::{
    Store,
    records::{account::Account, session::Session},
};
use keys::ContentId;
use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    Bench,
    figure::{Figure, Report},
    fixture::{Home, agree, files, person_with_chats, rng, say_many, talk},
};

/// What a disk transfers at once.
pub const PAGE: usize = 4096;
/// Short chats.
const CHATS: usize = 30;
/// Messages of each.
const MESSAGES: usize = 12;
/// Messages of a long chat, which is kept as a snapshot.
const LONG: usize = 150;
/// Undamaged copies.
const CONTROLS: usize = 3;

/// Where it is damaged, and how.
const KINDS: [(&str, Damage); 4] = [
    ("journal", Damage::Bit),
    ("journal", Damage::Page),
    ("index", Damage::Bit),
    ("index", Damage::Page),
];

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit is another one.
    Bit,
    /// A page holds zeros.
    Page,
}

/// What was written, and what a reader must see.
struct Truth {
    person: ContentId,
    account: Account,
    chats: BTreeMap<ContentId, Session>,
    root: ContentId,
}

/// What a reader saw on a copy.
#[derive(Default)]
struct Seen {
    account: Option<Account>,
    chats: BTreeMap<ContentId, Session>,
    listed: BTreeSet<ContentId>,
    /// Damage that was found at start or in the scrub.
    told: bool,
    root: Option<ContentId>,
}

/// What that amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// Something was shown that nobody wrote.
    wrong: bool,
    /// Something was not shown.
    missing: bool,
    /// The store said so, or shows by its root that it lacks something.
    told: bool,
}

impl Verdict {
    const fn is_silent(self) -> bool {
        self.wrong || (self.missing && !self.told)
    }
}

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let directory = bench.scratch.fresh();
    let (home, other) = (
        Home(directory.path().join("node")),
        Home(directory.path().join("other")),
    );
    let truth = bench.block_on(write(&home));
    home.copy(&other.0);
    quiet_about_damage();
    undamaged_copies_are_clean(bench, &home, &truth);
    let (mut silent, mut unhealed, mut untold, mut total) = (0, 0, 0, 0);
    let mut by_kind = serde_json::Map::new();
    for (kind, (part, damage)) in KINDS.into_iter().enumerate() {
        let (mut rng, mut harmed) = (rng(80 + kind as u64), 0);
        for _ in 0..bench.scale.copies {
            let scratch = bench.scratch.fresh();
            let copy = home.copy(&scratch.path().join("copy"));
            spoil(&copy.0.join("store").join(part), damage, &mut rng);
            total += 1;
            let Some(seen) = bench.block_on(look(&copy, &truth)) else {
                eprintln!("   {part}, {damage:?}: the store does not open");
                silent += 1;
                continue;
            };
            let verdict = judge(&truth, &seen);
            silent += usize::from(verdict.is_silent());
            harmed += usize::from(verdict.missing);
            untold += usize::from(Verdict { told: false, ..verdict }.is_silent());
            let healer = other.copy(&scratch.path().join("healer"));
            let healed = bench.block_on(heal(&copy, &healer, &truth));
            unhealed += usize::from(!healed);
        }
        let what = match damage {
            Damage::Bit => "a bit flipped",
            Damage::Page => "a page zeroed",
        };
        by_kind.insert(format!("{part}, {what}"), harmed.into());
    }
    let name = format!("silent corruption: of {total} damaged copies, in so many a reader was misled");
    let figure = || {
        Figure::lower(name.clone(), silent as f64, "copies")
            .promise(0.0)
            .with("missing_and_told", by_kind.clone())
    };
    #[cfg(feature = "rivals")]
    for (rival, misled) in crate::rivals::stores::misled(bench, bench.scale.copies) {
        report.say(figure().rival(format!("{rival}, of {} copies", 2 * bench.scale.copies), misled as f64));
    }
    if !cfg!(feature = "rivals") {
        report.say(figure());
    }
    let name = "damaged copies that another node did not make whole";
    report.say(
        Figure::lower(name, unhealed as f64, "copies")
            .promise(0.0)
            .with("copies", total),
    );
    let name = "control: the same copies, judged without what the store told";
    report.say(Figure::higher(name, untold as f64, "copies").promise(1.0));
}

/// The control: what is not damaged shows everything, and nothing is told of it.
fn undamaged_copies_are_clean(bench: &Bench, home: &Home, truth: &Truth) {
    for _ in 0..CONTROLS {
        let scratch = bench.scratch.fresh();
        let copy = home.copy(scratch.path());
        let seen = bench.block_on(look(&copy, truth)).expect("an undamaged store opens");
        assert_eq!(judge(truth, &seen), Verdict::default(), "an undamaged copy is clean");
    }
}

async fn write(home: &Home) -> Truth {
    let (store, _outputs, _) = home.open(1);
    let (person, chats) = person_with_chats(&store, CHATS).await;
    for (number, chat) in chats.iter().enumerate() {
        let messages = if number == 0 { LONG } else { MESSAGES };
        say_many(&store, *chat, 0, messages).await;
    }
    let mut sessions = BTreeMap::new();
    for chat in chats {
        sessions.insert(chat, store.read(chat).await.expect("what was written is read"));
    }
    let account = store.read(person).await.expect("what was written is read");
    let root = store.summary().await.expect("a summary").root;
    store.stop().await;
    Truth {
        person,
        account,
        chats: sessions,
        root,
    }
}

/// Reads everything, then lets the store look for damage; `None` when it does not even open.
async fn look(home: &Home, truth: &Truth) -> Option<Seen> {
    let (store, _outputs, opened) = Store::open(home.settings(1)).ok()?;
    let mut seen = read_all(&store, truth).await;
    seen.told = opened.rotten_records > 0 || opened.torn_bytes > 0;
    loop {
        let scrubbed = store.scrub(u64::MAX).await.expect("the disk can be read");
        seen.told |= scrubbed.damaged > 0;
        if scrubbed.finished {
            break;
        }
    }
    seen.root = Some(store.summary().await.expect("a summary").root);
    store.stop().await;
    Some(seen)
}

async fn read_all(store: &Store, truth: &Truth) -> Seen {
    let mut seen = Seen {
        account: store.read(truth.person).await.ok(),
        ..Seen::default()
    };
    for chat in truth.chats.keys() {
        if let Ok(session) = store.read(*chat).await {
            seen.chats.insert(*chat, session);
        }
    }
    let listed = store.documents_owned_by(truth.person).await;
    seen.listed = listed.expect("the store runs").into_iter().collect();
    seen
}

fn judge(truth: &Truth, seen: &Seen) -> Verdict {
    let mut verdict = Verdict {
        told: seen.told || seen.root != Some(truth.root),
        missing: seen.account.is_none() || truth.chats.keys().any(|chat| !seen.listed.contains(chat)),
        wrong: seen.account.as_ref().is_some_and(|account| *account != truth.account)
            || seen.listed.iter().any(|chat| !truth.chats.contains_key(chat)),
    };
    for (chat, written) in &truth.chats {
        let Some(shown) = seen.chats.get(chat) else {
            verdict.missing = true;
            continue;
        };
        verdict.missing |= written.messages.iter().any(|message| !shown.messages.contains(message));
        // A prefix of the chat is not wrong; anything that was never there is.
        let rest = Session {
            messages: written.messages.clone(),
            ..shown.clone()
        };
        verdict.wrong |= rest != *written || shown.messages.iter().any(|message| !written.messages.contains(message));
    }
    verdict
}

/// Whether the other node makes the damaged one whole, also for the next start.
async fn heal(home: &Home, other: &Home, truth: &Truth) -> bool {
    let ((damaged, _outputs, _), (whole, _other_outputs, _)) = (home.open(1), other.open(2));
    // What is damaged must be known before it can be asked for.
    let mut finished = false;
    while !finished {
        finished = damaged.scrub(u64::MAX).await.expect("the disk can be read").finished;
    }
    let mut healed = agree(&damaged, &whole).await;
    for _ in 0..5 {
        if !healed {
            talk(&damaged, &whole, Duration::ZERO).await;
            healed = agree(&damaged, &whole).await;
        }
    }
    let is_whole = |seen: &Seen| {
        let verdict = judge(truth, seen);
        !verdict.wrong && !verdict.missing
    };
    healed &= is_whole(&read_all(&damaged, truth).await);
    damaged.stop().await;
    let (damaged, _outputs, _) = home.open(1);
    healed &= is_whole(&read_all(&damaged, truth).await) && agree(&damaged, &whole).await;
    damaged.stop().await;
    whole.stop().await;
    healed
}

/// Damages one page of the files below a directory that is not empty.
pub fn spoil(directory: &Path, damage: Damage, rng: &mut ChaCha8Rng) {
    let mut pages: Vec<(PathBuf, usize)> = Vec::new();
    for file in files(directory) {
        let bytes = fs::read(&file).expect("a file to damage");
        let filled = bytes
            .chunks(PAGE)
            .enumerate()
            .filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        pages.extend(filled.map(|(page, _)| (file.clone(), page * PAGE)));
    }
    let (file, from) = pages.choose(rng).expect("something to damage");
    let mut bytes = fs::read(file).expect("a file to damage");
    let end = bytes.len().min(from + PAGE);
    match damage {
        Damage::Bit => bytes[rng.random_range(*from..end)] ^= 1 << rng.random_range(0..8),
        Damage::Page => bytes[*from..end].fill(0),
    }
    fs::write(file, bytes).expect("a file to damage");
}

/// sled panics on damaged pages, also in threads of its own; the store knows, and nobody needs to read it a hundred times.
fn quiet_about_damage() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic
            .location()
            .is_none_or(|location| !location.file().contains("sled"))
        {
            loud(panic);
        }
    }));
}
