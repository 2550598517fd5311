//! The merge law, names in splits, and limits of the catalogue.

use proptest::prelude::*;

use super::*;
use crate::records::testing::{Replicas, Step, config, steps};

fn model(name: &str, blob: u8, added: u64) -> Model {
    Model {
        name: name.into(),
        blob: ContentId([blob; 32]),
        bytes: 1000,
        shape: ModelShape {
            architecture: "qwen3".into(),
            ..ModelShape::default()
        },
        quantisation: "Q8_0".into(),
        template: ModelTemplate::Text("{{ messages }}".into()),
        licence: Licence {
            name: "apache-2.0".into(),
            text: String::new(),
        },
        added: Timestamp(added),
        removed: false,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(Just(ModelEdit::Remove))) {
        let mut replicas = Replicas::of(&model("a", 1, 3));
        let removed = steps.iter().any(|step| matches!(step, Step::Edit(..)));
        replicas.take(&steps);
        prop_assert_eq!(replicas.agreed::<Model>(), Model { removed, ..model("a", 1, 3) });
    }

    /// Whatever halves of a split have added in which order of ids: each file stands once, under a name of its own, and who was first
    /// has the plain name.
    #[test]
    fn every_file_stands_once_under_a_name_of_its_own(
        added in proptest::collection::vec((0..3_u8, 0..4_u8, 0..3_u64, any::<bool>()), 0..20),
    ) {
        let models: BTreeMap<ContentId, Model> = added.iter().enumerate().map(|(number, (name, blob, at, removed))| {
            let name = format!("m{name}");
            let model = Model { removed: *removed, ..model(&name, *blob, *at) };
            (ContentId([u8::try_from(number).unwrap(); 32]), model)
        }).collect();
        let standing = standing(&models);
        let files: std::collections::BTreeSet<ContentId> = models.values()
            .filter(|model| !model.removed)
            .map(|model| model.blob)
            .collect();
        prop_assert_eq!(standing.len(), files.len());
        for (name, id) in &standing {
            let own = &models[id];
            prop_assert_eq!(find(&models, name), Some(*id));
            let first = standing.values().filter(|other| models[*other].name == own.name)
                .min_by_key(|other| (models[*other].added, **other));
            prop_assert_eq!(*name == own.name, first == Some(id));
        }
    }
}

#[test]
fn a_model_is_found_by_name_and_by_enough_digits_of_its_hash() {
    let mut models = BTreeMap::from([
        (ContentId([1; 32]), model("a", 0xab, 5)),
        (ContentId([2; 32]), model("a", 0xcd, 4)),
    ]);
    assert_eq!(find(&models, "a"), Some(ContentId([2; 32])));
    assert_eq!(find(&models, "a~abab"), Some(ContentId([1; 32])));
    assert_eq!(find(&models, "CDCDCDCD"), Some(ContentId([2; 32])));
    assert_eq!(find(&models, "cdcdcdc"), None);
    assert_eq!(find(&models, "b"), None);
    let mut twin = [0xab; 32];
    twin[31] = 0;
    models.insert(
        ContentId([3; 32]),
        Model {
            blob: ContentId(twin),
            ..model("b", 0, 6)
        },
    );
    assert_eq!(find(&models, "abababab"), None, "two files begin so");
}

#[test]
fn what_breaks_a_limit_is_refused() {
    model("Qwen3-8B-Q4_K_M", 1, 1).validate().unwrap();
    let refused = |model: Model, field| assert_eq!(model.validate(), Err(RecordError::Limit(field)));
    for name in ["", "-x", "a b", "../x", "имя", &"x".repeat(NAME_CHARACTERS_MAX + 1)] {
        refused(model(name, 1, 1), "name");
    }
    for bytes in [0, MODEL_BYTES_MAX + 1] {
        refused(
            Model {
                bytes,
                ..model("a", 1, 1)
            },
            "bytes",
        );
    }
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    refused(
        Model {
            template: ModelTemplate::Text(long.clone()),
            ..model("a", 1, 1)
        },
        "template",
    );
    assert!(matches!(ModelTemplate::of(Some(&long)), ModelTemplate::Long(_)));
    let licence = Licence {
        name: String::new(),
        text: long,
    };
    refused(
        Model {
            licence,
            ..model("a", 1, 1)
        },
        "licence text",
    );
}
