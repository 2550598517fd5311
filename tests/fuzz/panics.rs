//! Panics of a target: some are part of the plan, because a node catches those of the libraries that it feeds with foreign bytes;
//! one that leaves the target is what is looked for.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
};

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the words of the last panic in this thread instead of printing them. libFuzzer's own hook would end the process at a panic
/// that is caught as planned.
pub fn remember_panics() {
    panic::set_hook(Box::new(|panic| {
        LAST.with_borrow_mut(|last| *last = panic.to_string());
    }));
}

/// Runs a target; at a panic that it does not catch, prints its words and ends the process in the way libFuzzer notices.
pub fn stop_at_a_broken_promise(run: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
        eprintln!("\n== A promise is broken: {}", LAST.with_borrow(String::clone));
        std::process::abort();
    }
}
