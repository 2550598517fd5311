//! States on their way between the node and its engine process, in pieces, so that neither waits long for the other.

use std::collections::HashMap;

use crate::{
    engine::{
        Task,
        protocol::{Bytes, FromWorker, Looking, ToWorker},
        state::{Incoming, Look, Part, Reply, State, StateCommand, StateError},
    },
    limits::{STATE_BYTES_MAX, STATE_CHUNK_BYTES, STATES_AT_ONCE},
};

/// See the module. Owned by the engine's actor.
#[derive(Default)]
pub(super) struct States {
    next: u64,
    looking: HashMap<u64, Reply<Look>>,
    /// States that were asked for, with what has come of them.
    exporting: HashMap<u64, (Reply<State>, Option<Incoming>)>,
    adopting: HashMap<u64, Reply<()>>,
    /// The state that goes to the process now, and how much of it has gone. One at a time, so that the pieces are told apart there.
    leaving: Option<(u64, Vec<u8>, usize)>,
}

impl States {
    /// What to say to the process.
    pub(super) fn handle(&mut self, command: StateCommand) -> Option<ToWorker> {
        let under_way = self.looking.len() + self.exporting.len() + self.adopting.len();
        let is_leaving = matches!(command, StateCommand::Adopt(..)) && self.leaving.is_some();
        if under_way >= STATES_AT_ONCE || is_leaving {
            command.refuse(StateError::Busy);
            return None;
        }
        self.next += 1;
        let id = self.next;
        match command {
            StateCommand::Look(task, reply) => {
                self.looking.insert(id, reply);
                Some(ToWorker::Look(Box::new(looking(id, *task))))
            }
            StateCommand::Export(part, reply) => {
                self.exporting.insert(id, (reply, None));
                Some(ToWorker::Export { id, part })
            }
            StateCommand::Adopt(State { part, bytes, .. }, reply) => {
                self.adopting.insert(id, reply);
                let count = bytes.len() as u64;
                self.leaving = Some((id, bytes, 0));
                Some(ToWorker::Adopt { id, part, bytes: count })
            }
        }
    }

    /// Whether a piece is to be sent.
    pub(super) const fn has_pieces(&self) -> bool {
        self.leaving.is_some()
    }

    /// The next piece for the process.
    pub(super) fn next_piece(&mut self) -> Option<ToWorker> {
        let (id, bytes, sent) = self.leaving.as_mut()?;
        let (id, from) = (*id, *sent);
        let to = bytes.len().min(from + STATE_CHUNK_BYTES);
        let piece = Bytes(bytes[from..to].to_vec());
        *sent = to;
        if to == bytes.len() {
            self.leaving = None;
        }
        Some(ToWorker::Piece { id, piece })
    }

    /// Takes in what the process says of states.
    pub(super) fn hear(&mut self, event: FromWorker) {
        match event {
            FromWorker::Looked { id, result } => {
                if let Some(reply) = self.looking.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            FromWorker::Exporting { id, result } => self.begin_export(id, result),
            FromWorker::Piece { id, piece } => self.take_piece(id, &piece.0),
            FromWorker::Adopted { id, result } => {
                if self.leaving.as_ref().is_some_and(|(leaving, ..)| *leaving == id) {
                    // Refused before it had come: the rest would be in vain.
                    self.leaving = None;
                }
                if let Some(reply) = self.adopting.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            _ => {}
        }
    }

    fn begin_export(&mut self, id: u64, result: Result<(Part, u64), StateError>) {
        let within = result.and_then(|(part, bytes)| {
            if bytes > STATE_BYTES_MAX {
                let room = STATE_BYTES_MAX;
                return Err(StateError::NoRoom { bytes, room });
            }
            Ok(Incoming::new(part, bytes))
        });
        match within {
            Ok(incoming) => {
                if let Some((_, under_way)) = self.exporting.get_mut(&id) {
                    *under_way = Some(incoming);
                }
            }
            Err(error) => self.end_export(id, Err(error)),
        }
    }

    fn take_piece(&mut self, id: u64, piece: &[u8]) {
        let Some((_, Some(incoming))) = self.exporting.get_mut(&id) else {
            return;
        };
        let taken = incoming.push(piece);
        if taken.is_ok() && !incoming.is_whole() {
            return;
        }
        let Some((_, Some(incoming))) = self.exporting.get_mut(&id).map(|(reply, one)| (reply, one.take())) else {
            return;
        };
        self.end_export(id, taken.map(|()| incoming.made_here()));
    }

    fn end_export(&mut self, id: u64, result: Result<State, StateError>) {
        if let Some((reply, _)) = self.exporting.remove(&id) {
            // Whoever asked may have given up.
            let _ = reply.send(result);
        }
    }

    /// All of them end, because the process does: their answers are dropped, which says so.
    pub(super) fn end_all(&mut self) {
        *self = Self {
            next: self.next,
            ..Self::default()
        };
    }
}

fn looking(id: u64, task: Task) -> Looking {
    Looking {
        id,
        conversation: task.conversation,
        prompt: task.prompt,
        card_bytes: u32::try_from(task.card_bytes).unwrap_or(0),
        accepted: task.accepted,
    }
}
