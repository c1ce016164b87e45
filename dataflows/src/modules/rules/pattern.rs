//! Regular expressions of bounded size, which take time linear in what they read.

use regex::{Regex, RegexBuilder};

use super::error::shown;
use super::limits::REGEX_BYTES_MAX;

const REGEX_COMPILED_BYTES_MAX: usize = 256 << 10;
const NEST_MAX: u32 = 32;

/// An expression of bounded size. The error says what is wrong in one line.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    if pattern.is_empty() {
        return Err("an empty expression matches everything; write what it should find".to_owned());
    }
    if pattern.len() > REGEX_BYTES_MAX {
        return Err(format!("an expression of {} bytes; {REGEX_BYTES_MAX} at most", pattern.len()));
    }
    let built = RegexBuilder::new(pattern).size_limit(REGEX_COMPILED_BYTES_MAX).nest_limit(NEST_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!(
                "compiles to more than {REGEX_COMPILED_BYTES_MAX} bytes; use smaller repetitions, and [a-z0-9] in place of \\w"
            )
        }
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("not an expression: {}", shown(last))
        }
    })
}
