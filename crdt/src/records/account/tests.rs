//! Tests of [`super`]: the laws of each field, and three replicas that come to agree.

use automerge::{ROOT, transaction::Transactable};
use proptest::prelude::*;

use super::*;
use crate::records::{
    EntryId,
    testing::{Replicas, Step, config, steps},
};

fn id(number: u64) -> EntryId {
    EntryId::new(Timestamp(1000 + number), u128::from(number))
}

fn device(number: u64, seen: u64) -> Device {
    Device {
        id: id(number),
        label: "Firefox".into(),
        seen: Timestamp(seen),
        generation: 0,
        signed_out: false,
    }
}

fn favourite(number: u64, added: u64) -> Favourite {
    Favourite {
        message: id(number),
        session: ContentId([1; 32]),
        character: ContentId([2; 32]),
        added: Timestamp(added),
        note: Some("note".into()),
    }
}

fn consent(number: u64, given: bool) -> Consent {
    Consent {
        id: id(number),
        kind: ConsentKind::Terms,
        given,
        text: ContentId([5; 32]),
        edition: 1,
        address: "192.0.2.1".into(),
    }
}

fn api_key(number: u64) -> AccountApiKey {
    AccountApiKey {
        id: id(number),
        label: "a script".into(),
        hash: [7; 32],
        scopes: [ApiScope::Chat, ApiScope::Models].into_iter().collect(),
        expires: Some(Timestamp(5000)),
    }
}

fn account() -> Account {
    Account::new("Рита", Role::User, Timestamp(1), [3; 16])
}

fn any_edit() -> impl Strategy<Value = AccountEdit> {
    let time = (0u64..40).prop_map(Timestamp);
    prop_oneof![
        "[a-z]{2,8}".prop_map(AccountEdit::SetName),
        proptest::option::of(Just("a@example.org".to_owned())).prop_map(AccountEdit::SetEmail),
        (0usize..4, any::<bool>()).prop_map(|(role, granted)| AccountEdit::SetRole {
            role: Role::ALL[role],
            granted
        }),
        any::<bool>().prop_map(AccountEdit::SetBlocked),
        (0u64..8, any::<bool>()).prop_map(|(number, given)| AccountEdit::AddConsent(consent(number, given))),
        (0u64..9, 0u64..40).prop_map(|(number, seen)| AccountEdit::AddDevice(device(number, seen))),
        (0u64..9, time, 0u64..5).prop_map(|(number, seen, generation)| AccountEdit::TouchDevice {
            device: id(number),
            seen,
            generation,
        }),
        (0u64..9).prop_map(|number| AccountEdit::SignOut(id(number))),
        (990u64..1010).prop_map(|at| AccountEdit::SignOutEverywhere(Timestamp(at))),
        ("[a-c]", proptest::option::of("[a-z]{0,4}"))
            .prop_map(|(name, value)| AccountEdit::SetPreference { name, value }),
        (0u64..9, 0u64..40).prop_map(|(number, added)| AccountEdit::PutFavourite(favourite(number, added))),
        (0u64..9).prop_map(|number| AccountEdit::RemoveFavourite(id(number))),
        (0u64..30).prop_map(|number| AccountEdit::AddApiKey(api_key(number))),
        (0u64..30).prop_map(|number| AccountEdit::RemoveApiKey(id(number))),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&account());
        replicas.take(&steps);
        let read: Account = replicas.agreed();
        prop_assert!(read.live_devices().len() <= DEVICES_LIVE_MAX && read.favourites.len() <= FAVOURITES_MAX);
        read.validate().unwrap();
    }

    /// The number of live devices is bounded at every replica at every moment, and nobody who has left comes back.
    #[test]
    fn a_device_that_left_does_not_come_back(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&account());
        let mut left = std::collections::BTreeSet::new();
        for step in steps {
            // Nobody signs in twice under one id, and no time runs backwards.
            if matches!(&step, Step::Edit(_, AccountEdit::AddDevice(device)) if left.contains(&device.id)) {
                continue;
            }
            replicas.take(&[step]);
            replicas.merge_all();
            let read: Account = replicas.read(0);
            let live: Vec<EntryId> = read.live_devices().iter().map(|device| device.id).collect();
            prop_assert!(live.len() <= DEVICES_LIVE_MAX);
            prop_assert!(live.iter().all(|device| !left.contains(device)));
            left.extend(read.devices.iter().map(|device| device.id).filter(|device| !live.contains(device)));
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let mut full = account();
    full.email = Some("rita@example.org".into());
    full.roles = [Role::User, Role::Manager].into_iter().collect();
    full.blocked = true;
    full.locale = "ru".into();
    full.avatar = Some(ContentId([9; 32]));
    full.consents = vec![consent(1, true), consent(2, false)];
    full.devices = vec![device(1, 5), device(2, 6)];
    full.signed_out = Timestamp(7);
    full.preferences = BTreeMap::from([("theme".to_owned(), "dark".to_owned())]);
    full.favourites = vec![favourite(4, 1), favourite(3, 2)];
    full.api_keys = vec![api_key(6), api_key(7)];
    let mut replicas = Replicas::of(&full);
    assert_eq!(replicas.agreed::<Account>(), full);
    assert_eq!(
        full.consent(ConsentKind::Terms).map(|consent| consent.given),
        Some(false)
    );
    assert_eq!(full.consent(ConsentKind::PersonalData), None);
}

