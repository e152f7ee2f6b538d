//! A typed view of one JSON object of a request: declared members by name, the rest by rule.

use super::{BodyError, Map, VALUE_ECHO, Value, echo};
use crate::compat::Dialect;

/// Names that mean something to the languages that read JSON behind us. Never let through, not
/// even where unknown members are ignored.
const POISONED: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// What becomes of members that are not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extras {
    /// A closed type: ignored in open mode, refused in the strict ones.
    Undeclared,
    /// An OData OpenType: accepted in every mode.
    Allowed,
}

/// One object. Annotations (names with `@`) are ignored, but for `@odata.type`.
pub(crate) struct Members<'a> {
    path: String,
    dialect: Dialect,
    /// Declared names with their values.
    declared: Vec<(&'static str, Option<&'a Value>)>,
    type_tag: Option<&'a Value>,
    unknown: Vec<(&'a str, &'a Value)>,
}

/// One member that is present and not null.
#[derive(Clone)]
pub(crate) struct Member<'a> {
    path: String,
    dialect: Dialect,
    value: &'a Value,
}

impl<'a> Members<'a> {
    /// The root object of a body.
    pub(crate) fn of_body(
        body: &'a Map<String, Value>,
        declared: &[&'static str],
        extras: Extras,
        dialect: Dialect,
    ) -> Result<Self, BodyError> {
        Self::new(String::new(), body, declared, extras, dialect)
    }

    fn new(
        path: String,
        members: &'a Map<String, Value>,
        declared: &[&'static str],
        extras: Extras,
        dialect: Dialect,
    ) -> Result<Self, BodyError> {
        let declared = declared.iter().map(|name| (*name, None)).collect();
        let mut view = Self { path, dialect, declared, type_tag: None, unknown: Vec::new() };
        for (name, value) in members {
            view.sort_in(name, value, extras)?;
        }
        Ok(view)
    }

    fn sort_in(
        &mut self,
        name: &'a str,
        value: &'a Value,
        extras: Extras,
    ) -> Result<(), BodyError> {
        let is_same = |declared: &str| {
            declared == name || self.dialect.is_open() && declared.eq_ignore_ascii_case(name)
        };
        if name == "@odata.type" {
            self.type_tag = Some(value);
        } else if name.contains('@') {
            // OData 4.01 JSON §4.6: annotations that are not understood are ignored.
        } else if let Some((declared, slot)) = self.declared.iter_mut().find(|(d, _)| is_same(d)) {
            if slot.replace(value).is_some() {
                let declared = *declared;
                return Err(self.wrong(declared, "given in two spellings, send it once"));
            }
        } else if POISONED.iter().any(|poisoned| poisoned.eq_ignore_ascii_case(name)) {
            return Err(self.wrong(name, "not a name that is accepted"));
        } else if extras == Extras::Undeclared && !self.dialect.is_open() {
            let known: Vec<_> = self.declared.iter().map(|(name, _)| *name).collect();
            let what = format!("not declared here, known members are {}", known.join(", "));
            return Err(self.wrong(name, what));
        } else {
            self.unknown.push((name, value));
        }
        Ok(())
    }

    /// A member; `None` if it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<Member<'a>> {
        let (_, value) = self.declared.iter().find(|(declared, _)| *declared == name)?;
        let value = value.filter(|value| !value.is_null())?;
        Some(Member { path: self.path_of(name), dialect: self.dialect, value })
    }

    /// A member that must be there. `send` says what it should be.
    pub(crate) fn require(&self, name: &str, send: &str) -> Result<Member<'a>, BodyError> {
        self.get(name).ok_or_else(|| self.wrong(name, format!("required, send {send}")))
    }

