//! What becomes of preparing a prompt, and the `resultInfo` that says so.

use std::{io, sync::Arc, time::Duration};

use graphophone_call::ResultInfo;
use graphophone_media::{
    compressed::CompressedError,
    prompt::{EncodedPrompt, Sha256, ShapeError},
    wav::WavError,
};

use super::{fetch_error::FetchError, own::OwnPromptError};

/// A prompt that can be played.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The audio for the codec asked for, shared by everyone who plays it.
    pub encoded: Arc<EncodedPrompt>,
    /// Playing time.
    pub duration: Duration,
    /// Digest of the decoded audio.
    pub sha256: Sha256,
}

impl From<Arc<EncodedPrompt>> for Prepared {
    fn from(encoded: Arc<EncodedPrompt>) -> Self {
        Self { duration: encoded.duration(), sha256: encoded.sha256, encoded }
    }
}

/// Why a file is not audio that is played.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum FormatError {
    /// It is, or should be, a WAV file.
    Wav(#[from] WavError),
    /// It is MP3, FLAC or Ogg.
    Compressed(#[from] CompressedError),
}

/// Why a prompt cannot be played. URIs are without their query, which may hold a signature.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PrepareError {
    /// The file did not arrive.
    #[error("the prompt {uri} could not be downloaded")]
    Download {
        /// As the bot wrote it, without query.
        uri: String,
        /// What happened.
        #[source]
        source: FetchError,
    },
    /// Too many downloads are waiting already, or for too long.
    #[error("the prompt {uri} waited in vain for a free download slot")]
    Busy {
        /// As the bot wrote it, without query.
        uri: String,
    },
    /// The file is not audio we play.
    #[error("the prompt {uri} is not playable")]
    Format {
        /// As the bot wrote it, without query.
        uri: String,
        /// Content-Type of the response.
        content_type: Option<String>,
        /// What was found.
        #[source]
        source: Arc<FormatError>,
    },
    /// It cannot be played in the way it was asked for.
    #[error("the prompt {uri} cannot be played so")]
    Shape {
        /// As the bot wrote it, without query.
        uri: String,
        /// Why not.
        #[source]
        source: ShapeError,
    },
    /// A prompt of this server's own is not there.
    #[error("the prompt {uri} is not there")]
    Own {
        /// As the bot wrote it, without query.
        uri: String,
        /// Why not.
        #[source]
        source: OwnPromptError,
    },
    /// The audio goes on for longer than a prompt may.
    #[error("the prompt {uri} is longer than {limit:?}")]
    TooLong {
        /// As the bot wrote it, without query.
        uri: String,
        /// [`super::Settings::max_duration`].
        limit: Duration,
    },
    /// Our own fault: the cache directory or a crashed task.
    #[error("the prompt {uri} could not be processed by the server")]
    Internal {
        /// As the bot wrote it, without query.
        uri: String,
        /// What the system said; `None` if a task panicked.
        #[source]
        source: Option<Arc<io::Error>>,
    },
}

/// The `resultInfo` of the operation that wanted the prompt (spec/api.md §3.5).
pub fn to_result(error: &PrepareError) -> ResultInfo {
    match error {
        PrepareError::Download { uri, source: FetchError::SpoolFailed(_) }
        | PrepareError::Own { uri, source: OwnPromptError::Disk(_) }
        | PrepareError::Internal { uri, .. } => {
            ResultInfo::new(500, 8511, format!("Play prompt failed. {uri}: server error."))
        }
        PrepareError::Download { uri, source } => {
            ResultInfo::download_failed(&format!("{uri}: {source}."))
        }
        PrepareError::Shape { uri, source } => ResultInfo::format_invalid(&format!(
            "{uri}: graphophoneGainDb or graphophoneStartMs: {source}."
        )),
        PrepareError::Own { uri, source } => {
            ResultInfo::download_failed(&format!("{uri}: {source}."))
        }
        PrepareError::Busy { uri } => ResultInfo::download_failed(&format!(
            "{uri}: too many downloads are under way, try again later."
        )),
        PrepareError::TooLong { uri, limit } => ResultInfo::format_invalid(&format!(
            "{uri}: the audio is longer than {limit:?}, the limit (prompts.max_duration)."
        )),
        PrepareError::Format { uri, content_type, source } => {
            let sent = content_type.as_deref().map_or_else(String::new, |content_type| {
                format!(" (sent as Content-Type {content_type})")
            });
            ResultInfo::format_invalid(&format!("{uri}: {source}{sent}."))
        }
    }
}

