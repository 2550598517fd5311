//! Frames of `/starling/liveness/1`: a version byte, then a [`Message`] as postcard.

use super::{Claim, Message, Rumour, Standing};
use crate::limits::LIVENESS_RUMOURS_PER_FRAME;

/// First byte of every frame of this protocol.
const VERSION: u8 = 1;

pub(super) fn encode(message: &Message) -> Vec<u8> {
    // Writing into a growing vector cannot fail.
    postcard::to_extend(message, vec![VERSION]).unwrap_or_default()
}

pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
    let (&VERSION, body) = bytes.split_first()? else {
        return None;
    };
    let (message, rest) = postcard::take_from_bytes(body).ok()?;
    let fits = match &message {
        Message::News(news) => news.len() <= LIVENESS_RUMOURS_PER_FRAME,
        Message::Ask(_) | Message::Vouch(_) => true,
    };
    (fits && rest.is_empty()).then_some(message)
}

/// For whoever tries bytes: reads a frame and writes what was read.
pub(crate) fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    decode(bytes).map(|message| encode(&message))
}

/// A frame of each kind.
pub(crate) fn examples() -> Vec<(String, Vec<u8>)> {
    let (about, by, incarnation) = ([1; 16], [2; 16], 1_800_000_000_000);
    let standings = [
        Standing::Joining,
        Standing::Serving,
        Standing::Draining,
        Standing::Maintenance,
        Standing::Left,
    ];
    let mut news: Vec<Rumour> = standings
        .map(|standing| Rumour::Alive(about, Claim { incarnation, standing }))
        .into();
    news.push(Rumour::Suspect { about, incarnation, by });
    news.push(Rumour::Gone { about, incarnation });
    [
        ("news", Message::News(news)),
        ("ask", Message::Ask(about)),
        ("vouch", Message::Vouch(about)),
    ]
    .map(|(name, message)| (name.to_owned(), encode(&message)))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LIVENESS_FRAME_BYTES_MAX;

    #[test]
    fn frames_are_read_as_they_were_written_and_others_are_not() {
        for (name, bytes) in examples() {
            assert_eq!(again(&bytes).as_ref(), Some(&bytes), "{name}");
            assert!(again(&bytes[..bytes.len() - 1]).is_none(), "{name} cut");
            assert!(again(&[&bytes[..], &[0]].concat()).is_none(), "{name} with more behind");
            assert!(
                again(&[&[9], &bytes[1..]].concat()).is_none(),
                "{name} of another version"
            );
        }
    }

    #[test]
    fn the_longest_news_fit_into_a_frame_and_longer_ones_are_refused() {
        let longest = Rumour::Suspect {
            about: [255; 16],
            incarnation: u64::MAX,
            by: [255; 16],
        };
        let full = encode(&Message::News(vec![longest.clone(); LIVENESS_RUMOURS_PER_FRAME]));
        assert!(full.len() <= LIVENESS_FRAME_BYTES_MAX, "{}", full.len());
        assert!(decode(&full).is_some());
        let over = encode(&Message::News(vec![longest; LIVENESS_RUMOURS_PER_FRAME + 1]));
        assert!(decode(&over).is_none());
    }
}
