//! States of conversations, given out and taken in between steps.

use std::{collections::VecDeque, io};

use super::Batcher;
use crate::{
    engine::{
        GenerationError,
        protocol::{Bytes, FromWorker, Looking},
        state::{Look, Part, StateError, layout::Layout},
        worker::{raw, watch::Watch, write},
    },
    limits::{STATE_CHUNK_BYTES, STATE_STEP_BYTES},
};

/// What the batcher has to do with states.
#[derive(Default)]
pub(super) struct States {
    /// How this context lays them out; nothing where none is handed off.
    pub(super) layout: Option<Layout>,
    /// Those that are being given out, and how much of each has gone.
    leaving: VecDeque<(u64, Vec<u8>, usize)>,
}

impl States {
    pub(super) fn is_idle(&self) -> bool {
        self.leaving.is_empty()
    }
}

impl Batcher<'_, '_> {
    /// Hash of what must match for a state; after [`Batcher::warm_up`].
    pub(in crate::engine::worker) fn state_layout(&self) -> Option<[u8; 32]> {
        let layout = self.states.layout.as_ref();
        layout.map(|layout| layout.digest(self.loading.has_gpu))
    }

    /// Learns the layout from the token that was computed to warm up.
    pub(super) fn learn_layout(&mut self) {
        self.states.layout = raw::get(&self.context, 0).as_deref().and_then(Layout::learn);
    }

    pub(super) fn look(&self, looking: Looking) -> io::Result<()> {
        let id = looking.id;
        let result = self.seen(looking);
        write(&FromWorker::Looked { id, result })
    }

    fn seen(&self, looking: Looking) -> Result<Look, StateError> {
        let layout = self.states.layout.as_ref().ok_or(StateError::Unsupported)?;
        let (mut tokens, card) = self.prompt(&looking.prompt, looking.card_bytes);
        tokens.extend(looking.accepted);
        if tokens.len() > self.room.sequence {
            let error = GenerationError::PromptTooLong {
                tokens: number(tokens.len()),
                limit: number(self.room.sequence),
            };
            return Err(StateError::Prompt(Box::new(error)));
        }
        let seen = self.cache.look(looking.conversation, &tokens, card);
        Ok(Look {
            part: Part {
                conversation: looking.conversation,
                from: number(seen.from),
                tokens,
            },
            cached: number(seen.cached),
            fixed_bytes: layout.fixed_bytes(),
            token_bytes: layout.cell_bytes(),
            room_bytes: self.loading.load.parked_bytes,
        })
    }

    pub(super) fn export(&mut self, id: u64, part: Part) -> io::Result<()> {
        let result = self.exported(part).map(|(part, bytes)| {
            let count = bytes.len() as u64;
            self.states.leaving.push_back((id, bytes, 0));
            (part, count)
        });
        write(&FromWorker::Exporting { id, result })
    }

    fn exported(&mut self, mut part: Part) -> Result<(Part, Vec<u8>), StateError> {
        if self.states.layout.is_none() {
            return Err(StateError::Unsupported);
        }
        let from = part.from as usize;
        let held = self.cache.export(part.conversation, &part.tokens, from);
        let (held, moves) = held.ok_or(StateError::Unknown)?;
        let is_sound = self
            .kept
            .carry_out(&mut self.context, &mut self.cache, self.room, moves);
        let bytes = is_sound
            .then(|| self.kept.state(&mut self.context, self.room, held, from))
            .flatten();
        let (to, bytes) = bytes.ok_or(StateError::Unknown)?;
        part.tokens.truncate(to);
        Ok((part, bytes))
    }

    pub(in crate::engine::worker) fn adopt(
        &mut self,
        id: u64,
        part: Part,
        bytes: Vec<u8>,
        watch: &Watch,
    ) -> io::Result<()> {
        let result = self.adopted(part, bytes, watch);
        write(&FromWorker::Adopted { id, result })
    }

    fn adopted(&mut self, part: Part, bytes: Vec<u8>, watch: &Watch) -> Result<(), StateError> {
        let layout = self.states.layout.as_ref().ok_or(StateError::Unsupported)?;
        if part.tokens.len() > self.room.sequence || (part.from > 0 && !self.room.is_unified) {
            return Err(StateError::Incompatible);
        }
        layout.check(&bytes, part.from..number(part.tokens.len()))?;
        let (from, now) = (part.from as usize, watch.moment());
        let (ticket, moves) = self
            .cache
            .adopt(part.conversation, part.tokens, from, bytes.len(), now)?;
        self.kept
            .carry_out(&mut self.context, &mut self.cache, self.room, moves);
        self.kept.keep(ticket, bytes);
        Ok(())
    }

    /// Gives out the next pieces, as many as are quickly written.
    pub(super) fn give_states(&mut self) -> io::Result<()> {
        let Some((id, bytes, sent)) = self.states.leaving.front_mut() else {
            return Ok(());
        };
        let until = bytes.len().min(*sent + STATE_STEP_BYTES);
        while *sent < until {
            let to = until.min(*sent + STATE_CHUNK_BYTES);
            let piece = Bytes(bytes[*sent..to].to_vec());
            write(&FromWorker::Piece { id: *id, piece })?;
            *sent = to;
        }
        if *sent == bytes.len() {
            self.states.leaving.pop_front();
        }
        Ok(())
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
