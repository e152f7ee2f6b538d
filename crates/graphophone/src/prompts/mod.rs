//! Prompts: fetched from where the guard allows, decoded and encoded once, shared by all calls.
//!
//! A prompt's way: [`Prompts::prepare`] looks on the shelf (`cache`), joins or starts a download
//! (`flight`), waits for a slot (`gate`), GETs into a spool file (`fetch`) over a connection that
//! the [`Guard`] allowed (`connect`), and turns the file into packets' bytes (`audio`) on a blocking
//! thread. Prompts with a `graphophone:` URI are made, read or spoken (`own`) instead of fetched.

use std::{path::PathBuf, time::Duration};

use graphophone_call::{AppId, TenantId};
use graphophone_media::prompt::Accept;
use rustls::pki_types::CertificateDer;

mod address;
mod allow;
mod audio;
mod cache;
mod connect;
mod directory;
mod fetch;
mod fetch_error;
mod flight;
mod freshness;
mod gate;
mod guard;
mod lru;
mod machine;
mod outcome;
mod own;
#[cfg(test)]
mod tests;

pub use address::AddressKind;
pub use allow::{AllowRule, ConfigRuleInvalid};
pub use cache::Prompts;
pub(crate) use connect::{Connector, roots};
pub use fetch::FetchLimits;
pub use fetch_error::FetchError;
pub(crate) use fetch_error::explain;
pub use gate::GateLimits;
pub use guard::{Guard, GuardSettings, MAX_URI, Refusal, UriFault};
pub(crate) use guard::{SystemResolver, origin};
pub use outcome::{FormatError, PrepareError, Prepared, to_result};
pub use own::{
    OwnPromptError, SpeechEngine, SpeechSettings, Upload, UploadError, UploadFailed, UploadLimits,
    Uploads,
};

/// Whose prompt it is. Applications never share a cache entry.
pub type Owner = (TenantId, AppId);

/// How prompts are fetched and kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where downloaded files lie; made if need be, mode 0700, for one server at a time.
    pub directory: PathBuf,
    /// Which audio formats are played. Default: all.
    pub accept: Accept,
    /// Bounds of one download.
    pub fetch: FetchLimits,
    /// How many downloads run and wait.
    pub gate: GateLimits,
    /// Bytes of kept files. Default 1 GiB. Files in use may exceed it, and so do running downloads
    /// (at most [`GateLimits::total`] × [`FetchLimits::max_bytes`]).
    pub disk_budget: u64,
    /// Bytes of encoded audio, which is kept in every codec. Default 256 MiB, more than four hours.
    /// Audio in use may exceed it.
    pub memory_budget: u64,
    /// Longest prompt. Default 1 h: decoding one takes up to ~250 MiB while it is under way.
    pub max_duration: Duration,
    /// Freshness of a prompt with a resourceId whose server does not say. Default 5 min.
    pub default_freshness: Duration,
    /// Longest freshness a server may ask for. Default 24 h.
    pub max_freshness: Duration,
    /// Uploaded prompts. Default: in `uploads` below the directory, 256 MiB.
    pub uploads: UploadLimits,
    /// The speech engine. Default: none.
    pub speech: Option<SpeechSettings>,
    /// Certificate authorities trusted in addition to the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Settings {
    /// The defaults, with downloads in `directory`.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let uploads =
            UploadLimits { directory: directory.join("uploads"), budget: 256 * 1024 * 1024 };
        Self {
            directory,
            uploads,
            speech: None,
            accept: Accept::Any,
            fetch: FetchLimits::default(),
            gate: GateLimits::default(),
            disk_budget: 1024 * 1024 * 1024,
            memory_budget: 256 * 1024 * 1024,
            max_duration: Duration::from_secs(60 * 60),
            default_freshness: Duration::from_secs(5 * 60),
            max_freshness: Duration::from_secs(24 * 60 * 60),
            extra_roots: Vec::new(),
        }
    }
}

/// A door for the targets in `fuzz/`.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use axum::http::HeaderMap;

    /// For how long a prompt server's response is fresh.
    pub fn fresh_for(headers: &HeaderMap) -> Option<std::time::Duration> {
        super::freshness::CachePolicy::of(headers).fresh_for
    }
}
