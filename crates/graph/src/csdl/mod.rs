//! The calling part of Graph's metadata as one table: every type, member and action, and what this
//! server makes of it. `$metadata`, `/openapi.json` and the big table of docs/graph-compat.md are
//! printed from it; `tests/csdl.rs` compares it with Microsoft's file and with what is rendered.

mod actions;
mod call;
mod json_schema;
mod markdown;
mod media;
mod notifications;
mod operations;
mod participants;
mod quality;
mod read;
mod xml;

use crate::compat::ApiVersion;

pub use actions::ACTIONS;
pub use json_schema::{components, parameters, reference};
pub use markdown::{actions as actions_in_markdown, types as types_in_markdown};
pub(crate) use read::check;
pub use xml::metadata;

/// Whose metadata declares something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// That of v1.0, and of beta with it.
    V1,
    /// That of beta only.
    Beta,
    /// Nobody's but ours.
    Ours,
}

/// What becomes of it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// Does what Graph's does.
    Implemented,
    /// Read, checked and kept, without effect.
    Ignored,
    /// An error says that it is not taken; an output never appears.
    Refused,
    /// Does something else, or less.
    Different,
}

/// What this server makes of something, why, and the test that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The verdict.
    pub here: Here,
    /// Empty only where it is implemented.
    pub why: &'static str,
    /// Name of a test function of this workspace.
    pub test: &'static str,
}

/// A property of a type, a parameter of an action, or a value of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its type: `Edm.…`, a name of [`TYPES`], or one of both in `Collection(…)`. Of an enumeration's
    /// value: its number.
    pub of: &'static str,
    /// Not nullable.
    pub is_required: bool,
    /// A navigation property: has an address of its own, and `$expand` shows it.
    pub is_navigation: bool,
    /// Whose it is.
    pub since: Since,
    /// `None`: as the type or action that it belongs to.
    pub own: Option<Row>,
}

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has an id.
    Entity,
    /// Has none.
    Complex,
    /// A set of names.
    Enumeration,
}

/// A type.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Its name, without `microsoft.graph.`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it derives from.
    pub base: Option<&'static str>,
    /// May have undeclared members.
    pub is_open: bool,
    /// There are only objects of derived types.
    pub is_abstract: bool,
    /// Whose it is.
    pub since: Since,
    /// Of the type itself, and of members without one of their own.
    pub row: Row,
    /// Its own members, without those of its base.
    pub members: &'static [Member],
}

/// An action, always bound.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// What it is bound to: a type or a collection of one.
    pub bound_to: &'static str,
    /// Its parameters, without the bound one.
    pub parameters: &'static [Member],
    /// What it answers; `None`: no body.
    pub returns: Option<&'static str>,
    /// Whose it is.
    pub since: Since,
    /// Of the action, and of parameters without one of their own.
    pub row: Row,
}

/// All types, by area.
pub const TYPES: [&[Type]; 6] = [
    call::TYPES,
    media::TYPES,
    operations::TYPES,
    participants::TYPES,
    notifications::TYPES,
    quality::TYPES,
];

/// All types in one line.
pub fn types() -> impl Iterator<Item = &'static Type> {
    TYPES.into_iter().flatten()
}

/// A type by its name.
pub fn find(name: &str) -> Option<&'static Type> {
    types().find(|found| found.name == name)
}

/// Names of the types that a version needs: those served, what their members are of, and what they
/// derive from.
pub fn served_types(version: ApiVersion) -> Vec<&'static str> {
    let served = |of: &&Type| of.is_served(version);
    let mut wanted: Vec<&'static str> = types().filter(served).map(|of| of.name).collect();
    let mut next = 0;
    while let Some(of) = wanted.get(next).copied().and_then(find) {
        let members = of.served_members(version).map(|member| item_of(member.of).0);
        for name in members.chain(of.base) {
            if find(name).is_some() && !wanted.contains(&name) {
                wanted.push(name);
            }
        }
        next += 1;
    }
    wanted
}

/// The members of a type with those of its bases, base first.
pub fn members(of: &Type) -> Vec<&'static Member> {
    let mut all = of.base.and_then(find).map(members).unwrap_or_default();
    all.extend(of.members);
    all
}

impl Since {
    /// Whether the metadata of a version has it.
    pub fn is_in(self, version: ApiVersion) -> bool {
        match self {
            Self::V1 | Self::Ours => true,
            Self::Beta => version == ApiVersion::Beta,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1.0",
            Self::Beta => "beta",
            Self::Ours => "ours",
        }
    }
}

