//! Text to speech by an engine of somebody else: a program that reads the text and writes audio, or
//! a server that is posted the text and answers with audio.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process_group};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::debug;

use super::{OwnPromptError, disk, spool};
use crate::prompts::{
    FetchLimits, Guard, GuardSettings,
    fetch::{Body, Fetcher},
};

/// What stands for the voice in a command's arguments and in a URL.
const VOICE: &str = "{voice}";
/// Bytes of an engine's complaints that are logged.
const COMPLAINT: usize = 512;

/// Who speaks, and how much at once.
#[derive(Clone, Debug)]
pub struct SpeechSettings {
    /// Who speaks.
    pub engine: SpeechEngine,
    /// The voice of prompts that name none.
    pub voice: String,
    /// Longest work on one text, the wait for the others included.
    pub timeout: Duration,
    /// Texts at one time; further ones wait.
    pub concurrent: usize,
}

/// Who makes audio of a text.
#[derive(Clone, Debug)]
pub enum SpeechEngine {
    /// A program and its arguments, in which `{voice}` stands for the voice. It is run without a
    /// shell and without this process's environment, reads the text (UTF-8) and writes the audio.
    Command(Vec<String>),
    /// A URL that texts are posted to as `text/plain`; `{voice}` in it stands for the voice. The
    /// answer is the audio.
    Http {
        /// The template of the URL.
        url: String,
        /// What may be reached.
        guard: GuardSettings,
    },
}

/// A speech engine at work.
#[derive(Debug)]
pub(super) struct Speech {
    settings: SpeechSettings,
    slots: Arc<Semaphore>,
    directory: PathBuf,
    fetcher: Option<Fetcher>,
}

impl Speech {
    /// Spools audio in `directory`.
    pub(super) fn new(
        settings: SpeechSettings,
        limits: FetchLimits,
        directory: PathBuf,
        roots: &[CertificateDer<'static>],
    ) -> Self {
        let fetcher = match &settings.engine {
            SpeechEngine::Command(_) => None,
            SpeechEngine::Http { guard, .. } => {
                let guard = Guard::new(guard.clone());
                // How long an engine thinks before it answers is its own affair.
                let limits = FetchLimits {
                    first_byte: settings.timeout,
                    total: settings.timeout,
                    max_redirects: 0,
                    ..limits
                };
                Some(Fetcher::new(guard, limits, directory.clone(), roots))
            }
        };
        let slots = Arc::new(Semaphore::new(settings.concurrent.max(1)));
        Self { settings, slots, directory, fetcher }
    }

    /// The audio of a text, of at most `max_bytes`. Dropping the future ends the engine's work.
    pub(super) async fn speak(
        &self,
        text: &str,
        voice: Option<String>,
        name: &str,
        max_bytes: u64,
        deadline: Instant,
    ) -> Result<Body, OwnPromptError> {
        let limit = self.settings.timeout;
        let deadline = deadline.min(Instant::now() + limit);
        let voice = voice.unwrap_or_else(|| self.settings.voice.clone());
        let work = async {
            let _slot = self.slots.acquire().await.map_err(|_| failed("the server stops"))?;
            match (&self.settings.engine, &self.fetcher) {
                (SpeechEngine::Http { url, .. }, Some(fetcher)) => {
                    let voice = utf8_percent_encode(&voice, NON_ALPHANUMERIC).to_string();
                    let url = fetcher
                        .check(&url.replace(VOICE, &voice))
                        .map_err(|refusal| failed(refusal.to_string()))?;
                    let fetched = fetcher.post(url, text, name, deadline).await;
                    fetched.map_err(|error| failed(error.to_string()))
                }
                (SpeechEngine::Command(command), _) => {
                    let audio = run(command, &voice, text, max_bytes).await?;
                    let (directory, name) = (self.directory.clone(), name.to_owned());
                    let write = tokio::task::spawn_blocking(move || {
                        spool(&directory, &name, &audio).map_err(disk)
                    });
                    write.await.unwrap_or_else(|_| Err(failed("the audio was lost")))
                }
                (SpeechEngine::Http { .. }, None) => Err(OwnPromptError::NoSpeech),
            }
        };
        let outcome = timeout_at(deadline, work).await;
        outcome.unwrap_or(Err(OwnPromptError::SpeechTooSlow { limit }))
    }
}

/// Runs a program on a text and takes what it writes.
async fn run(
    command: &[String],
    voice: &str,
    text: &str,
    max_bytes: u64,
) -> Result<Vec<u8>, OwnPromptError> {
    let [program, arguments @ ..] = command else { return Err(OwnPromptError::NoSpeech) };
    let child = Command::new(program)
        .args(arguments.iter().map(|argument| argument.replace(VOICE, voice)))
        // Secrets of this server may stand in its environment.
        .env_clear()
        .envs(
            ["PATH", "HOME", "LANG", "TMPDIR"]
                .into_iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
        )
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("{program} cannot be run: {}", error.kind())))?;
    let mut engine = Engine::new(child);
    let (stdin, stdout, stderr) = engine.pipes();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // An engine that has read enough may close it.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };
    let hear = async {
        let mut audio = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(max_bytes + 1).read_to_end(&mut audio).await.map_err(disk)?;
        }
        match audio.len() as u64 > max_bytes {
            true => Err(OwnPromptError::TooLarge { limit: max_bytes }),
            false => Ok(audio),
        }
    };
    let complain = async {
        let mut complaint = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr).take(COMPLAINT as u64).read_to_end(&mut complaint).await;
            // The rest goes nowhere, and must not stop the engine.
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        }
        Ok(complaint)
    };
    let (audio, complaint) = tokio::try_join!(async { tokio::join!(feed, hear).1 }, complain)?;
    let status = engine.wait().await.map_err(disk)?;
    if !status.success() {
        let complaint = complaint.escape_ascii().to_string();
        debug!(program, %status, complaint, "the speech engine failed");
        return Err(failed(format!("{program} ended with {}", described(status))));
    }
    if audio.is_empty() {
        return Err(failed(format!("{program} wrote no audio")));
    }
    Ok(audio)
}