#[test]
fn text_is_read_only_with_its_key_and_only_until_it_is_erased() {
    let mut full = account();
    full.email = Some("rita@example.org".into());
    full.devices = vec![device(1, 5)];
    let mut replicas = Replicas::of(&full);
    for change in &replicas.changes {
        assert!(
            !change.windows(4).any(|bytes| bytes == b"rita" || bytes == b"Fire"),
            "plain text in a change"
        );
    }
    let locked: Account = replicas.read_with(&replicas.documents[0], &|_, _| None).unwrap();
    assert_eq!(
        (locked.name, locked.devices[0].label.clone()),
        (Sealed::Locked, Sealed::Locked)
    );
    replicas.erase();
    let erased: Account = replicas.read(0);
    assert_eq!((erased.name, erased.email), (Sealed::Erased, Some(Sealed::Erased)));
    assert_eq!(erased.roles, full.roles, "what is not text stays");
}

#[test]
fn withdrawn_wins_over_granted_and_blocked_over_let_in() {
    let mut replicas = Replicas::of(&account());
    let role = |granted| AccountEdit::SetRole {
        role: Role::Administrator,
        granted,
    };
    replicas.edit(0, &role(true)).unwrap();
    replicas.edit(0, &AccountEdit::SetBlocked(true)).unwrap();
    replicas.merge_all();
    assert!(replicas.read::<Account>(2).roles.contains(Role::Administrator));
    replicas.edit(0, &role(false)).unwrap();
    replicas.edit(0, &AccountEdit::SetBlocked(false)).unwrap();
    // Concurrently, and later by every count of operations.
    for _ in 0..5 {
        replicas.edit(1, &role(false)).unwrap();
        replicas.edit(1, &role(true)).unwrap();
        replicas.edit(1, &AccountEdit::SetBlocked(false)).unwrap();
        replicas.edit(1, &AccountEdit::SetBlocked(true)).unwrap();
    }
    let read: Account = replicas.agreed();
    assert!(!read.roles.contains(Role::Administrator) && read.blocked);
    // Causally last wins over both.
    replicas.merge_all();
    replicas.edit(2, &role(true)).unwrap();
    replicas.edit(2, &AccountEdit::SetBlocked(false)).unwrap();
    let read: Account = replicas.agreed();
    assert!(read.roles.contains(Role::Administrator) && !read.blocked);
    assert_eq!(read.roles.highest(), Some(Role::Administrator));
}

#[test]
fn the_device_longest_unused_leaves_and_stays_away() {
    let mut replicas = Replicas::of(&account());
    for number in 0..5 {
        replicas
            .edit(0, &AccountEdit::AddDevice(device(number, 10 + number)))
            .unwrap();
    }
    let touch = AccountEdit::TouchDevice {
        device: id(0),
        seen: Timestamp(99),
        generation: 1,
    };
    replicas.edit(0, &touch).unwrap();
    replicas.merge_all();
    // In both halves of a split one more signs in.
    replicas.edit(1, &AccountEdit::AddDevice(device(5, 100))).unwrap();
    replicas.edit(2, &AccountEdit::AddDevice(device(6, 101))).unwrap();
    let read: Account = replicas.agreed();
    let live: Vec<EntryId> = read.live_devices().iter().map(|device| device.id).collect();
    assert_eq!(live, [id(3), id(4), id(0), id(5), id(6)], "the longest unused first");
    replicas.merge_all();
    // When others sign out, those that left do not come back: whoever wrote next noted that they have left.
    replicas.edit(0, &AccountEdit::AddDevice(device(7, 102))).unwrap();
    for number in [4, 5, 6] {
        replicas.edit(0, &AccountEdit::SignOut(id(number))).unwrap();
    }
    let read: Account = replicas.agreed();
    let live: Vec<EntryId> = read.live_devices().iter().map(|device| device.id).collect();
    assert_eq!(live, [id(0), id(7)]);
    replicas
        .edit(0, &AccountEdit::SignOutEverywhere(Timestamp(5000)))
        .unwrap();
    replicas
        .edit(0, &AccountEdit::SignOutEverywhere(Timestamp(4000)))
        .unwrap();
    let read: Account = replicas.agreed();
    assert!(read.live_devices().is_empty() && read.signed_out == Timestamp(5000));
    assert_eq!(
        replicas.edit(0, &AccountEdit::SignOut(id(77))),
        Err(RecordError::Absent("device"))
    );
}

