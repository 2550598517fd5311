//! Tests of [`super`]: values of each type, two documents, and three replicas that come to agree.

use automerge::{ROOT, transaction::Transactable};
use proptest::prelude::*;

use super::*;
use crate::records::testing::{Replicas, config, steps};

fn settings(values: &[(&str, Setting)]) -> Settings {
    Settings {
        values: values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

fn any_edit() -> impl Strategy<Value = SettingsEdit> {
    let value = prop_oneof![
        any::<bool>().prop_map(Setting::Flag),
        any::<u64>().prop_map(Setting::Number),
        any::<f64>().prop_map(Setting::Decimal),
        ".{0,5}".prop_map(Setting::Text),
    ];
    prop_oneof![
        3 => ("[a-d]", value).prop_map(|(name, value)| SettingsEdit::Set(name, value)),
        1 => "[a-d]".prop_map(SettingsEdit::Reset),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&settings(&[("a", Setting::Flag(true))]));
        replicas.take(&steps);
        replicas.agreed::<Settings>().validate().unwrap();
    }
}

#[test]
fn each_name_is_set_by_itself_and_setting_wins_over_taking_back() {
    let all = settings(&[
        ("mail.host", Setting::Text("mail.example.org".into())),
        ("mail.port", Setting::Number(587)),
        ("mail.tls", Setting::Flag(true)),
        ("limit.load", Setting::Decimal(0.9)),
    ]);
    let mut replicas = Replicas::of(&all);
    assert_eq!(replicas.agreed::<Settings>(), all);
    let set = |name: &str, number| SettingsEdit::Set(name.into(), Setting::Number(number));
    replicas.edit(1, &set("mail.port", 25)).unwrap();
    replicas.edit(2, &SettingsEdit::Reset("mail.port".into())).unwrap();
    replicas.edit(2, &SettingsEdit::Reset("mail.tls".into())).unwrap();
    let read: Settings = replicas.agreed();
    assert_eq!(
        (read.values.len(), &read.values["mail.port"]),
        (3, &Setting::Number(25))
    );
    let refused = |replicas: &mut Replicas, name: &str, value| replicas.edit(0, &SettingsEdit::Set(name.into(), value));
    let expected = Err(RecordError::Limit("setting"));
    assert_eq!(refused(&mut replicas, "Mail", Setting::Flag(true)), expected);
    assert_eq!(refused(&mut replicas, "", Setting::Flag(true)), expected);
    assert_eq!(refused(&mut replicas, "a", Setting::Decimal(f64::INFINITY)), expected);
    assert_eq!(refused(&mut replicas, "a", Setting::Text("x".repeat(4001))), expected);
}

#[test]
fn of_two_documents_one_is_written_and_both_hold() {
    let documents = BTreeMap::from([
        (
            ContentId([2; 32]),
            settings(&[("a", Setting::Number(2)), ("b", Setting::Number(2))]),
        ),
        (ContentId([1; 32]), settings(&[("a", Setting::Number(1))])),
    ]);
    assert_eq!(canonical(&documents), Some(ContentId([1; 32])));
    let effective = effective(&documents);
    assert_eq!(
        (effective["a"], effective["b"]),
        (&Setting::Number(1), &Setting::Number(2))
    );
    assert_eq!(canonical(&BTreeMap::new()), None);
}

#[test]
fn what_others_write_is_sanitised() {
    let mut replicas = Replicas::of(&Settings::default());
    replicas.forge(0, |document| {
        document.put(ROOT, "set/long", "ы".repeat(9000).as_str()).unwrap();
        document.put(ROOT, "set/Name", true).unwrap();
        document.put(ROOT, "set/", true).unwrap();
        document.put(ROOT, "set/bytes", vec![1u8]).unwrap();
        document.put(ROOT, "set/nan", f64::NAN).unwrap();
        document.put(ROOT, "other/name", true).unwrap();
        for number in 0..SETTINGS_MAX + 50 {
            document.put(ROOT, format!("set/n{number}"), true).unwrap();
        }
    });
    let read: Settings = replicas.agreed();
    assert_eq!(read.values.len(), SETTINGS_MAX);
    read.validate().unwrap();
    let full = SettingsEdit::Set("another".into(), Setting::Flag(true));
    assert_eq!(replicas.edit(0, &full), Err(RecordError::Full("settings")));
}
