//! Checks a value of a request against the table, member by member. For what is checked and not
//! kept: bodies that mean something have a reader of their own in [`crate::action`].

use super::{Kind, find, item_of, members};
use crate::json::{BodyError, Extras, Member};

/// Whether a value is of a type: `Edm.…`, a name in the table, or a `Collection(…)` of one.
///
/// # Errors
/// The first member that is not.
pub(crate) fn check(value: &Member<'_>, of: &str) -> Result<(), BodyError> {
    let (of, is_list) = item_of(of);
    if is_list {
        return value.items()?.iter().try_for_each(|item| check(item, of));
    }
    match of {
        "Edm.String" => value.string().map(drop),
        "Edm.Boolean" => value.boolean().map(drop),
        "Edm.Int32" => value.int32().map(drop),
        "Edm.Int64" => match value.value().as_i64() {
            Some(_) => Ok(()),
            None => Err(value.unexpected("a whole number of 64 bits")),
        },
        "Edm.Double" => {
            // OData JSON §7.1.
            let is_special = |text: &str| ["INF", "-INF", "NaN"].contains(&text);
            match value.value().is_number() || value.value().as_str().is_some_and(is_special) {
                true => Ok(()),
                false => Err(value.unexpected("a number")),
            }
        }
        "Edm.Guid" => match uuid::Uuid::try_parse(value.string()?) {
            Ok(_) => Ok(()),
            Err(_) => Err(value.unexpected("a GUID")),
        },
        "Edm.Duration" => match is_duration(value.string()?) {
            true => Ok(()),
            false => Err(value.unexpected("a duration such as PT0.05S")),
        },
        name => check_object(value, name),
    }
}

fn check_object(value: &Member<'_>, name: &str) -> Result<(), BodyError> {
    let of = find(name).expect("the table names its own types only, as its test shows");
    if of.kind == Kind::Enumeration {
        let names: Vec<_> = of.members.iter().map(|value| (value.name, ())).collect();
        return value.one_of(&names);
    }
    let declared: Vec<&'static str> = members(of).iter().map(|member| member.name).collect();
    let extras = if of.is_open { Extras::Allowed } else { Extras::Undeclared };
    let object = value.members(&declared, extras)?;
    // Of an abstract type there are types that the table does not have.
    if of.is_abstract {
        object.type_name()?;
    } else {
        object.expect_type(name)?;
    }
    for member in members(of) {
        match object.get(member.name) {
            Some(found) => check(&found, member.of)?,
            None if member.is_required => {
                object.require(member.name, &format!("a value of type {}", member.of))?;
            }
            None => {}
        }
    }
    Ok(())
}

/// `xs:dayTimeDuration`, as OData ABNF has it: `-P1DT2H3M4.5S`.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some(text) = text.strip_prefix('P') else { return false };
    let (days, time) = match text.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (text, None),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let has_days = match days.strip_suffix('D') {
        Some(days) if is_number(days) => true,
        None if days.is_empty() => false,
        Some(_) | None => return false,
    };
    let Some(mut rest) = time else { return has_days };
    let mut found = false;
    for unit in ['H', 'M', 'S'] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if !is_number(whole) || !is_number(fraction) || (unit != 'S' && number.contains('.')) {
            return false;
        }
        (rest, found) = (after, true);
    }
    found && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_days_and_time() {
        for good in ["PT0S", "P1D", "-P1DT2H3M4.5S", "PT0.0005S", "PT36H", "P1DT1M"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "P", "PT", "P1DT", "1S", "PT1", "PT.5S", "PT1.5M", "P1Y", "PT1S1M", "PTS"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }
}
