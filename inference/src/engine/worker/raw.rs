//! What the library has no safe call for. The bytes of a sequence's state: the one place where llama.cpp is handed memory as such. The
//! library's own type hides the bytes, because its parser trusts them; here they have come from it, or
//! [`Layout::check`](crate::engine::state::layout::Layout::check) has compared every length, type and count in them with this context's
//! own. And which of the libraries beside the program computes.
#![expect(unsafe_code, reason = "the library has no safe call for these")]

#[cfg(feature = "dynamic-backends")]
use std::ffi::{c_char, c_void};

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

#[cfg(feature = "dynamic-backends")]
unsafe extern "C" {
    /// A backend by its name; null where none of that name is loaded. As in llama.cpp's `ggml-backend.h`.
    fn ggml_backend_reg_by_name(name: *const c_char) -> *mut c_void;
    /// A function of a backend by its name; null where it has none.
    fn ggml_backend_reg_get_proc_address(backend: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The address of a function of the library that computes on the processor; none where none is loaded.
#[cfg(feature = "dynamic-backends")]
pub(super) fn processor_backend() -> Option<usize> {
    // SAFETY: the texts end, and what is loaded stays as long as the process. The function is not called.
    let address = unsafe {
        let backend = ggml_backend_reg_by_name(c"CPU".as_ptr());
        if backend.is_null() {
            return None;
        }
        ggml_backend_reg_get_proc_address(backend, c"ggml_backend_set_n_threads".as_ptr())
    };
    (!address.is_null()).then_some(address as usize)
}
