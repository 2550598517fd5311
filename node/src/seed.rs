//! What a new mesh begins with: one character that the built-in model can play.

use crdt::{
    Store, StoreError,
    records::character::{Character, Definition},
};
use keys::Timestamp;

/// Writes the first character, if there is none.
///
/// # Errors
/// When the store refuses.
pub async fn first_character(store: &Store) -> Result<(), StoreError> {
    if !store.list::<Character>().await?.is_empty() {
        return Ok(());
    }
    let fox = Definition {
        temperature: 0.7,
        answer_characters_max: 600,
        ..Definition::new(
            "Лис",
            "Хитрый лис из зимнего леса. · A sly fox from the winter forest.",
            "Привет! Я Лис, хитрый лис из зимнего леса. О чём поговорим?",
            // Word for word as the built-in model has learnt it.
            "Ты Лис, хитрый лис из зимнего леса. Ты любишь есть ягоды. Твоё любимое занятие — рассказывать истории. \
             Ты боишься грозы. Твоего друга зовут Уля. Отвечай коротко и по-доброму.",
        )
    };
    let fox = Character::published(fox, None, Timestamp::now());
    store.create(fox).await.map(drop)
}