#[test]
fn concurrent_notes_about_a_device_are_joined() {
    let mut replicas = Replicas::of(&account());
    replicas.edit(0, &AccountEdit::AddDevice(device(0, 10))).unwrap();
    replicas.merge_all();
    let touch = |seen, generation| AccountEdit::TouchDevice {
        device: id(0),
        seen: Timestamp(seen),
        generation,
    };
    replicas.edit(0, &touch(50, 1)).unwrap();
    replicas.edit(1, &touch(40, 7)).unwrap();
    replicas.edit(1, &touch(30, 2)).unwrap();
    replicas.edit(2, &AccountEdit::SignOut(id(0))).unwrap();
    let read: Account = replicas.agreed();
    let device = &read.devices[0];
    assert_eq!(
        (device.seen, device.generation, device.signed_out),
        (Timestamp(50), 7, true)
    );
}

#[test]
fn the_fifty_first_favourite_is_refused_and_of_too_many_the_first_stay() {
    let mut replicas = Replicas::of(&account());
    for number in 0..40 {
        replicas
            .edit(0, &AccountEdit::PutFavourite(favourite(number, number)))
            .unwrap();
    }
    replicas.merge_all();
    for number in 0..10 {
        replicas
            .edit(1, &AccountEdit::PutFavourite(favourite(100 + number, 100 + number)))
            .unwrap();
        replicas
            .edit(2, &AccountEdit::PutFavourite(favourite(200 + number, 200 + number)))
            .unwrap();
    }
    let full = AccountEdit::PutFavourite(favourite(300, 300));
    assert_eq!(replicas.edit(1, &full), Err(RecordError::Full("favourites")));
    // The note of one that is there can still be changed; when it was added stays.
    let mut changed = favourite(5, 999);
    changed.note = Some("changed".into());
    replicas.edit(1, &AccountEdit::PutFavourite(changed)).unwrap();
    let read: Account = replicas.agreed();
    assert_eq!(read.favourites.len(), FAVOURITES_MAX);
    assert!(
        read.is_favourite(id(109)) && !read.is_favourite(id(200)),
        "those added later go"
    );
    let kept = read
        .favourites
        .iter()
        .find(|favourite| favourite.message == id(5))
        .unwrap();
    assert_eq!(
        (kept.added, kept.note.as_ref().map(Sealed::text)),
        (Timestamp(5), Some("changed"))
    );
    // What was too many does not come back when there is room again.
    replicas.merge_all();
    replicas.edit(0, &AccountEdit::RemoveFavourite(id(0))).unwrap();
    let read: Account = replicas.agreed();
    assert_eq!(read.favourites.len(), FAVOURITES_MAX - 1);
    assert!(!read.is_favourite(id(200)));
}

#[test]
fn what_breaks_a_limit_is_refused_here() {
    let refused = |change: &dyn Fn(&mut Account), field| {
        let mut account = account();
        change(&mut account);
        assert_eq!(account.validate(), Err(RecordError::Limit(field)));
    };
    refused(&|account| account.name = " x ".into(), "name");
    refused(&|account| account.name = "x".repeat(51).as_str().into(), "name");
    refused(&|account| account.name = "a\u{7}b".into(), "name");
    refused(&|account| account.email = Some("nobody".into()), "email");
    refused(&|account| account.email = Some("@b".into()), "email");
    refused(&|account| account.email = Some("a b@c".into()), "email");
    refused(&|account| account.locale = "ru_RU".into(), "locale");
    refused(
        &|account| account.preferences = BTreeMap::from([("Theme".into(), String::new())]),
        "preference",
    );
    let mut replicas = Replicas::of(&account());
    let changes = replicas.changes.len();
    assert!(replicas.edit(0, &AccountEdit::SetName("x".into())).is_err());
    assert_eq!(replicas.changes.len(), changes, "nothing is signed for what is refused");
    replicas.edit(0, &AccountEdit::SetName("Рита".into())).unwrap();
    replicas.edit(0, &AccountEdit::SetEmail(None)).unwrap();
    assert_eq!(replicas.changes.len(), changes, "nor for what is so already");
}

