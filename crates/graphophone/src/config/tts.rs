//! `[tts]`: which speech engine there is, and whether what is said of it can be.

use std::net::SocketAddr;

use graphophone_graph::prompt_uri::check_name;
use url::Url;

use super::{Faults, TtsSection};
use crate::prompts::{AllowRule, Guard, GuardSettings, SpeechEngine, SpeechSettings};

/// Most texts spoken at one time: each is a process or a connection.
const MAX_CONCURRENT: usize = 256;

impl TtsSection {
    /// The engine, if there is one.
    pub(crate) fn engine(&self) -> Option<SpeechEngine> {
        if !self.command.is_empty() {
            return Some(SpeechEngine::Command(self.command.clone()));
        }
        let url = self.url.clone()?;
        Some(SpeechEngine::Http { guard: self.guard(&url)?, url })
    }

    /// The same in the words of the part that runs it. It must not be one of `own_listeners`.
    pub(crate) fn settings(&self, own_listeners: Vec<SocketAddr>) -> Option<SpeechSettings> {
        let mut engine = self.engine()?;
        if let SpeechEngine::Http { guard, .. } = &mut engine {
            guard.own_listeners = own_listeners;
        }
        Some(SpeechSettings {
            engine,
            voice: self.voice.clone(),
            timeout: self.timeout.0,
            concurrent: self.concurrent,
        })
    }

    /// The origin that is written, and the networks that its name may be in.
    fn guard(&self, url: &str) -> Option<GuardSettings> {
        let origin = Url::parse(&with_voice(url)).ok()?.origin().ascii_serialization();
        let mut allow: Vec<AllowRule> = vec![origin.parse().ok()?];
        allow.extend(self.allow.iter().cloned());
        Some(GuardSettings::production("tts.allow", allow))
    }

    pub(super) fn add_faults(&self, faults: &mut Faults) {
        if !self.command.is_empty() && self.url.is_some() {
            faults.add("tts.url", "there is a tts.command, too: take one of them out".to_owned());
        }
        if self.command.first().is_some_and(|program| program.trim().is_empty()) {
            faults.add("tts.command", "its first word is empty: it is the program".to_owned());
        }
        if let Some(url) = &self.url {
            let fault = match self.guard(url) {
                None => Some("is not an absolute http or https URL".to_owned()),
                Some(guard) => {
                    let checked = Guard::new(guard).check_uri(&with_voice(url));
                    checked.err().map(|refusal| refusal.to_string())
                }
            };
            fault.into_iter().for_each(|fault| faults.add("tts.url", fault));
        }
        if check_name("tts.voice", &self.voice).is_err() {
            let text = "1 to 64 letters, digits and . _ + -, beginning with a letter or digit";
            faults.add("tts.voice", text.to_owned());
        }
        if self.timeout.0.is_zero() {
            faults.add("tts.timeout", "0s leaves no time to speak".to_owned());
        }
        if !(1..=MAX_CONCURRENT).contains(&self.concurrent) {
            faults.add("tts.concurrent", format!("1 to {MAX_CONCURRENT}"));
        }
    }
}

fn with_voice(url: &str) -> String {
    url.replace("{voice}", "en")
}

#[cfg(test)]
mod tests {
    use super::super::{Profile, testing};

    #[test]
    fn an_engine_that_cannot_be_is_named() {
        let table = [
            ("tts.url", "command = [\"a\"]\nurl = \"http://127.0.0.1:1/\""),
            ("tts.url", "url = \"/speak\""),
            ("tts.url", "url = \"ftp://127.0.0.1/\""),
            ("tts.url", "url = \"http://user@127.0.0.1/\""),
            ("tts.command", "command = [\"\"]"),
            ("tts.voice", "voice = \"-v\""),
            ("tts.timeout", "timeout = \"0s\""),
            ("tts.concurrent", "concurrent = 0"),
        ];
        for (setting, text) in table {
            let faults = testing::faults(&format!("[tts]\n{text}\n"));
            assert!(faults.iter().any(|fault| fault == setting), "{text}: {faults:?}");
        }
        for text in [
            "command = [\"espeak-ng\", \"--stdout\", \"-v\", \"{voice}\"]",
            "url = \"http://10.0.0.7:5002/speak?voice={voice}\"",
            "url = \"https://speech.example.com/\"\nallow = [\"10.0.0.0/8\"]",
        ] {
            let loaded = testing::load(Profile::Production, &format!("[tts]\n{text}\n"));
            assert!(loaded.is_ok(), "{loaded:?}");
        }
    }
}
