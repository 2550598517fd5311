//! The bytes of a sequence's state: the one place where llama.cpp is handed memory as such. The library's own type hides the bytes, because
//! its parser trusts them; here they have come from it, or [`Layout::check`](crate::engine::state::layout::Layout::check) has compared
//! every length, type and count in them with this context's own.
#![expect(unsafe_code, reason = "the library has no safe call that gives a state's bytes")]

use llama_cpp_2::{LlamaStateSeqFlags, context::LlamaContext};

/// The state of a sequence.
pub(super) fn get(context: &LlamaContext<'_>, sequence: i32) -> Option<Vec<u8>> {
    let flags = LlamaStateSeqFlags::empty();
    let size = context.state_seq_get_size_ext(sequence, flags);
    let mut bytes = vec![0; size];
    // SAFETY: there are as many bytes as the context has just said that it writes, and nothing is computed in between.
    let written = unsafe { context.state_seq_get_data_ext(bytes.as_mut_ptr(), sequence, flags) };
    (size > 0 && written == size).then_some(bytes)
}

/// Gives a sequence a state; false when it did not take it, and then it is empty.
pub(super) fn set(context: &mut LlamaContext<'_>, sequence: i32, bytes: &[u8]) -> bool {
    // SAFETY: the bytes were written by this context or compared with its layout, see the module. The parser bounds its reading by their number.
    unsafe { context.state_seq_set_data_ext(bytes, sequence, LlamaStateSeqFlags::empty()) }
}
