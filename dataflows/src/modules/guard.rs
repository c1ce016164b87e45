//! Catching a panic, so that what failed on one certificate costs that certificate only.
//!
//! A process that ends on panics, as it must where an invariant of the dataflow is broken, asks [`is_guarded`] in its
//! panic hook.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is being caught.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// What `work` returns, or the first line of what it panicked with, cut and without control characters.
///
/// What `work` changed before it panicked may be half done: the caller throws it away.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    result.map_err(|panic| panic_text(panic.as_ref()))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    const CHARS_MAX: usize = 200;
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "a panic without text",
    };
    let mut line = String::new();
    for char in text.lines().next().unwrap_or_default().chars().take(CHARS_MAX) {
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(work: impl FnOnce(), want: &str) {
        assert_eq!(guarded(work), Err(want.to_owned()));
        assert!(!is_guarded());
    }

    #[test]
    fn a_panic_becomes_one_line() {
        check(|| panic!("plain"), "plain");
        check(|| panic!("byte {} \u{1b}[2J\r\nmore", 7), "byte 7 \\u{1b}[2J");
        check(|| panic!("{}", "ä".repeat(300)), &"ä".repeat(200));
        check(|| std::panic::panic_any(7), "a panic without text");
    }

    #[test]
    fn guards_nest() {
        let inner = guarded(|| {
            let inner = guarded(|| panic!("inner"));
            assert!(is_guarded(), "the outer guard still holds");
            inner
        });
        assert_eq!(inner, Ok(Err::<(), _>("inner".to_owned())));
        assert!(!is_guarded());
    }
}
