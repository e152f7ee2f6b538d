//! Prompts that are not fetched: made here, uploaded earlier, or spoken by an engine. Each becomes a
//! spool file like a download, and goes the same way from there.

mod generator;
mod speech;
mod uploads;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use graphophone_graph::prompt_uri::{OwnPrompt, PromptUriFault};
use graphophone_media::wav;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::{generator::RATE, speech::Speech};
pub use self::{
    speech::{SpeechEngine, SpeechSettings},
    uploads::{Upload, UploadError, UploadFailed, UploadLimits, Uploads},
};
use super::{
    Settings,
    fetch::{Body, Fetched, create_file},
    freshness::CachePolicy,
};

/// Where a prompt is counted at the gate, if it needs somebody else's time.
const SPEECH_HOST: &str = "graphophone:tts";

/// Why a prompt of this server's own is not there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OwnPromptError {
    /// The URI names none.
    #[error(transparent)]
    Uri(#[from] PromptUriFault),
    /// Nothing has this name.
    #[error("no prompt was uploaded under this name: PUT it to /graphophone/v1/prompts/NAME")]
    NotUploaded,
    /// No engine is configured.
    #[error("this server has no speech engine: tts.command or tts.url would name one")]
    NoSpeech,
    /// The engine did not do its work.
    #[error("the speech engine failed: {reason}")]
    SpeechFailed {
        /// What happened to it. Not its own words, which are in the log.
        reason: String,
    },
    /// The engine, or those before in its queue, took too long.
    #[error("the speech engine did not finish within {limit:?} (tts.timeout)")]
    SpeechTooSlow {
        /// [`SpeechSettings::timeout`].
        limit: Duration,
    },
    /// More bytes than a prompt may have.
    #[error("the audio is longer than {limit} bytes (prompts.max_bytes)")]
    TooLarge {
        /// [`super::FetchLimits::max_bytes`].
        limit: u64,
    },
    /// Our own disk.
    #[error("the server could not keep the audio")]
    Disk(#[source] Arc<io::Error>),
}

/// Makes prompts; one for each [`super::Prompts`].
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) uploads: Uploads,
    speech: Option<Speech>,
    directory: PathBuf,
    max_duration: Duration,
    max_bytes: u64,
    /// For how long what does not change is kept.
    fresh_for: Duration,
}

impl Sources {
    /// # Errors
    /// The directory of the uploads cannot be made or read.
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        let roots: &[CertificateDer<'static>] = &settings.extra_roots;
        let speech = |speech: &SpeechSettings| {
            let fetch = settings.fetch.clone();
            Speech::new(speech.clone(), fetch, settings.directory.clone(), roots)
        };
        Ok(Self {
            uploads: Uploads::open(settings.uploads.clone())?,
            speech: settings.speech.as_ref().map(speech),
            directory: settings.directory.clone(),
            max_duration: settings.max_duration,
            max_bytes: settings.fetch.max_bytes,
            fresh_for: settings.max_freshness,
        })
    }

    /// The queue of the gate that a prompt waits in; `None` if it needs nobody else.
    pub(crate) fn host(prompt: &OwnPrompt) -> Option<&'static str> {
        match prompt {
            OwnPrompt::Speech { .. } => Some(SPEECH_HOST),
            OwnPrompt::Tone { .. } | OwnPrompt::Silence { .. } | OwnPrompt::Uploaded(_) => None,
        }
    }

    /// The prompt as a file whose name begins with `name`; `known` is the digest of the file that is
    /// in the cache for it.
    pub(crate) async fn make(
        &self,
        prompt: OwnPrompt,
        known: Option<[u8; 32]>,
        name: &str,
        deadline: Instant,
    ) -> Result<Fetched, OwnPromptError> {
        let kept = CachePolicy { fresh_for: Some(self.fresh_for), ..CachePolicy::default() };
        match prompt {
            OwnPrompt::Tone { frequencies, duration_ms, level_db } => {
                let duration = self.bounded(duration_ms);
                let tone = move || generator::tone(&frequencies, duration, level_db);
                Ok(Fetched::Body(self.written(name, tone).await?, kept))
            }
            OwnPrompt::Silence { duration_ms } => {
                let duration = self.bounded(duration_ms);
                let silence = move || generator::silence(duration);
                Ok(Fetched::Body(self.written(name, silence).await?, kept))
            }
            OwnPrompt::Uploaded(uploaded) => {
                // It may be replaced at any time: asked for again at every play, at no cost if it
                // is the same.
                let policy =
                    CachePolicy { fresh_for: Some(Duration::ZERO), ..CachePolicy::default() };
                let upload = self.uploads.get(&uploaded).ok_or(OwnPromptError::NotUploaded)?;
                if known == Some(upload.file_digest) {
                    return Ok(Fetched::NotModified(policy));
                }
                let (uploads, directory) = (self.uploads.clone(), self.directory.clone());
                let name = name.to_owned();
                let copy = move || {
                    let bytes = uploads.read(&uploaded)?.ok_or(OwnPromptError::NotUploaded)?;
                    spool(&directory, &name, &bytes).map_err(disk)
                };
                Ok(Fetched::Body(on_a_blocking_thread(copy).await?, policy))
            }
            OwnPrompt::Speech { text, voice } => {
                let speech = self.speech.as_ref().ok_or(OwnPromptError::NoSpeech)?;
                let body = speech.speak(&text, voice, name, self.max_bytes, deadline).await?;
                Ok(Fetched::Body(body, kept))
            }
        }
    }

    /// One sample more than may be: what is too long is refused where all prompts are.
    fn bounded(&self, duration_ms: u32) -> Duration {
        let longest = self.max_duration + Duration::from_millis(1);
        Duration::from_millis(duration_ms.into()).min(longest)
    }

    async fn written(
        &self,
        name: &str,
        samples: impl FnOnce() -> Vec<i16> + Send + 'static,
    ) -> Result<Body, OwnPromptError> {
        let (directory, name) = (self.directory.clone(), name.to_owned());
        on_a_blocking_thread(move || {
            spool(&directory, &name, &wav::to_bytes(RATE, &samples())).map_err(disk)
        })
        .await
    }
}

/// Writes a file as if it had been downloaded.
pub(super) fn spool(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<Body> {
    let (mut file, path) = create_file(directory, name)?;
    file.write_all(bytes)?;
    Ok(Body {
        file: path,
        length: bytes.len() as u64,
        digest: Sha256::digest(bytes).into(),
        content_type: None,
        framed: true,
    })
}

async fn on_a_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OwnPromptError> + Send + 'static,
) -> Result<T, OwnPromptError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|_| Err(disk(io::Error::other("the task was lost"))))
}

fn disk(error: io::Error) -> OwnPromptError {
    OwnPromptError::Disk(Arc::new(error))
}
