//! System query options of a GET, and `Prefer: odata.maxpagesize` (OData 4.01 part 1 §8.2.8, §11.2):
//! `$select`, `$expand`, `$top`, `$skiptoken`, `$format`. Others are ignored in open mode and refused
//! in the strict ones; a value that cannot be read is refused in every mode.

use url::form_urlencoded;

use super::page::Position;
use crate::{
    compat::Compat,
    error::ApiError,
    json::{VALUE_ECHO, echo},
};

/// Most items of a page, as in Graph.
pub const MAX_PAGE: usize = 999;
/// Items of a page if the client does not say how many. Ours.
pub const PAGE: usize = 100;

/// What a resource can do with options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One object, with the parts of it that `$expand` can show.
    Object(&'static [&'static str]),
    /// A list that has pages.
    List,
    /// Not read with GET: only the names of options are looked at.
    Action,
}

/// One name in `$expand`, with its own `$select`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expand {
    /// One of the names in [`Shape::Object`].
    pub name: &'static str,
    /// `id,status` of `operations($select=id,status)`; empty: everything.
    pub selection: String,
}

/// The options of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// As it stands; empty: everything.
    pub selection: String,
    /// Without doubles.
    pub expand: Vec<Expand>,
    /// `$top`, which in Graph is the length of a page and not of all of them.
    pub top: Option<usize>,
    /// `odata.maxpagesize`, if the client has that preference.
    pub preferred: Option<usize>,
    /// Behind which item the page begins.
    pub after: Option<Position>,
}

impl Query {
    /// Reads the part of a request's URI behind `?`, and its `Prefer` headers.
    ///
    /// # Errors
    /// [`ApiError::BotQuery`] that names the option.
    pub fn parse<'a>(
        query: &str,
        prefer: impl IntoIterator<Item = &'a str>,
        shape: Shape,
        compat: Compat,
    ) -> Result<Self, ApiError> {
        let mut read = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !name.starts_with('$') {
                continue;
            }
            // OData 4.01 part 1 §11.2.1: names in any case.
            let name = name.to_ascii_lowercase();
            if seen.contains(&name) {
                return Err(wrong(&name, "given twice, send it once"));
            }
            read.take(&name, &value, shape, compat)?;
            seen.push(name);
        }
        if shape == Shape::List {
            read.preferred = prefer.into_iter().find_map(max_page_size);
        }
        Ok(read)
    }

    fn take(
        &mut self,
        name: &str,
        value: &str,
        shape: Shape,
        compat: Compat,
    ) -> Result<(), ApiError> {
        match (name, shape) {
            ("$select", Shape::Object(_) | Shape::List) => value.clone_into(&mut self.selection),
            ("$expand", Shape::Object(known)) => self.expand = expand(value, known)?,
            ("$expand", Shape::List) => {
                return Err(wrong(name, "a list expands nothing, ask for one"));
            }
            ("$top", Shape::List) => match value.parse() {
                Ok(top @ 1..=MAX_PAGE) => self.top = Some(top),
                Ok(_) | Err(_) => {
                    return Err(wrong(
                        name,
                        &format!("1 to {MAX_PAGE} items, not {}", shown(value)),
                    ));
                }
            },
            ("$skiptoken", Shape::List) => match Position::parse(value) {
                Some(position) => self.after = Some(position),
                None => {
                    return Err(wrong(
                        name,
                        "not one of this server, take it from @odata.nextLink",
                    ));
                }
            },
            ("$format", _) => {
                let kind = value.split(';').next().unwrap_or_default().trim();
                if !["json", "application/json"].contains(&kind) {
                    return Err(wrong(
                        name,
                        &format!("json is what there is, not {}", shown(value)),
                    ));
                }
            }
            ("$select" | "$expand" | "$top" | "$skiptoken", Shape::Object(_) | Shape::Action) => {
                if compat != Compat::Open {
                    return Err(wrong(name, "means nothing for this request, leave it out"));
                }
            }
            (_, Shape::Object(_) | Shape::List | Shape::Action) => {
                if compat != Compat::Open {
                    let known = "$select, $expand, $top, $skiptoken and $format";
                    return Err(wrong(name, &format!("not supported, {known} are")));
                }
            }
        }
        Ok(())
    }

    /// How many items a page has.
    pub fn page(&self) -> usize {
        match (self.top, self.preferred) {
            (Some(top), Some(preferred)) => top.min(preferred),
            (Some(length), None) | (None, Some(length)) => length,
            (None, None) => PAGE,
        }
    }
}