/// A URI fit for messages and logs: no credentials, query or fragment, and not endless.
pub(crate) fn shown(uri: &str) -> String {
    const LONGEST: usize = 200;
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    let bare = &uri[..end];
    // Credentials make a URI invalid; their message must not repeat them.
    let bare = match bare.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.find('/').unwrap_or(rest.len());
            let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[host..])
        }
        None => bare.to_owned(),
    };
    let mut text: String = bare.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if bare.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;
    use crate::prompts::{Refusal, UriFault};

    const URI: &str = "https://cdn.test/a.wav";

    #[test]
    fn every_fault_has_its_code_and_names_its_cause() {
        let host = || "https://cdn.test".to_owned();
        let limit = Duration::from_secs(5);
        let downloads = [
            (FetchError::Refused(Refusal::BotUri(UriFault::Port)), "names port 0"),
            (
                FetchError::PeerNameUnknown { host: host(), source: Arc::from(Box::from("?")) },
                "https://cdn.test cannot be resolved",
            ),
            (
                FetchError::PeerUnreachable {
                    host: host(),
                    kind: io::ErrorKind::ConnectionRefused,
                },
                "https://cdn.test cannot be connected to: connection refused",
            ),
            (FetchError::PeerTls { host: host(), reason: "expired".into() }, "failed: expired"),
            (FetchError::PeerConnectTimeout { host: host(), limit }, "no connection within 5s"),
            (FetchError::PeerFirstByteTimeout { host: host(), limit }, "no response within 5s"),
            (
                FetchError::PeerTooSlow { host: host(), received: 7, window: limit, floor: 1_000 },
                "sent 7 bytes in the last 5s, less than 1000 bytes per second",
            ),
            (FetchError::PeerTotalTimeout { limit, received: 9 }, "within 5s: 9 bytes received"),
            (
                FetchError::PeerStatus {
                    host: host(),
                    status: StatusCode::NOT_FOUND,
                    content_type: Some("text/html".into()),
                    begins: b"<h1>\"".to_vec(),
                },
                "answered 404 Not Found, Content-Type text/html, beginning with \"<h1>\\\"\"",
            ),
            (FetchError::PeerRedirectsTooOften { host: host(), limit: 3 }, "more than 3 redirects"),
            (
                FetchError::PeerRedirectInvalid { host: host(), status: StatusCode::FOUND },
                "answered 302 Found without a usable Location",
            ),
            (
                FetchError::PeerRedirectDowngrade { host: host(), target: "http://x".into() },
                "redirects from https to http://x",
            ),
            (
                FetchError::PeerEncoding { host: host(), encoding: "gzip".into() },
                "Content-Encoding gzip: only identity",
            ),
            (
                FetchError::PeerTooLarge { limit: 8, announced: Some(9) },
                "longer than 8 bytes: Content-Length 9",
            ),
            (FetchError::PeerTooLarge { limit: 8, announced: None }, "longer than 8 bytes."),
            (
                FetchError::PeerTruncated { received: 3, expected: Some(9) },
                "broke off after 3 bytes of 9",
            ),
            (
                FetchError::PeerProtocol { host: host(), reason: "odd".into() },
                "no valid HTTP response: odd",
            ),
        ];
        for (source, cause) in downloads {
            let result = to_result(&PrepareError::Download { uri: URI.into(), source });
            assert_eq!((result.code, result.subcode), (400, 8536), "{cause}");
            let start = format!("Action failed, file could not be downloaded. {URI}: ");
            assert!(result.message.starts_with(&start), "{}", result.message);
            assert!(result.message.contains(cause), "{} / {cause}", result.message);
        }
        let others = [
            (PrepareError::Busy { uri: URI.into() }, (400, 8536), "too many downloads"),
            (
                PrepareError::Format {
                    uri: URI.into(),
                    content_type: Some("text/html".into()),
                    source: Arc::new(WavError::NoAudio.into()),
                },
                (400, 8535),
                "its data chunk is empty (sent as Content-Type text/html).",
            ),
            (
                PrepareError::TooLong { uri: URI.into(), limit: Duration::from_secs(3_600) },
                (400, 8535),
                "the audio is longer than 3600s, the limit (prompts.max_duration).",
            ),
            (PrepareError::Internal { uri: URI.into(), source: None }, (500, 8511), "server error"),
            (
                PrepareError::Download {
                    uri: URI.into(),
                    source: FetchError::SpoolFailed(Arc::new(io::ErrorKind::StorageFull.into())),
                },
                (500, 8511),
                "server error",
            ),
        ];
        for (error, numbers, cause) in others {
            let result = to_result(&error);
            assert_eq!((result.code, result.subcode), numbers, "{error}");
            assert!(result.message.contains(cause), "{} / {cause}", result.message);
        }
    }

    #[test]
    fn a_shown_uri_has_no_secrets_and_an_end() {
        let table = [
            ("https://cdn.test/a.wav?sig=secret", "https://cdn.test/a.wav"),
            ("https://cdn.test/a.wav#part?x", "https://cdn.test/a.wav"),
            ("https://user:pw@cdn.test/a@b.wav", "https://cdn.test/a@b.wav"),
            ("not a uri\r\n\u{1b}[31m", "not a uri\\r\\n\\u{1b}[31m"),
        ];
        for (uri, expected) in table {
            assert_eq!(shown(uri), expected);
        }
        assert_eq!(shown(&"ä".repeat(8_000)).chars().count(), 201);
    }
}