/// A node that keeps to no limit writes into the document; everyone still reads it, and reads the same.
#[test]
fn what_others_write_is_sanitised() {
    let mut replicas = Replicas::of(&account());
    replicas.forge(0, |document| {
        let long = "ы".repeat(1000);
        document.put(ROOT, "name", long.as_str()).unwrap();
        document.put(ROOT, "email", 7).unwrap();
        document.put(ROOT, "blocked", "yes").unwrap();
        document.put(ROOT, "locale", long.as_str()).unwrap();
        document.put(ROOT, "avatar", vec![1, 2, 3]).unwrap();
        document.put(ROOT, "role/administrator", "true").unwrap();
        document.put(ROOT, "role/god", true).unwrap();
        document.put(ROOT, "signed_out", -5i64).unwrap();
        document.put(ROOT, "preference/theme", long.as_str()).unwrap();
        document.put(ROOT, format!("d{}", id(1)), vec![1u8, 255, 255]).unwrap();
        document.put(ROOT, format!("c{}", id(1)), vec![9u8; 40]).unwrap();
        document.put(ROOT, "fNOT-A-ULID", vec![1u8]).unwrap();
        document
            .put_object(ROOT, format!("f{}", id(1)), automerge::ObjType::Map)
            .unwrap();
    });
    let read: Account = replicas.agreed();
    assert_eq!(read.name.text().chars().count(), 50);
    assert_eq!(
        (read.email, read.blocked, read.avatar, read.signed_out),
        (None, false, None, Timestamp(0))
    );
    assert_eq!(read.roles, Roles::of(Role::User));
    assert_eq!(
        read.preferences["theme"].chars().count(),
        PREFERENCE_VALUE_CHARACTERS_MAX
    );
    assert!(read.devices.is_empty() && read.consents.is_empty() && read.favourites.is_empty());
    // What has no default cannot be read around.
    replicas.forge(0, |document| document.put(ROOT, "created", "yesterday").unwrap());
    let read = replicas.try_read::<Account>(&replicas.documents[0]);
    assert_eq!(read, Err(RecordError::Field("created")));
}

#[test]
fn a_key_that_was_taken_back_is_gone_and_too_many_are_those_made_last() {
    let mut replicas = Replicas::of(&account());
    replicas.edit(0, &AccountEdit::AddApiKey(api_key(1))).unwrap();
    replicas.merge_all();
    replicas.edit(1, &AccountEdit::RemoveApiKey(id(1))).unwrap();
    replicas.edit(2, &AccountEdit::SetBlocked(true)).unwrap();
    assert_eq!(replicas.agreed::<Account>().api_keys, []);
    let absent = AccountEdit::RemoveApiKey(id(1));
    replicas.merge_all();
    assert_eq!(replicas.edit(0, &absent), Err(RecordError::Absent("key")));
    // Both halves of a split make as many as one may have.
    for number in 0..API_KEYS_MAX as u64 {
        replicas
            .edit(0, &AccountEdit::AddApiKey(api_key(100 + 2 * number)))
            .unwrap();
        replicas
            .edit(1, &AccountEdit::AddApiKey(api_key(101 + 2 * number)))
            .unwrap();
    }
    let full = AccountEdit::AddApiKey(api_key(999));
    assert_eq!(replicas.edit(0, &full), Err(RecordError::Full("keys")));
    let read: Account = replicas.agreed();
    assert_eq!(read.api_keys.len(), API_KEYS_MAX);
    assert_eq!(read.api_keys[API_KEYS_MAX - 1].id, id(100 + API_KEYS_MAX as u64 - 1));
    assert!(read.api_keys[0].is_live(Timestamp(4999)) && !read.api_keys[0].is_live(Timestamp(5000)));
    assert!(!read.api_keys[0].scopes.contains(ApiScope::Embeddings));
}
