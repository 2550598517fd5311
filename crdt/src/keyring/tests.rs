//! Key files on a real disk: found, refused, damaged, destroyed, given to another node.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn account(number: u8) -> ContentId {
    ContentId::of(&[number])
}

fn key(number: u8) -> DataKey {
    DataKey::from_bytes(&[number; 32])
}

/// Never remembers: every answer comes from the disk.
fn without_memory(directory: &Path) -> Keyring {
    let mut keyring = Keyring::open(directory).unwrap();
    keyring.cache = Mutex::new(Cache::new(0));
    keyring
}

#[test]
fn keys_are_found_by_id_survive_a_restart_and_are_private() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("store/keys");
    let keyring = Keyring::open(&directory).unwrap();
    assert!(keyring.insert(account(1), key(1)).unwrap());
    assert!(keyring.insert(account(1), key(2)).unwrap());
    assert!(!keyring.insert(account(1), key(1)).unwrap(), "it was there");
    assert!(keyring.insert(account(2), key(3)).unwrap());
    for keyring in [keyring, Keyring::open(&directory).unwrap(), without_memory(&directory)] {
        assert_eq!(keyring.get(&account(1), key(1).id()).unwrap(), Some(key(1)));
        assert_eq!(keyring.get(&account(1), key(3).id()).unwrap(), None);
        assert_eq!(keyring.newest(&account(1)).unwrap(), Some(key(2)));
        assert_eq!(keyring.all(&account(1)).unwrap(), [key(1), key(2)]);
        assert_eq!(keyring.newest(&account(9)).unwrap(), None);
        let mut expected = vec![account(1), account(2)];
        expected.sort();
        assert_eq!(keyring.accounts().collect::<Result<Vec<_>, _>>().unwrap(), expected);
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = Keyring::open(&directory).unwrap().path(&account(1));
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_others_may_read_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let keyring = without_memory(base.path().join("keys").as_path());
    keyring.insert(account(1), key(1)).unwrap();
    keyring.insert(account(2), key(2)).unwrap();
    let path = keyring.path(&account(1));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let too_open = |error| matches!(error, KeyringError::File(SecretFileError::TooOpen { mode: 0o640, .. }));
    assert!(too_open(keyring.newest(&account(1)).unwrap_err()));
    assert!(too_open(keyring.insert(account(1), key(3)).unwrap_err()));
    assert_eq!(keyring.newest(&account(2)).unwrap(), Some(key(2)));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(keyring.newest(&account(1)).unwrap(), Some(key(1)));
    fs::set_permissions(&keyring.directory, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = Keyring::open(&keyring.directory).map(|_| ());
    assert!(matches!(refused, Err(KeyringError::TooOpen { mode: 0o755, .. })));
}

#[test]
fn a_damaged_file_is_named_kept_and_alone() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("keys");
    let keyring = without_memory(&directory);
    keyring.insert(account(1), key(1)).unwrap();
    keyring.insert(account(2), key(2)).unwrap();
    let path = keyring.path(&account(1));
    let whole = fs::read(&path).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    damages.extend((0..whole.len() * 8).map(|position| {
        let mut damaged = whole.clone();
        damaged[position / 8] ^= 1 << (position % 8);
        damaged
    }));
    damages.push([whole.clone(), vec![0; 4096]].concat());
    damages.push(fs::read(keyring.path(&account(2))).unwrap());
    for damaged in &damages {
        fs::write(&path, damaged).unwrap();
        for error in [
            keyring.newest(&account(1)).unwrap_err(),
            keyring.insert(account(1), key(3)).unwrap_err(),
        ] {
            assert!(
                matches!(&error, KeyringError::Damaged { path: named, .. } if *named == path),
                "{error}"
            );
        }
        assert_eq!(&fs::read(&path).unwrap(), damaged, "nothing replaced it");
        assert_eq!(keyring.newest(&account(2)).unwrap(), Some(key(2)));
    }
    // The control: undamaged it reads again. And erasing does not ask whether it can be read.
    fs::write(&path, &whole).unwrap();
    assert_eq!(keyring.newest(&account(1)).unwrap(), Some(key(1)));
    fs::write(&path, &damages[40]).unwrap();
    assert_eq!(keyring.destroy(&account(1)).unwrap(), 1);
    assert_eq!(keyring.newest(&account(1)).unwrap(), None);
}

