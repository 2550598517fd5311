//! How much of the meaning of a chat lies in a message: its beginning and its end, what moves somebody, what somebody asks for to hold
//! from now on, and facts. By rules alone, so that every node says the same and says it at once.

use crdt::records::session::Message;

/// Beginnings of words that say how somebody feels, in Russian and English.
const FEELINGS: &[&str] = &[
    "люб",
    "ненавиж",
    "бою",
    "боял",
    "страш",
    "грус",
    "печал",
    "плач",
    "плака",
    "больно",
    "счаст",
    "рад",
    "обид",
    "злюсь",
    "злит",
    "прости",
    "извини",
    "скуча",
    "одино",
    "умер",
    "смерт",
    "мечта",
    "надеюсь",
    "спасибо",
    "love",
    "hate",
    "afraid",
    "scared",
    "sad",
    "cry",
    "happy",
    "glad",
    "angry",
    "sorry",
    "miss",
    "lonely",
    "died",
    "death",
    "dream",
    "hope",
    "thank",
];
/// What is to hold from now on.
const COMMANDS: &[&str] = &[
    "запомни",
    "помни",
    "не забывай",
    "не забудь",
    "называй",
    "зови меня",
    "говори",
    "отвечай",
    "всегда",
    "никогда",
    "больше не",
    "давай",
    "пусть",
    "обещай",
    "remember",
    "don't forget",
    "do not forget",
    "call me",
    "always",
    "never",
    "from now on",
    "speak",
    "answer in",
    "stop ",
    "promise",
    "let's",
    "pretend",
];
/// Facts of a person.
const FACTS: &[&str] = &[
    "меня зовут",
    "мне лет",
    "я живу",
    "я работаю",
    "моя ",
    "мой ",
    "моё ",
    "мои ",
    "у меня",
    "my name",
    "i am ",
    "i'm ",
    "i live",
    "i work",
    "my ",
    "i have",
];

/// What a message weighs; `place` is where it stands, from 0 for the first to 1 for the last.
#[must_use]
pub fn score(message: &Message, place: f64) -> f64 {
    text_score(message.text.text(), message.is_from_person()) + 0.5 * place
}

/// What a text weighs by itself.
#[must_use]
pub fn text_score(text: &str, is_from_person: bool) -> f64 {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let feelings = words
        .iter()
        .filter(|word| FEELINGS.iter().any(|beginning| word.starts_with(beginning)))
        .count();
    let signs = text.chars().filter(|c| matches!(c, '!' | '😀'..='🙏' | '❤')).count();
    let emotion = (0.8 * feelings.min(2) as f64) + 0.3 * signs.min(3) as f64;
    let has = |list: &[&str]| list.iter().any(|phrase| lower.contains(phrase));
    // An answer repeats what it was told; what counts is who said it.
    let own: f64 = if is_from_person { 1.0 } else { 0.4 };
    let command = if lower.starts_with('/') || has(COMMANDS) {
        2.0
    } else {
        0.0
    };
    let fact = if has(FACTS) { 1.2 } else { 0.0 };
    let numbers = if text.chars().any(|c| c.is_ascii_digit()) {
        0.4
    } else {
        0.0
    };
    let length = (words.len() as f64 / 60.0).min(0.5);
    own.mul_add(command + fact + numbers, emotion) + length
}

#[cfg(test)]
mod tests {
    use super::text_score;

    #[test]
    fn what_moves_is_asked_for_or_is_a_fact_weighs_more_than_talk() {
        let talk = [
            "Сегодня облачно.",
            "Понятно, а что потом?",
            "It is cloudy today.",
            "ok, and then?",
        ];
        let weighty = [
            "Запомни: я не ем мясо.",
            "Меня зовут Рита, мне 34 года.",
            "Мне так грустно, я плакала весь день!",
            "Never call me that again.",
            "My name is Ann and I live in Tver.",
            "/rename Лис",
        ];
        let most = talk.iter().map(|text| text_score(text, true)).fold(0.0, f64::max);
        for text in weighty {
            assert!(text_score(text, true) > most + 0.5, "{text}");
        }
        assert!(text_score("Запомни это", true) > text_score("Запомни это", false));
        assert!(text_score("", true).abs() < f64::EPSILON);
    }
}
