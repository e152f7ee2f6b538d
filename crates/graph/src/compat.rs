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

/// Setting `[compat] mode`.
///
/// | | open | strict-beta | strict-v1 |
/// |---|---|---|---|
/// | `loop` and `prompts[].loop` on `/beta` | honoured | honoured | refused |
/// | `loop` and `prompts[].loop` on `/v1.0` | honoured | refused | refused |
/// | modality `unknown` on `/beta` | accepted | accepted | refused |
/// | modality `unknown` on `/v1.0` | accepted | refused | refused |
/// | undeclared members of closed types and actions | ignored | refused | refused |
/// | other case of member names and enum values | accepted | refused | refused |
/// | prompt or mediaConfig without `@odata.type` | inferred | refused | refused |
/// | answer without `callbackUri` or `acceptedModalities` | accepted | refused | refused |
/// | create without `requestedModalities` | audio | refused | refused |
/// | a body without `Content-Type` | taken for JSON | refused | refused |
/// | `all` of cancelMediaProcessing | honoured | refused | refused |
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