#[test]
fn a_destroyed_key_is_nowhere() {
    let base = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(&base.path().join("keys")).unwrap();
    keyring.insert(account(1), key(1)).unwrap();
    // Other names of the files that hold the key, to see what becomes of their bytes.
    let watched = [base.path().join("first"), base.path().join("second")];
    let holds = |path: &Path, key: &DataKey| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(32).any(|window| window == *key.to_bytes())
    };
    fs::hard_link(keyring.path(&account(1)), &watched[0]).unwrap();
    assert!(holds(&watched[0], &key(1)), "the control");
    keyring.insert(account(1), key(2)).unwrap();
    assert!(!holds(&watched[0], &key(1)), "the file of before is overwritten, too");
    fs::hard_link(keyring.path(&account(1)), &watched[1]).unwrap();
    assert!(holds(&watched[1], &key(1)) && holds(&watched[1], &key(2)));

    assert_eq!(keyring.destroy(&account(1)).unwrap(), 2);
    assert!(!holds(&watched[1], &key(1)) && !holds(&watched[1], &key(2)));
    assert!(!keyring.path(&account(1)).exists());
    assert_eq!(keyring.all(&account(1)).unwrap(), []);
    assert_eq!(keyring.destroy(&account(1)).unwrap(), 0, "again");
    assert_eq!(keyring.destroy(&account(7)).unwrap(), 0, "an account that never was");
}

#[test]
fn what_a_crash_leaves_behind_is_no_key_and_goes_with_the_account() {
    let base = tempfile::tempdir().unwrap();
    let keyring = without_memory(&base.path().join("keys"));
    keyring.insert(account(1), key(1)).unwrap();
    let path = keyring.path(&account(1));
    let partial = path.with_extension("key.new");
    let next = file::encode(&account(1), &[key(1), key(2)]);
    // Killed while the next file was written, at every byte of it: the insert has not returned, so the old file counts.
    for length in 0..=next.len() {
        fs::write(&partial, &next[..length]).unwrap();
        assert_eq!(keyring.all(&account(1)).unwrap(), [key(1)]);
        assert_eq!(keyring.accounts().count(), 1);
    }
    keyring.insert(account(1), key(3)).unwrap();
    assert!(!partial.exists());
    assert_eq!(keyring.all(&account(1)).unwrap(), [key(1), key(3)]);

    fs::write(&partial, &next[..]).unwrap();
    // Killed in the middle of destroying: overwritten, not yet removed.
    fs::write(&path, vec![0x5a; next.len()]).unwrap();
    keyring.destroy(&account(1)).unwrap();
    assert!(!partial.exists() && !path.exists());
}

#[test]
fn too_many_keys_and_keys_that_cannot_be_told_apart_are_refused() {
    let base = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(&base.path().join("keys")).unwrap();
    for number in 0..KEYS_PER_ACCOUNT_MAX {
        assert!(keyring.insert(account(1), key(u8::try_from(number).unwrap())).unwrap());
    }
    assert!(matches!(
        keyring.insert(account(1), key(200)),
        Err(KeyringError::Full(_))
    ));
    assert!(!keyring.insert(account(1), key(0)).unwrap(), "one it has is no error");

    // Two secrets with the same id, found by trying numbers.
    let [one, other] = [11_255_u32, 67_583].map(|number| {
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&number.to_le_bytes());
        DataKey::from_bytes(&secret)
    });
    assert!(one.id() == other.id() && one != other);
    keyring.insert(account(2), one.clone()).unwrap();
    let clash = keyring.insert(account(2), other);
    assert!(matches!(clash, Err(KeyringError::Clash { id, .. }) if id == one.id()));
    assert_eq!(keyring.all(&account(2)).unwrap(), [one]);
    assert_eq!(
        without_memory(&keyring.directory).all(&account(1)).unwrap().len(),
        KEYS_PER_ACCOUNT_MAX
    );
}

