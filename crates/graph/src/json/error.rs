//! What is wrong with a request body, and how much of it is repeated to its sender.

use std::fmt::Write as _;

/// Why a body was refused. The text names the member and what to do; all text of the caller in
/// it is escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not one JSON object in UTF-8 that this reader takes: `error.code` is `BadRequest`.
    #[error("{message}")]
    BotMalformed {
        /// For people.
        message: String,
    },
    /// A JSON object, but a member is missing, unknown or wrong: `error.code` is `8523`.
    #[error("{message}")]
    BotArgument {
        /// Path of the member, as in `prompts[2].mediaInfo.uri`; empty for the whole body.
        member: String,
        /// For people; begins with the path.
        message: String,
    },
    /// Too long: HTTP 413, `RequestEntityTooLarge`.
    #[error("The body is longer than {limit} bytes")]
    BotTooLarge {
        /// What is allowed.
        limit: usize,
    },
}

impl BodyError {
    /// A body that is not JSON at all, or could not even be read.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::BotMalformed { message: message.into() }
    }

    pub(crate) fn argument(member: &str, what: impl AsRef<str>) -> Self {
        let member = echo(member, MEMBER_ECHO);
        let message = format!("{member}: {}", what.as_ref());
        Self::BotArgument { member, message }
    }
}

/// Longest repeated member path. Together with [`VALUE_ECHO`] it stays below the 256 characters
/// of caller text that an error may repeat.
pub(crate) const MEMBER_ECHO: usize = 120;
/// Longest repeated value.
pub(crate) const VALUE_ECHO: usize = 80;

/// Caller text for an error message: at most `limit` characters, with everything escaped that
/// could move a cursor, end a log line or turn the reading direction.
pub(crate) fn echo(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let mut shown = String::new();
        if is_plain(c) {
            shown.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        let width = shown.chars().count();
        if length + width > limit - 1 {
            out.push('…');
            break;
        }
        length += width;
        out.push_str(&shown);
    }
    out
}

fn is_plain(c: char) -> bool {
    // Line and paragraph separators, zero-width and bidirectional controls, byte order mark.
    let deceives =
        matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff);
    !c.is_control() && !deceives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_short_and_cannot_break_a_line() {
        assert_eq!(echo("a\r\nb\u{202e}", 80), "a\\u{d}\\u{a}b\\u{202e}");
        let long = echo(&"\u{1b}x".repeat(1000), VALUE_ECHO);
        assert!(long.chars().count() <= VALUE_ECHO);
        assert!(long.ends_with('…'));
        assert_eq!(echo(&"y".repeat(79), 80), "y".repeat(79));
    }
}