/// The options of a request for the page behind an item: the same, with another `$skiptoken`.
pub fn continued(query: &str, after: &Position) -> String {
    let mut out = String::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !name.eq_ignore_ascii_case("$skiptoken") {
            push(&mut out, &name, &value);
        }
    }
    push(&mut out, "$skiptoken", &after.to_string());
    out
}

fn push(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    // The dollar may stand as it is (RFC 3986 §3.4), and people read it.
    match name.strip_prefix('$') {
        Some(rest) => {
            out.extend(std::iter::once("$").chain(form_urlencoded::byte_serialize(rest.as_bytes())))
        }
        None => out.extend(form_urlencoded::byte_serialize(name.as_bytes())),
    }
    out.push('=');
    out.extend(form_urlencoded::byte_serialize(value.as_bytes()));
}

/// `operations,participants($select=id)` or `*`.
fn expand(value: &str, known: &'static [&'static str]) -> Result<Vec<Expand>, ApiError> {
    let mut all: Vec<Expand> = Vec::new();
    for item in split_outside(value) {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        if item == "*" {
            let missing = known.iter().filter(|name| !all.iter().any(|e| e.name == **name));
            let missing: Vec<_> =
                missing.map(|name| Expand { name, selection: String::new() }).collect();
            all.extend(missing);
            continue;
        }
        let (name, options) = match item.split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
            None => (item, ""),
        };
        let Some(name) = known.iter().find(|own| own.eq_ignore_ascii_case(name.trim())) else {
            let known = match known {
                [] => "nothing can be expanded here".to_owned(),
                known => format!("{} can be", known.join(", ")),
            };
            return Err(wrong("$expand", &format!("{} cannot be expanded, {known}", shown(name))));
        };
        if all.iter().any(|expanded| expanded.name == *name) {
            return Err(wrong("$expand", &format!("{name} is given twice, send it once")));
        }
        let selection = match options.trim().split_once('=') {
            Some((option, selection)) if option.trim().eq_ignore_ascii_case("$select") => selection,
            None if options.trim().is_empty() => "",
            Some(_) | None => {
                let text = format!("of {name} only $select is taken, not {}", shown(options));
                return Err(wrong("$expand", &text));
            }
        };
        all.push(Expand { name, selection: selection.to_owned() });
    }
    Ok(all)
}

/// Splits at commas that are in no parentheses.
fn split_outside(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// `odata.maxpagesize=50`, also among others and without the prefix (4.01). What cannot be honoured
/// is no error (RFC 7240 §2).
fn max_page_size(prefer: &str) -> Option<usize> {
    prefer.split(',').find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let size: usize = value.trim().trim_matches('"').parse().ok()?;
        let is_it = matches!(name.as_str(), "odata.maxpagesize" | "maxpagesize");
        (is_it && size > 0).then_some(size.min(MAX_PAGE))
    })
}

fn shown(text: &str) -> String {
    format!("\"{}\"", echo(text, VALUE_ECHO))
}

