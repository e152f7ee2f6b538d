//! A whole server of the dev profile on free ports, gone when dropped or stopped.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use graphophone::{
    Server,
    auth::{Keys, tls::DevCa},
    bot::{Bot, Credentials},
    config::{Config, Overrides, Profile},
};
use graphophone_media::engine::{Engine, EngineConfig};
use graphophone_sip::phone::{Phone, PhoneConfig};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A running server.
pub struct TestServer {
    server: Server,
    directory: Arc<TempDir>,
}

impl TestServer {
    /// The dev profile.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The dev profile with changes.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = scratch();
        Self::start_in(Arc::new(directory), change).await
    }

    /// The dev profile with keys that no other server has. All others share theirs, because they
    /// take most of a second to make.
    pub async fn start_with_keys_of_its_own() -> Self {
        let directory = scratch();
        Keys::open(directory.path()).expect("signing keys");
        Self::start_in(Arc::new(directory), |_| {}).await
    }

    /// The dev profile with changes, and a bot that is told of incoming calls.
    pub async fn start_with_webhook(change: impl FnOnce(&mut Config)) -> (Self, Bot) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        let webhook = format!("http://{at}/callback").parse().expect("a URL");
        let server = Self::start_with(|config| {
            config.apps[0].calling_webhook = Some(webhook);
            change(config);
        })
        .await;
        let credentials = Credentials::of_dev(server.server.ready()).expect("dev credentials");
        let bot = Bot::start(server.base(), credentials, listener).await.expect("the bot starts");
        (server, bot)
    }

    async fn start_in(directory: Arc<TempDir>, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with_names_in(directory, Arc::new(Names), change).await
    }

    /// The dev profile with changes, and a name server of the test's.
    pub async fn start_with_names(
        names: Arc<dyn Resolve>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_with_names_in(Arc::new(scratch()), names, change).await
    }

    async fn start_with_names_in(
        directory: Arc<TempDir>,
        names: Arc<dyn Resolve>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        crate::logs::begin();
        lay_keys(directory.path());
        let mut config = dev_config(directory.path());
        change(&mut config);
        let server = Server::start_with_names(config, names).await;
        let server = server.expect("the server starts");
        Self { server, directory }
    }

    /// The server itself.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Base URL of plain HTTP.
    pub fn base(&self) -> &str {
        &self.server.ready().http
    }

    /// Where it keeps its data.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The built-in phone.
    pub fn phone(&self) -> &Phone {
        self.server.phone().expect("the dev profile has a phone")
    }

    /// SIP address (UDP).
    pub fn sip(&self) -> SocketAddr {
        self.server.ready().sip.udp.expect("the test profile listens on UDP")
    }

    /// One more phone, known by its address only: it can call the server's bots, and can be called
    /// by its own URI.
    pub async fn unregistered_phone(&self, user: &str) -> Phone {
        let engine =
            Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).expect("an engine");
        let config = PhoneConfig { register: false, ..PhoneConfig::new(user, "", self.sip()) };
        Phone::start(config, engine).await.expect("the phone starts")
    }

    /// The Graph identity of the built-in phone.
    pub fn phone_identity(&self) -> serde_json::Value {
        serde_json::json!({"user": {"id": self.server.ready().phone}})
    }

    /// The first configured bot.
    pub async fn bot(&self) -> Bot {
        let credentials = Credentials::of_dev(self.server.ready()).expect("dev credentials");
        self.bot_as(credentials).await
    }

    /// A bot with other credentials.
    pub async fn bot_as(&self, credentials: Credentials) -> Bot {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Bot::start(self.base(), credentials, listener).await.expect("the bot starts")
    }

    /// Stops in order.
    pub async fn stop(self) -> Stopped {
        self.server.shut_down().await;
        Stopped(self.directory)
    }
}

/// What a stopped server leaves behind: its data.
pub struct Stopped(Arc<TempDir>);

impl Stopped {
    /// Starts a server of the dev profile on it.
    pub async fn start(self) -> TestServer {
        TestServer::start_in(self.0, |_| {}).await
    }
}

/// What the name server says to these servers: nothing they look up leaves this machine.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let is_here = matches!(name.as_str(), "localhost" | "rebind.test");
        Box::pin(async move {
            match is_here {
                true => {
                    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
                    Ok(Box::new(std::iter::once(loopback)) as Addrs)
                }
                false => Err("tests know no such name".into()),
            }
        })
    }
}

/// The dev profile on free ports, with its data in `directory`.
pub fn dev_config(directory: &Path) -> Config {
    let mut flags = Overrides::new();
    let free = "127.0.0.1:0";
    flags.insert("http.listen".to_owned(), free.into());
    flags.insert("https.listen".to_owned(), free.into());
    flags
        .insert("sip.listen".to_owned(), vec![format!("udp:{free}"), format!("tcp:{free}")].into());
    flags.insert("store.path".to_owned(), directory.display().to_string().into());
    Config::load(Profile::Dev, None, flags).expect("the dev profile is good")
}

/// A directory in memory where there is room for it: what these tests show does not depend on the
/// disk, and its stalls, of a second now and then, would be heard. What does (the store's own tests,
/// the restarts) asks for a directory itself.
fn scratch() -> TempDir {
    const MEMORY: &str = "/dev/shm";
    const ROOM: u64 = 1 << 30;
    let room = rustix::fs::statvfs(MEMORY).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    let made = if room >= ROOM { tempfile::tempdir_in(MEMORY) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// Lays the keys of all servers of this process into a directory that has none.
fn lay_keys(directory: &Path) {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let made = tempfile::tempdir().expect("a temporary directory");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        Keys::open(made.path()).expect("signing keys");
        DevCa::open(made.path(), now.as_secs()).expect("a certificate authority");
        made
    });
    for entry in std::fs::read_dir(made.path()).expect("it was made") {
        let entry = entry.expect("a file of ours");
        let copy = directory.join(entry.file_name());
        if !copy.exists() {
            std::fs::copy(entry.path(), copy).expect("the directory can be written");
        }
    }
}
