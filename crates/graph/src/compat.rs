//! Which version of the API is spoken, and how much beyond its documents is accepted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Root of a request's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ApiVersion {
    /// `/v1.0`
    #[serde(rename = "v1.0")]
    V1,
    /// `/beta`
    #[serde(rename = "beta")]
    Beta,
}

/// The path segment: `v1.0` or `beta`.
impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1.0",
            Self::Beta => "beta",
        })
    }
}

/// Setting `[compat] mode`. What the modes differ in is in [`RULES`].
///
/// Undeclared members of OData open types (`call`, identities, …) are kept in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Honours what real bots send and what does no harm.
    #[default]
    Open,
    /// Each version is held to its own metadata.
    StrictBeta,
    /// Both versions are held to the metadata of v1.0.
    StrictV1,
}

/// What a mode does with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken; the text says how.
    Takes(&'static str),
    /// Refused, with an error that names it.
    Refuses,
}

/// One line of the table of the modes: what a client may send, and what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What is sent.
    pub what: &'static str,
    /// On one version only.
    pub on: Option<ApiVersion>,
    /// In open, strict-beta and strict-v1.
    pub outcomes: [Outcome; 3],
    /// Name of a test function of this workspace.
    pub test: &'static str,
}

/// Everything that the modes differ in.
pub const RULES: &[Rule] = {
    use ApiVersion::{Beta, V1};
    use Outcome::{Refuses, Takes};
    const READ: &str = "each_mode_takes_and_refuses_what_its_row_says";
    const fn rule(
        what: &'static str,
        on: Option<ApiVersion>,
        outcomes: [Outcome; 3],
        test: &'static str,
    ) -> Rule {
        Rule { what, on, outcomes, test }
    }
    /// Honoured, unless the mode is strict.
    const fn lenient(what: &'static str, how: &'static str, test: &'static str) -> Rule {
        rule(what, None, [Takes(how), Refuses, Refuses], test)
    }
    &[
        rule("`loop` of playPrompt", Some(V1), [Takes("honoured"), Refuses, Refuses], READ),
        rule(
            "`loop` of playPrompt",
            Some(Beta),
            [Takes("honoured"), Takes("honoured"), Refuses],
            READ,
        ),
        rule("`prompts[].loop`", Some(V1), [Takes("honoured"), Refuses, Refuses], READ),
        rule("`prompts[].loop`", Some(Beta), [Takes("honoured"), Takes("honoured"), Refuses], READ),
        rule("modality `unknown`", Some(V1), [Takes("kept"), Refuses, Refuses], READ),
        rule("modality `unknown`", Some(Beta), [Takes("kept"), Takes("kept"), Refuses], READ),
        rule(
            "`mediaConfig.removeFromDefaultAudioGroup`",
            Some(V1),
            [Takes("kept"), Refuses, Refuses],
            READ,
        ),
        rule(
            "`mediaConfig.removeFromDefaultAudioGroup`",
            Some(Beta),
            [Takes("kept"), Takes("kept"), Refuses],
            READ,
        ),
        rule(
            "`ringingTimeoutInSeconds`",
            Some(V1),
            [Takes("honoured"), Takes("ignored"), Takes("ignored")],
            READ,
        ),
        rule(
            "`ringingTimeoutInSeconds`",
            Some(Beta),
            [Takes("honoured"), Takes("honoured"), Takes("ignored")],
            READ,
        ),
        lenient("an undeclared member of an action", "ignored", READ),
        lenient("an undeclared member of a closed type", "ignored", READ),
        rule("an undeclared member of an open type", None, [Takes("kept"); 3], READ),
        lenient("a member's name in another case", "read", READ),
        lenient("a value of an enumeration in another case", "read", READ),
        lenient("a prompt without `@odata.type`", "a mediaPrompt", READ),
        lenient("a mediaConfig without `@odata.type`", "by its members", READ),
        lenient("answer without `callbackUri`", "the bot's webhook", READ),
        lenient("answer without `acceptedModalities`", "audio", READ),
        lenient("create without `requestedModalities`", "audio", READ),
        lenient("`all` of cancelMediaProcessing", "honoured", READ),
        lenient(
            "members of playPrompt that begin with `graphophone`",
            "honoured",
            "strict_modes_refuse_each_by_its_name",
        ),
        lenient(
            "`graphophone.pause` and its like on an operation",
            "honoured",
            "strict_modes_know_none_of_it",
        ),
        lenient(
            "prompts that are MP3, FLAC or Ogg, and `graphophone:` URIs",
            "played",
            "strict_modes_refuse_compressed_files_by_name_and_ours_altogether",
        ),
        lenient(
            "a body without `Content-Type`",
            "read as JSON",
            "a_body_without_a_type_is_json_in_open_mode_only",
        ),
        lenient(
            "a query option that is not supported",
            "ignored",
            "unknown_options_are_ignored_in_open_mode_and_named_in_the_strict_ones",
        ),
        lenient(
            "`PATCH` of a call that changes nothing",
            "answered with the call",
            "a_patch_that_changes_nothing_is_answered_with_the_call_in_open_mode_only",
        ),
        lenient(
            "WAV that is not 16 kHz mono 16-bit",
            "played",
            "strict_modes_play_the_documented_format_only_and_name_what_they_got",
        ),
    ]
};

/// The rules for people: a table of docs/graph-compat.md.
pub fn rules_in_markdown() -> String {
    let mut out = String::from(
        "| sent | on | open | strict-beta | strict-v1 | test |\n|---|---|---|---|---|---|\n",
    );
    for rule in RULES {
        let on = rule.on.map_or_else(|| "both".to_owned(), |version| version.to_string());
        let [open, beta, v1] = rule.outcomes.map(|outcome| match outcome {
            Outcome::Takes(how) => how,
            Outcome::Refuses => "refused",
        });
        let row = format!("| {} | {on} | {open} | {beta} | {v1} | {} |\n", rule.what, rule.test);
        out.push_str(&row);
    }
    out
}

/// Both together: what one request is read by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    pub(crate) version: ApiVersion,
    pub(crate) compat: Compat,
}

impl Dialect {
    pub(crate) fn is_open(self) -> bool {
        self.compat == Compat::Open
    }

    /// Whether members that only the metadata of beta has are accepted.
    pub(crate) fn takes_beta(self) -> bool {
        match self.compat {
            Compat::Open => true,
            Compat::StrictBeta => self.version == ApiVersion::Beta,
            Compat::StrictV1 => false,
        }
    }
}
