//! The layers of a configuration, and what cannot be read in them: every fault at once, and never
//! the value, which may be a secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use figment::{
    Figment,
    error::{Actual, Error, Kind},
    providers::{Env, Serialized},
    value::{Dict, Value},
};

use super::{Config, ConfigError, DEFAULT_TOML, DEV_TOML, Overrides, Profile, check::Faults};

/// Puts the layers on each other: the built-in ones come back alone, and with everything above.
///
/// # Errors
/// A file that cannot be read, or is not TOML.
pub(super) fn put_together(
    base: Profile,
    file: Option<&Path>,
    overrides: Overrides,
) -> Result<(Value, Value), ConfigError> {
    let name = base.name();
    let mut layers = Figment::from(Serialized::default("profile", name));
    layers = layers.merge(toml("(config.default.toml)", DEFAULT_TOML)?);
    if base == Profile::Dev {
        layers = layers.merge(toml("(config.dev.toml)", DEV_TOML)?);
    }
    let built_in = whole(&layers)?;
    if let Some(file) = file {
        let text =
            std::fs::read_to_string(file).map_err(|error| ConfigError::unreadable(file, &error))?;
        layers = layers.merge(toml("(file)", &text)?);
    }
    // GRAPHOPHONE_LOG and the like are flags, no keys.
    let is_key = |name: &figment::value::UncasedStr| name.as_str().contains("__");
    for (key, text) in Env::prefixed("GRAPHOPHONE_").filter(is_key).split("__").iter() {
        // A secret is taken as it stands: read as a number, "0012…" would lose its zeros.
        let value = match key.as_str() {
            "admin.token" => Value::from(text),
            _ => text.parse().unwrap_or_else(|never| match never {}),
        };
        layers = layers.merge(Serialized::default(key.as_str(), value));
    }
    for (key, value) in overrides {
        layers = layers.merge(Serialized::default(&key, value));
    }
    Ok((built_in, whole(&layers)?))
}

/// Reads the configuration. What cannot be read becomes a fault and gives way to the built-in value
/// (an entry of a list goes), so that everything behind it is read, too. The flag that comes back
/// says whether nothing had to go.
pub(super) fn read(
    mut values: Value,
    built_in: &Value,
    faults: &mut Faults,
) -> Option<(Config, bool)> {
    let mut told = BTreeSet::new();
    let mut gone = BTreeMap::<Vec<String>, usize>::new();
    loop {
        let error = match values.deserialize::<Config>() {
            Ok(config) => return Some((config, gone.is_empty())),
            Err(error) => error,
        };
        let (path, kind) = (error.path, error.kind);
        let mut setting = path.clone();
        if let Kind::MissingField(field) = &kind {
            setting.push(field.to_string());
        }
        // Entries are read in their order, so those that went stood before this one.
        let mut name = Vec::new();
        let mut entry = String::new();
        for (depth, step) in setting.iter_mut().enumerate() {
            if let Ok(index) = step.parse::<usize>() {
                let before = gone.get(&path[..depth]).copied().unwrap_or(0);
                *step = (index + before).to_string();
                entry = format!(" (entry {})", index + before + 1);
            } else {
                name.push(step.clone());
            }
        }
        if told.insert(setting) {
            faults.add(&name.join("."), message(&kind) + &entry);
        }
        match give_way(&mut values, built_in, &path) {
            Some(Gone::Entry(list)) => *gone.entry(list).or_default() += 1,
            Some(Gone::Key) => {}
            None => return None,
        }
    }
}

/// What was taken out.
enum Gone {
    Key,
    /// An entry of this list.
    Entry(Vec<String>),
}

/// Takes out what stands at `path`; `None` if nothing does.
fn give_way(values: &mut Value, built_in: &Value, path: &[String]) -> Option<Gone> {
    let (last, parents) = path.split_last()?;
    let mut parent = values;
    for step in parents {
        parent = if let Value::Array(_, list) = parent {
            list.get_mut(step.parse::<usize>().ok()?)?
        } else if let Value::Dict(_, dict) = parent {
            dict.get_mut(step)?
        } else {
            return None;
        };
    }
    if let Value::Array(_, list) = parent {
        let index = last.parse::<usize>().ok().filter(|index| *index < list.len())?;
        list.remove(index);
        return Some(Gone::Entry(parents.to_vec()));
    }
    let Value::Dict(_, dict) = parent else { return None };
    match built_in.find_ref(&path.join(".")) {
        Some(value) => dict.insert(last.clone(), value.clone()),
        None => Some(dict.remove(last)?),
    };
    Some(Gone::Key)
}

/// What is wrong, in words that do not repeat the value.
fn message(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            format!("there is no such key; here stand {}", known.join(", "))
        }
        Kind::MissingField(_) => "is missing".to_owned(),
        Kind::InvalidType(actual, expected) => {
            format!("must be {expected}, not {}", type_name(actual))
        }
        Kind::InvalidValue(_, expected) => format!("this value cannot be used ({expected})"),
        Kind::UnknownVariant(_, known) => format!("must be one of {}", known.join(", ")),
        // Of our own types, which say how a value is written; none of them is a secret.
        Kind::Message(text) => text.clone(),
        Kind::InvalidLength(..)
        | Kind::DuplicateField(_)
        | Kind::ISizeOutOfRange(_)
        | Kind::USizeOutOfRange(_)
        | Kind::Unsupported(_)
        | Kind::UnsupportedKey(..) => "this value cannot be used".to_owned(),
    }
}

fn type_name(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        Actual::Bytes(_)
        | Actual::Unit
        | Actual::Option
        | Actual::NewtypeStruct
        | Actual::Enum
        | Actual::UnitVariant
        | Actual::NewtypeVariant
        | Actual::TupleVariant
        | Actual::StructVariant
        | Actual::Other(_) => "something else",
    }
}

/// A layer of TOML text. Its errors say where they are, and leave out the line: a password may
/// stand in it.
fn toml(name: &str, text: &str) -> Result<Serialized<toml::Table>, ConfigError> {
    let table = text.parse::<toml::Table>().map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        ConfigError::one(name, format!("line {line}, column {column}: {}", error.message()))
    })?;
    Ok(Serialized::defaults(table))
}

fn whole(layers: &Figment) -> Result<Value, ConfigError> {
    let dict: Result<Dict, Error> = layers.extract();
    dict.map(Value::from).map_err(|error| ConfigError::one("(file)", message(&error.kind)))
}