fn wrong(option: &str, what: &str) -> ApiError {
    ApiError::BotQuery(format!("{}: {what}", echo(option, VALUE_ECHO)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALL: Shape = Shape::Object(&["operations", "participants"]);

    fn read(query: &str, shape: Shape) -> Result<Query, String> {
        Query::parse(query, [], shape, Compat::Open).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_in_any_case_and_encoding() {
        let query = read("$select=id,state&%24Top=7&x=1", Shape::List).expect("it is good");
        assert_eq!((query.selection.as_str(), query.page()), ("id,state", 7));
        assert_eq!(read("", Shape::List).expect("none").page(), PAGE);
        let query = read("$expand=Participants($select=id, info),operations", CALL).expect("good");
        let expanded: Vec<_> =
            query.expand.iter().map(|e| (e.name, e.selection.as_str())).collect();
        assert_eq!(expanded, [("participants", "id, info"), ("operations", "")]);
        let all = read("$expand=*&$format=json", CALL).expect("good").expand;
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn a_wrong_option_is_named_in_every_mode() {
        let table = [
            ("$top=0", Shape::List, "$top: 1 to 999 items, not \"0\""),
            ("$top=1000", Shape::List, "$top: 1 to 999 items, not \"1000\""),
            ("$top=ten", Shape::List, "$top: 1 to 999 items, not \"ten\""),
            ("$top=1&$TOP=1", Shape::List, "$top: given twice, send it once"),
            (
                "$skiptoken=7",
                Shape::List,
                "$skiptoken: not one of this server, take it from @odata.nextLink",
            ),
            ("$expand=operations", Shape::List, "$expand: a list expands nothing, ask for one"),
            (
                "$expand=chats",
                CALL,
                "$expand: \"chats\" cannot be expanded, operations, participants can be",
            ),
            (
                "$expand=operations($top=1)",
                CALL,
                "$expand: of operations only $select is taken, not \"$top=1\"",
            ),
            (
                "$expand=operations,operations",
                CALL,
                "$expand: operations is given twice, send it once",
            ),
            (
                "$expand=x",
                Shape::Object(&[]),
                "$expand: \"x\" cannot be expanded, nothing can be expanded here",
            ),
            ("$format=xml", CALL, "$format: json is what there is, not \"xml\""),
        ];
        for (query, shape, expected) in table {
            assert_eq!(read(query, shape).expect_err(query), expected, "{query}");
        }
    }

    #[test]
    fn options_that_nobody_serves_are_ignored_in_open_mode_and_refused_in_the_strict_ones() {
        for (query, shape) in [
            ("$filter=state eq 'established'", Shape::List),
            ("$count=true", Shape::List),
            ("$orderby=id", CALL),
            ("$top=5", CALL),
            ("$select=id", Shape::Action),
            ("$dance=1", Shape::Action),
        ] {
            assert_eq!(read(query, shape), Ok(Query::default()), "{query}");
            for compat in [Compat::StrictBeta, Compat::StrictV1] {
                let error = Query::parse(query, [], shape, compat).expect_err("it is strict");
                let (name, _) = query.split_once('=').expect("an option");
                assert!(error.to_string().starts_with(&format!("{name}: ")), "{error}");
                assert_eq!((error.status(), error.code()), (400, "BadRequest"));
            }
        }
        // What is no option of OData's is nobody's business.
        let plain = Query::parse("client-request-id=1", [], CALL, Compat::StrictV1);
        assert_eq!(plain, Ok(Query::default()));
    }

    #[test]
    fn a_preference_makes_pages_shorter_and_is_never_an_error() {
        let page = |query: &str, prefer: &[&str]| {
            let read = Query::parse(query, prefer.iter().copied(), Shape::List, Compat::StrictV1);
            read.expect("it is good").page()
        };
        assert_eq!(page("", &["odata.maxpagesize=5"]), 5);
        assert_eq!(page("", &["return=minimal", "respond-async, maxpagesize=\"6\""]), 6);
        assert_eq!(page("$top=3", &["odata.maxpagesize=5"]), 3);
        assert_eq!(page("$top=30", &["odata.maxpagesize=5"]), 5);
        assert_eq!(page("", &["odata.maxpagesize=0"]), PAGE);
        assert_eq!(page("", &["odata.maxpagesize=x", "y"]), PAGE);
        assert_eq!(page("", &["odata.maxpagesize=100000"]), MAX_PAGE);
    }

    #[test]
    fn the_next_page_is_asked_for_with_the_same_options() {
        let after = Position { rank: -7, id: "a b".to_owned() };
        let next = continued("$top=2&$skiptoken=old&$select=id, status&x=%26", &after);
        let (options, token) = next.rsplit_once("&$skiptoken=").expect("a token");
        assert_eq!(options, "$top=2&$select=id%2C+status&x=%26");
        assert_eq!(Position::parse(token), Some(after));
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in r"[$a-z=&,()%0-9*é+]{0,60}", prefer in r"[a-z.=,;0-9 ]{0,30}") {
            for shape in [CALL, Shape::List, Shape::Action] {
                let _ = Query::parse(&query, [prefer.as_str()], shape, Compat::Open);
            }
        }
    }
}