    /// The type's name in `@odata.type`, without `#` and `microsoft.graph.`. Names are
    /// case-sensitive in every mode.
    pub(crate) fn type_name(&self) -> Result<Option<&'a str>, BodyError> {
        let Some(tag) = self.type_tag.filter(|tag| !tag.is_null()) else {
            return Ok(None);
        };
        let tag = Member { path: self.path_of("@odata.type"), dialect: self.dialect, value: tag };
        let text = tag.string()?;
        // OData 4.01 drops the '#' of 4.0.
        match text.strip_prefix('#').unwrap_or(text).strip_prefix("microsoft.graph.") {
            Some(name) => Ok(Some(name)),
            None => Err(tag.unexpected("the form #microsoft.graph.<type>")),
        }
    }

    /// Checks `@odata.type`, if there is one, for a type that has no subtypes.
    pub(crate) fn expect_type(&self, name: &str) -> Result<(), BodyError> {
        match self.type_name()? {
            Some(tag) if tag != name => Err(self.wrong_type(tag, &[name])),
            Some(_) | None => Ok(()),
        }
    }

    /// An error about `@odata.type`.
    pub(crate) fn wrong_type(&self, found: &str, expected: &[&str]) -> BodyError {
        let found = echo(found, VALUE_ECHO);
        let expected = expected.join(" or #microsoft.graph.");
        self.wrong("@odata.type", format!("#microsoft.graph.{expected} expected, not {found}"))
    }

    /// An error about a member of this object.
    pub(crate) fn wrong(&self, name: &str, what: impl AsRef<str>) -> BodyError {
        BodyError::argument(&self.path_of(name), what)
    }

    /// Members that are not declared, as they came.
    pub(crate) fn unknown(&self) -> Map<String, Value> {
        let own = |(name, value): &(&str, &Value)| ((*name).to_owned(), (*value).clone());
        self.unknown.iter().map(own).collect()
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl<'a> Member<'a> {
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    pub(crate) fn string(&self) -> Result<&'a str, BodyError> {
        self.value.as_str().ok_or_else(|| self.unexpected("a string"))
    }

    /// A string of at most `limit` UTF-16 code units, the length .NET counts.
    pub(crate) fn short_string(&self, limit: usize) -> Result<&'a str, BodyError> {
        let text = self.string()?;
        let length = text.encode_utf16().count();
        if length > limit {
            return Err(self.wrong(format!("{length} characters, at most {limit} are allowed")));
        }
        Ok(text)
    }

    pub(crate) fn boolean(&self) -> Result<bool, BodyError> {
        self.value.as_bool().ok_or_else(|| self.unexpected("true or false"))
    }

    /// An `Edm.Int32`.
    pub(crate) fn int32(&self) -> Result<i32, BodyError> {
        let number = self.value.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| self.unexpected("a whole number of 32 bits"))
    }

    /// The items of an array, none of which may be null.
    pub(crate) fn items(&self) -> Result<Vec<Self>, BodyError> {
        let items = self.value.as_array().ok_or_else(|| self.unexpected("an array"))?;
        let item = |(index, value): (usize, &'a Value)| {
            let path = format!("{}[{index}]", self.path);
            let item = Self { path, dialect: self.dialect, value };
            if value.is_null() { Err(item.wrong("null, leave it out")) } else { Ok(item) }
        };
        items.iter().enumerate().map(item).collect()
    }

    pub(crate) fn members(
        &self,
        declared: &[&'static str],
        extras: Extras,
    ) -> Result<Members<'a>, BodyError> {
        let members = self.value.as_object().ok_or_else(|| self.unexpected("an object"))?;
        Members::new(self.path.clone(), members, declared, extras, self.dialect)
    }

    /// One of the enum texts `names`; any case in open mode.
    pub(crate) fn one_of<T: Copy>(&self, names: &[(&str, T)]) -> Result<T, BodyError> {
        let text = self.string()?;
        let is_same =
            |name: &str| name == text || self.dialect.is_open() && name.eq_ignore_ascii_case(text);
        let found = names.iter().find(|(name, _)| is_same(name));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            self.unexpected(&format!("one of {}", known.join(", ")))
        })
    }

    /// An error about this member that says what was found instead.
    pub(crate) fn unexpected(&self, expected: &str) -> BodyError {
        let found = match self.value {
            Value::String(text) => format!("\"{}\"", echo(text, VALUE_ECHO)),
            Value::Number(number) => echo(&number.to_string(), VALUE_ECHO),
            Value::Bool(truth) => truth.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => kind(self.value).to_owned(),
        };
        self.wrong(format!("{expected} expected, not {found}"))
    }

    /// An error about this member.
    pub(crate) fn wrong(&self, what: impl AsRef<str>) -> BodyError {
        BodyError::argument(&self.path, what)
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