impl Here {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Implemented => "implemented",
            Self::Ignored => "accepted and ignored",
            Self::Refused => "refused",
            Self::Different => "different",
        }
    }
}

impl Row {
    const fn new(here: Here, why: &'static str, test: &'static str) -> Self {
        Self { here, why, test }
    }

    const fn done(test: &'static str) -> Self {
        Self::new(Here::Implemented, "", test)
    }

    const fn ignored(why: &'static str, test: &'static str) -> Self {
        Self::new(Here::Ignored, why, test)
    }

    const fn refused(why: &'static str, test: &'static str) -> Self {
        Self::new(Here::Refused, why, test)
    }

    const fn differs(why: &'static str, test: &'static str) -> Self {
        Self::new(Here::Different, why, test)
    }
}

/// A placeholder of evolvable enumerations.
const FUTURE: Row =
    Row::refused("never sent, and not taken", "no_placeholder_of_an_enumeration_is_taken");

const fn member(name: &'static str, of: &'static str) -> Member {
    let since = Since::V1;
    Member { name, of, is_required: false, is_navigation: false, since, own: None }
}

impl Member {
    const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    const fn navigation(mut self) -> Self {
        self.is_navigation = true;
        self
    }

    const fn beta(mut self) -> Self {
        self.since = Since::Beta;
        self
    }

    const fn ours(mut self) -> Self {
        self.since = Since::Ours;
        self
    }

    const fn is(mut self, row: Row) -> Self {
        self.own = Some(row);
        self
    }

    /// The verdict on it as a member of something with this one.
    pub fn row(&self, of: Row) -> Row {
        self.own.unwrap_or(of)
    }
}

const fn new_type(name: &'static str, kind: Kind, row: Row, members: &'static [Member]) -> Type {
    let (is_open, is_abstract, since) = (false, false, Since::V1);
    Type { name, kind, base: None, is_open, is_abstract, since, row, members }
}

const fn entity(name: &'static str, row: Row, members: &'static [Member]) -> Type {
    new_type(name, Kind::Entity, row, members).derives("entity")
}

/// An entity without a base.
const fn root(name: &'static str, row: Row, members: &'static [Member]) -> Type {
    new_type(name, Kind::Entity, row, members)
}

const fn complex(name: &'static str, row: Row, members: &'static [Member]) -> Type {
    new_type(name, Kind::Complex, row, members)
}

const fn enumeration(name: &'static str, row: Row, members: &'static [Member]) -> Type {
    new_type(name, Kind::Enumeration, row, members)
}

impl Type {
    const fn derives(mut self, base: &'static str) -> Self {
        self.base = Some(base);
        self
    }

    const fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    const fn without_objects(mut self) -> Self {
        self.is_abstract = true;
        self
    }

    const fn beta(mut self) -> Self {
        self.since = Since::Beta;
        self
    }

    const fn ours(mut self) -> Self {
        self.since = Since::Ours;
        self
    }

    /// Whether objects of it appear, or are taken, in this version.
    pub fn is_served(&self, version: ApiVersion) -> bool {
        self.since.is_in(version) && self.row.here != Here::Refused
    }

    /// Its own members that appear, or are taken, in this version.
    pub fn served_members(&self, version: ApiVersion) -> impl Iterator<Item = &'static Member> {
        let row = self.row;
        self.members
            .iter()
            .filter(move |m| m.since.is_in(version) && m.row(row).here != Here::Refused)
    }
}

impl Action {
    /// Whether it is taken in this version.
    pub fn is_served(&self, version: ApiVersion) -> bool {
        self.since.is_in(version) && self.row.here != Here::Refused
    }

    /// Its parameters that are taken in this version.
    pub fn served_parameters(&self, version: ApiVersion) -> impl Iterator<Item = &'static Member> {
        let row = self.row;
        self.parameters
            .iter()
            .filter(move |m| m.since.is_in(version) && m.row(row).here != Here::Refused)
    }
}

/// The type inside `Collection(…)`, and whether there was one.
pub fn item_of(of: &str) -> (&str, bool) {
    match of.strip_prefix("Collection(").and_then(|rest| rest.strip_suffix(')')) {
        Some(item) => (item, true),
        None => (of, false),
    }
}
