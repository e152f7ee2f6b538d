//! The strict reader that every request body goes through: one JSON object, in UTF-8, bounded in
//! size, depth and count, with no member named twice.
//!
//! Tokens are serde_json's: no NaN, comments, trailing commas or lone surrogates. What it would
//! let pass is refused here: duplicate members (RFC 8259 §4 leaves their meaning open, so a
//! checker and a fetcher could read different values), deep nesting and floods of members.

mod error;
mod members;

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
pub use serde_json::{Map, Value};

pub use error::BodyError;
pub(crate) use error::{MEMBER_ECHO, VALUE_ECHO, echo};
pub(crate) use members::{Extras, Member, Members};

/// Longest body in bytes, after decompression.
pub const MAX_BODY: usize = 1 << 20;
/// Most containers inside each other; the root is the first.
pub const MAX_DEPTH: usize = 64;
/// Most values (objects, arrays and scalars) in one body.
pub const MAX_VALUES: usize = 4_000;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads a body that is one JSON object. A UTF-8 byte order mark is skipped: .NET writes it.
/// Members come out in alphabetical order. Linear in the length of the body.
///
/// # Errors
/// [`BodyError::BotTooLarge`] above [`MAX_BODY`], else [`BodyError::BotMalformed`].
pub fn read(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    read_up_to(MAX_BODY, body)
}

/// The same for bodies that are kept, with a lower limit.
pub(crate) fn read_up_to(limit: usize, body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if body.len() > limit {
        return Err(BodyError::BotTooLarge { limit });
    }
    let text = text(body)?;
    if text.trim_ascii().is_empty() {
        return Err(BodyError::malformed("The body is empty: send a JSON object"));
    }
    let values_left = Cell::new(MAX_VALUES);
    let seed = Node { depth: 0, values_left: &values_left, path: &Path::Root };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| syntax(text, &error))?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(BodyError::malformed(format!(
                "The body is {}: send a JSON object",
                members::kind(&value)
            )))
        }
    }
}

fn text(body: &[u8]) -> Result<&str, BodyError> {
    let body = body.strip_prefix(UTF8_BOM).unwrap_or(body);
    if matches!(body, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..]) {
        return Err(BodyError::malformed("The body is UTF-16 or UTF-32: send UTF-8"));
    }
    std::str::from_utf8(body).map_err(|error| {
        BodyError::malformed(format!("The body is not UTF-8 at byte {}", error.valid_up_to()))
    })
}

fn syntax(text: &str, error: &serde_json::Error) -> BodyError {
    let column = error.column();
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let hint = match line.as_bytes().get(column.saturating_sub(1)) {
        _ if error.is_data() => "",
        Some(b'/') => " (JSON has no comments)",
        Some(b'N' | b'I') => " (JSON has neither NaN nor Infinity)",
        Some(b'\'') => " (strings take double quotes)",
        Some(_) | None => "",
    };
    // A data error is our own text; the others are serde_json's and hold no text of the caller.
    let subject = if error.is_data() { "" } else { "The body is not JSON: " };
    BodyError::malformed(format!("{subject}{error}{hint}"))
}

/// Where the reader is; costs nothing until an error prints it.
enum Path<'p> {
    Root,
    Member(&'p Self, &'p str),
    Item(&'p Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// One value on its way in.
struct Node<'p> {
    /// Containers around it.
    depth: usize,
    values_left: &'p Cell<usize>,
    path: &'p Path<'p>,
}

impl Node<'_> {
    fn enter<E: de::Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            let path = echo(&self.path.to_string(), MEMBER_ECHO);
            return Err(E::custom(format_args!("{path}: nested deeper than {MAX_DEPTH}")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.values_left.get().checked_sub(1) else {
            return Err(de::Error::custom(format_args!(
                "The body has more than {MAX_VALUES} values"
            )));
        };
        self.values_left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut items = Vec::new();
        loop {
            let path = Path::Item(self.path, items.len());
            let node = Node { depth, values_left: self.values_left, path: &path };
            match access.next_element_seed(node)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut members = Map::new();
        // Names arrive unescaped, so `prompts` and `\u0070rompts` are the same name.
        while let Some(name) = access.next_key::<String>()? {
            let path = Path::Member(self.path, &name);
            if members.contains_key(&name) {
                let path = echo(&path.to_string(), MEMBER_ECHO);
                return Err(de::Error::custom(format_args!(
                    "{path}: given twice, send each member once"
                )));
            }
            let node = Node { depth, values_left: self.values_left, path: &path };
            let value = access.next_value_seed(node)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests;