#[test]
fn random_histories_agree_with_a_model() {
    for seed in 0..30 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("keys");
        let mut keyring = Keyring::open(&directory).unwrap();
        keyring.cache = Mutex::new(Cache::new(rng.random_range(0..4)));
        let mut model: BTreeMap<ContentId, Vec<DataKey>> = BTreeMap::new();
        for _ in 0..100 {
            let account = account(rng.random_range(0..5));
            match rng.random_range(0..10) {
                0..4 => {
                    let key = key(rng.random_range(0..6));
                    let keys = model.entry(account).or_default();
                    let is_new = !keys.contains(&key);
                    assert_eq!(keyring.insert(account, key.clone()).unwrap(), is_new);
                    keys.extend(is_new.then_some(key));
                }
                4..6 => {
                    let keys = model.remove(&account).unwrap_or_default();
                    assert_eq!(keyring.destroy(&account).unwrap(), keys.len(), "seed {seed}");
                }
                6 => keyring = Keyring::open(&directory).unwrap(),
                _ => {
                    let keys = model.get(&account).cloned().unwrap_or_default();
                    assert_eq!(keyring.all(&account).unwrap(), keys, "seed {seed}");
                    assert_eq!(keyring.newest(&account).unwrap(), keys.last().cloned());
                }
            }
        }
        let accounts: Vec<_> = keyring.accounts().map(Result::unwrap).collect();
        assert_eq!(accounts, model.keys().copied().collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn two_members_exchange_keys_until_nothing_is_missing() {
    let base = tempfile::tempdir().unwrap();
    let giver = Keyring::open(&base.path().join("giver")).unwrap();
    let taker = Keyring::open(&base.path().join("taker")).unwrap();
    let erased = account(3);
    for number in 0..6 {
        giver.insert(account(number), key(number)).unwrap();
    }
    fs::write(giver.path(&account(4)), b"damaged").unwrap();
    let giver = without_memory(&giver.directory);

    let mut wanted: Vec<_> = (0..8).map(account).collect();
    let ask = KeyFrame::Ask(wanted.clone());
    let over_the_wire = |frame: &KeyFrame| KeyFrame::decode(&frame.encode().unwrap()).unwrap();
    let answer = giver.answer(over_the_wire(&ask), |account| *account != erased);
    assert!(matches!(&answer.failed[..], [(failed, KeyringError::Damaged { .. })] if *failed == account(4)));
    let given = over_the_wire(&answer.reply.unwrap());
    let KeyFrame::Give(accounts) = &given else {
        panic!("{given:?}")
    };
    assert_eq!(
        accounts.len(),
        4,
        "not the erased, the damaged and the two unknown ones"
    );
    wanted.retain(|account| accounts.iter().all(|(given, _)| given != account));

    // Account 5 was erased here and the giver does not know it yet.
    let answer = taker.answer(given, |id| *id != account(5));
    assert!(answer.failed.is_empty());
    let Some(KeyFrame::Kept(kept)) = answer.reply else {
        panic!("no receipt")
    };
    let expected: Vec<_> = (0..3).map(|number| (account(number), key(number).id())).collect();
    assert_eq!(kept, expected);
    let taker = without_memory(&taker.directory);
    assert_eq!(taker.newest(&account(2)).unwrap(), Some(key(2)));
    assert_eq!(taker.newest(&account(5)).unwrap(), None);
    assert_eq!(taker.newest(&erased).unwrap(), None);
    assert!(giver.answer(KeyFrame::Kept(kept), |_| true).reply.is_none());

    let rest = giver.answer(KeyFrame::Ask(wanted), |account| *account != erased).reply;
    assert_eq!(rest, Some(KeyFrame::Give(Vec::new())), "nothing more to come");
}

#[test]
fn an_answer_too_large_for_one_frame_is_cut_and_the_rest_comes_when_asked_again() {
    let base = tempfile::tempdir().unwrap();
    let giver = Keyring::open(&base.path().join("keys")).unwrap();
    let accounts: Vec<_> = (0..700_u16)
        .map(|number| ContentId::of(&number.to_le_bytes()))
        .collect();
    // Straight into memory: 700 files of 16 keys each would take long to sync.
    let keys: Vec<_> = (0..KEYS_PER_ACCOUNT_MAX)
        .map(|number| key(u8::try_from(number).unwrap()))
        .collect();
    for account in &accounts {
        giver.cache().insert(*account, keys.clone());
    }
    let mut wanted = accounts;
    let mut frames = 0;
    loop {
        let reply = giver.answer(KeyFrame::Ask(wanted.clone()), |_| true).reply.unwrap();
        assert!(reply.encode().is_ok());
        let KeyFrame::Give(given) = reply else {
            panic!("not a Give")
        };
        if given.is_empty() {
            break;
        }
        frames += 1;
        wanted.retain(|account| given.iter().all(|(given, _)| given != account));
    }
    assert_eq!((wanted.len(), frames), (0, 2));
}
