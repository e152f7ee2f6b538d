//! Prompts from end to end: from a URI on an evil host to encoded audio or a reason.

use std::{sync::Arc, time::Duration};

use graphophone_call::{AppId, MediaPrompt, TenantId};
use uuid::Uuid;

use super::{FetchLimits, Guard, GuardSettings, Owner, PrepareError, Prompts, Settings, to_result};

mod cached;
mod fetched;

/// A server's prompts with deadlines fit for tests, in a directory of their own.
struct Fixture {
    prompts: Prompts,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {}, Guard::new(GuardSettings::dev("prompts.allow", vec![])))
    }

    fn limited(limit: impl FnOnce(&mut FetchLimits)) -> Self {
        let guard = Guard::new(GuardSettings::dev("prompts.allow", vec![]));
        Self::with(|settings| limit(&mut settings.fetch), guard)
    }

    fn with(change: impl FnOnce(&mut Settings), guard: Guard) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_directory(directory.path().join("prompts"));
        change(&mut settings);
        Self { prompts: Prompts::new(settings, guard).unwrap(), directory }
    }

    fn spooled(&self) -> usize {
        self.spool().count()
    }

    fn spooled_bytes(&self) -> u64 {
        self.spool().map(|file| file.metadata().unwrap().len()).sum()
    }

    fn spool(&self) -> impl Iterator<Item = std::fs::DirEntry> {
        let files = std::fs::read_dir(self.directory.path().join("prompts")).unwrap();
        files
            .map(Result::unwrap)
            .filter(|file| file.path().extension().is_some_and(|end| end == "prompt"))
    }
}

fn app(number: u128) -> Owner {
    (TenantId::new(Uuid::from_u128(1)), AppId::new(Uuid::from_u128(number)))
}

fn prompt(uri: impl Into<String>, resource_id: Option<&str>) -> MediaPrompt {
    MediaPrompt {
        uri: uri.into(),
        resource_id: resource_id.map(Into::into),
        repeat: 1,
        shaping: Default::default(),
    }
}

/// A WAV file by hand: 16 kHz, mono, 16-bit PCM, 100 ms in which every sample is `level`.
fn wav(level: i16) -> Vec<u8> {
    let data: Vec<u8> = std::iter::repeat_n(level.to_le_bytes(), 1_600).flatten().collect();
    let size = data.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(16_000_u32.to_le_bytes());
    file.extend(32_000_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(size.to_le_bytes());
    file.extend(data);
    file
}

/// What the bot is told.
fn told(error: &PrepareError) -> (u32, String) {
    let result = to_result(error);
    (result.subcode, result.message)
}

fn short() -> Duration {
    Duration::from_millis(150)
}

/// A resolver by a table of one.
struct Resolves(&'static str, std::net::IpAddr);

impl reqwest::dns::Resolve for Resolves {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let found = (name.as_str() == self.0).then(|| std::net::SocketAddr::new(self.1, 0));
        Box::pin(async move { Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs) })
    }
}

fn resolves(name: &'static str, address: [u8; 4]) -> Arc<dyn reqwest::dns::Resolve> {
    Arc::new(Resolves(name, address.into()))
}
