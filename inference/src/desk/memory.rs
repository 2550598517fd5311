//! What the desk does for a chat's memory: sums up what leaves the model's context before a question is answered, has a model write
//! something better in the background, and remembers how long answers become.

use std::sync::{Arc, Mutex, PoisonError};

use crdt::{
    Store,
    records::session::{Message, MessageId, Session, SessionEdit, Summary, SummaryOrigin},
};
use keys::{ContentId, Timestamp};
use tokio::sync::Semaphore;

use crate::{
    admission::{Asked, Class},
    context::{
        self,
        needs::{Kind, Needs},
    },
    engine::{Engine, EngineEvent, Generation, Input, Sampling},
    keeper::Engines,
    limits::{WRITTEN_CHARACTERS_MAX, WRITTEN_LIKENESS_MIN, WRITTEN_TIMEOUT},
    similarity,
    template::ChatMessage,
};

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Memory {
    // A plain lock: held for a few instructions, never across an await.
    needs: Arc<Mutex<Needs>>,
    /// One summary is written at a time.
    writing: Arc<Semaphore>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            needs: Arc::default(),
            writing: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Memory {
    /// How many tokens an answer may have.
    pub(super) fn tokens_max(&self, character: ContentId, question: &str, allowed: u32) -> u32 {
        let needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
        needs.tokens_max(character, Kind::of(question), allowed)
    }

    /// An answer ended. Of another node's answer only its text is known: two and a half characters a token is what Russian has.
    pub(super) fn note(&self, character: ContentId, question: &str, answer: &str, was_cut: bool) {
        let tokens = u32::try_from(answer.chars().count() * 2 / 5).unwrap_or(u32::MAX);
        let mut needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
        needs.note(character, Kind::of(question), tokens, was_cut);
    }

    /// Has a model write what stands as sentences so far, when nobody is waiting for the model. Whoever comes meanwhile takes its place, and
    /// it is tried again after a later answer.
    pub(super) fn write_later(&self, engines: &Engines, store: &Store, id: ContentId) {
        let Ok(permit) = self.writing.clone().try_acquire_owned() else {
            return;
        };
        let Some(model) = engines.main_in_memory() else {
            return;
        };
        let store = store.clone();
        tokio::spawn(async move {
            match rewrite(model.engine(), &store, id).await {
                Ok(true) => tracing::debug!("a chat's summary was written anew"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "a chat's summary could not be written anew; its sentences stay"),
            }
            drop((model, permit));
        });
    }
}

/// Puts sentences in the place of what leaves the context; the chat as it is then.
pub(super) async fn fold(store: &Store, id: ContentId, mut chat: Session, question: MessageId) -> Session {
    let summary = context::folding(&chat, question).and_then(|folding| folding.extract());
    if let Some(summary) = summary {
        if let Err(error) = store.edit(id, SessionEdit::PutSummary(summary.clone())).await {
            // It is made again for the next question; this one is answered with it all the same.
            tracing::warn!(%error, "a chat's summary could not be kept");
        }
        let at = chat.summaries.partition_point(|other| other.last < summary.last);
        chat.summaries.insert(at, summary);
    }
    chat
}

/// True when a model's summary stands now.
async fn rewrite(engine: &Engine, store: &Store, id: ContentId) -> Result<bool, crdt::StoreError> {
    let chat: Session = store.read(id).await?;
    let Some(summary) = chat
        .summaries
        .last()
        .filter(|summary| summary.origin == SummaryOrigin::Extract)
    else {
        return Ok(false);
    };
    let sources: Vec<&Message> = chat
        .messages
        .iter()
        .filter(|message| summary.covers.includes(&message.id) && message.text.is_readable())
        .collect();
    let source: Vec<&str> = sources.iter().map(|message| message.text.text()).collect();
    let source = source.join("\n");
    let written = tokio::time::timeout(WRITTEN_TIMEOUT, write(engine, &chat, summary, &source)).await;
    let Some(text) = written.ok().flatten() else {
        return Ok(false);
    };
    // Whoever asked meanwhile, or wrote something by hand, goes before.
    let now: Session = store.read(id).await?;
    if now.summaries.last() != Some(summary) {
        return Ok(false);
    }
    let written = Summary {
        origin: SummaryOrigin::Model,
        text: text.into(),
        ..summary.clone()
    };
    store.edit(id, SessionEdit::PutSummary(written)).await.map(|()| true)
}

/// A summary by the model, if it is one.
async fn write(engine: &Engine, chat: &Session, summary: &Summary, source: &str) -> Option<String> {
    let task = if context::is_russian(source) {
        "Ты кратко пересказываешь беседу. Сохрани имена, факты, просьбы и обещания. Не выдумывай. Не больше 8 предложений."
    } else {
        "You sum up a conversation. Keep names, facts, requests and promises. Invent nothing. Eight sentences at most."
    };
    let told = format!("{}\n\n{}", summary.text.text(), tail(source));
    let generation = Generation {
        account: chat.account.0,
        // Not the chat's own conversation: what is computed for that stays as it is.
        session: *blake3::hash(&[&b"summary"[..], &summary.last.bytes()[..]].concat()).as_bytes(),
        input: Input::Chat(vec![ChatMessage::new("system", task), ChatMessage::new("user", told)]),
        sampling: Sampling {
            temperature: 0.2,
            tokens_max: 400,
            characters_max: u32::try_from(WRITTEN_CHARACTERS_MAX).unwrap_or(u32::MAX),
            ..Sampling::default()
        },
        accepted: Vec::new(),
        deadline: WRITTEN_TIMEOUT,
    };
    let asked = Asked {
        account: chat.account,
        class: Class::Background,
        at: Timestamp::now(),
    };
    let place = engine.place(asked, |_| {}).await.ok()?;
    let mut running = engine.generate(generation).await.ok()?;
    let mut text = String::new();
    loop {
        let event = tokio::select! {
            biased;
            () = place.wanted() => return None,
            event = running.next() => event?,
        };
        match event {
            EngineEvent::Text(piece) => text.push_str(&piece),
            EngineEvent::Finished(_) => break,
            EngineEvent::Failed(_) => return None,
            EngineEvent::Token(_) | EngineEvent::Thought(_) | EngineEvent::Probability(_) => {}
        }
    }
    is_about(&text, source).then(|| text.trim().to_owned())
}

/// A small model recites instead of summing up: what has little in common with the messages is not kept.
fn is_about(text: &str, source: &str) -> bool {
    let characters = text.trim().chars().count();
    (20..=WRITTEN_CHARACTERS_MAX).contains(&characters) && similarity::alike(text, source) >= WRITTEN_LIKENESS_MIN
}

/// So much of what was said that it fits a small context, the end of it.
fn tail(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    characters[characters.len().saturating_sub(3000)..].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_kept_only_when_it_is_about_the_chat() {
        let source =
            "Меня зовут Рита, я врач из Твери.\nОчень приятно, Рита!\nУ меня есть собака Бармалей, он боится грозы.";
        assert!(is_about(
            "Рита, врач из Твери, рассказала о собаке Бармалее, который боится грозы.",
            source
        ));
        assert!(!is_about(
            "Погода сегодня хорошая, люблю ягоды и мёд, давай гулять.",
            source
        ));
        assert!(!is_about("Рита.", source) && !is_about(&source.repeat(40), source));
    }

    #[test]
    fn a_limit_follows_earlier_answers() {
        let (memory, fox) = (Memory::default(), ContentId([1; 32]));
        assert_eq!(memory.tokens_max(fox, "Как дела?", 600), 600);
        for _ in 0..5 {
            memory.note(fox, "Как дела?", &"слово ".repeat(50), false);
        }
        assert_eq!(memory.tokens_max(fox, "Кто ты?", 600), 240);
        assert_eq!(memory.tokens_max(fox, "Расскажи сказку", 600), 600);
    }
}