fn described(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "a signal".to_owned(),
    }
}

fn failed(reason: impl Into<String>) -> OwnPromptError {
    OwnPromptError::SpeechFailed { reason: reason.into() }
}

/// A running program. Dropped before its end, it is ended with everything it has started.
struct Engine {
    child: Child,
    group: Option<Pid>,
}

impl Engine {
    fn new(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { group: id.and_then(Pid::from_raw), child }
    }

    fn pipes(
        &mut self,
    ) -> (
        Option<tokio::process::ChildStdin>,
        Option<tokio::process::ChildStdout>,
        Option<tokio::process::ChildStderr>,
    ) {
        (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take())
    }

    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // From now on its number may be somebody else's.
        self.group = None;
        Ok(status)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech(command: &[&str], timeout: Duration) -> (Speech, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let settings = SpeechSettings {
            engine: SpeechEngine::Command(command.iter().map(|part| (*part).to_owned()).collect()),
            voice: "en".to_owned(),
            timeout,
            concurrent: 1,
        };
        let limits = FetchLimits::default();
        (Speech::new(settings, limits, directory.path().to_owned(), &[]), directory)
    }

    async fn spoken(command: &[&str], text: &str) -> Result<Vec<u8>, OwnPromptError> {
        let (speech, _directory) = speech(command, Duration::from_secs(20));
        let deadline = Instant::now() + Duration::from_secs(60);
        let body = speech.speak(text, Some("de+f2".into()), "name-", 1_000, deadline).await?;
        Ok(std::fs::read(&body.file).unwrap())
    }

    #[tokio::test]
    async fn the_text_goes_in_as_it_is_and_what_comes_out_is_the_audio() {
        let text = "$(rm -rf /); `id` \"ü\"\n'";
        assert_eq!(spoken(&["cat"], text).await.unwrap(), text.as_bytes());
        let voice = spoken(&["printf", "%s", "-v {voice}; $HOME"], "x").await.unwrap();
        assert_eq!(voice, b"-v de+f2; $HOME", "and no shell reads the arguments");
    }

    #[tokio::test]
    async fn an_engine_gets_no_secret_of_this_servers_environment() {
        let environment = spoken(&["env"], "x").await.unwrap();
        let environment = String::from_utf8(environment).unwrap();
        let names: Vec<_> = environment
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();
        assert!(names.contains(&"LC_ALL"), "{environment}");
        let known = ["PATH", "HOME", "LANG", "TMPDIR", "LC_ALL"];
        assert!(names.iter().all(|name| known.contains(name)), "{environment}");
    }

    #[tokio::test]
    async fn what_an_engine_fails_at_is_named() {
        let table: [(&[&str], &str); 5] = [
            (&["/nowhere/engine"], "the speech engine failed: /nowhere/engine cannot be run"),
            (&["false"], "the speech engine failed: false ended with exit code 1"),
            (&["true"], "the speech engine failed: true wrote no audio"),
            (&["sh", "-c", "kill -9 $$"], "the speech engine failed: sh ended with a signal"),
            (&["yes"], "the audio is longer than 1000 bytes (prompts.max_bytes)"),
        ];
        for (command, expected) in table {
            let failure = spoken(command, "x").await.unwrap_err().to_string();
            assert!(failure.starts_with(expected), "{failure}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_takes_too_long_ends_with_all_that_it_has_started() {
        let (speech, directory) = speech(
            &["sh", "-c", "sleep 1000 & echo $! > \"$0\"; wait", "{voice}"],
            Duration::from_millis(500),
        );
        let file = directory.path().join("pid");
        let voice = file.to_str().unwrap().to_owned();
        let deadline = Instant::now() + Duration::from_secs(60);
        let outcome = speech.speak("x", Some(voice), "name-", 10, deadline).await;
        assert!(matches!(outcome, Err(OwnPromptError::SpeechTooSlow { .. })), "{outcome:?}");
        let pid = std::fs::read_to_string(&file).unwrap();
        let alive = format!("/proc/{}/status", pid.trim());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = std::fs::read_to_string(&alive).unwrap_or_default();
            if state.is_empty() || state.contains("State:\tZ") {
                break;
            }
            assert!(Instant::now() < deadline, "the engine's child still lives: {state}");
            tokio::task::yield_now().await;
        }
        assert_eq!(speech.slots.available_permits(), 1);
    }
}
