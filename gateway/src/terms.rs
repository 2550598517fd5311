//! The words that people agree to. What was agreed to is remembered by the hash of the exact text and its edition.

use crdt::records::account::ConsentKind;
use keys::ContentId;

/// Counts up with every change of one of the texts.
pub(crate) const EDITION: u32 = 1;

/// A text that is agreed to, in both languages.
pub(crate) struct Terms {
    pub(crate) kind: ConsentKind,
    /// As the API calls it.
    pub(crate) name: &'static str,
    russian: &'static str,
    english: &'static str,
}

/// Both of them; each is agreed to by itself.
pub(crate) const TERMS: [Terms; 2] = [
    Terms {
        kind: ConsentKind::Terms,
        name: "terms",
        russian: include_str!("terms/terms.ru.md"),
        english: include_str!("terms/terms.en.md"),
    },
    Terms {
        kind: ConsentKind::PersonalData,
        name: "personal_data",
        russian: include_str!("terms/personal-data.ru.md"),
        english: include_str!("terms/personal-data.en.md"),
    },
];

impl Terms {
    pub(crate) fn text(&self, language: &str) -> &'static str {
        if language.starts_with("ru") {
            self.russian
        } else {
            self.english
        }
    }

    /// The text of this hash, if it is one that is shown now.
    pub(crate) fn shown_as(&self, hash: &str) -> Option<ContentId> {
        let hash = ContentId::parse(hash)?;
        [self.russian, self.english]
            .into_iter()
            .map(|text| ContentId::of(text.as_bytes()))
            .find(|shown| *shown == hash)
    }
}

/// The API's word for what is agreed to.
pub(crate) fn name_of(kind: ConsentKind) -> &'static str {
    TERMS
        .iter()
        .find(|terms| terms.kind == kind)
        .map_or("", |terms| terms.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_words_is_a_new_edition() {
        let hashes: Vec<String> = TERMS
            .iter()
            .flat_map(|terms| ["ru", "en"].map(|language| ContentId::of(terms.text(language).as_bytes())))
            .map(|hash| hash.to_string()[..8].to_owned())
            .collect();
        assert_eq!(
            (EDITION, hashes.join(" ").as_str()),
            (1, "5d256447 23885c29 1969aae4 449962d4"),
            "count the edition up and write the new hashes here"
        );
    }
}
