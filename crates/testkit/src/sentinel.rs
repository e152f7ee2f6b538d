//! Addresses that a server must never connect to, watched; the URLs that lead there, in every
//! spelling we know; and a name server that says what an attacker's would.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::{TcpListener, TcpStream};

/// The one address, besides the bot's own, that a test's allow list opens.
pub const ALLOWED: &str = "127.0.0.9";

/// Listeners on loopback addresses that are not allowed, all on the port of one that is.
pub struct Sentinels {
    /// Port of all of them.
    pub port: u16,
    touched: Arc<AtomicUsize>,
    watched: Vec<SocketAddr>,
}

impl Sentinels {
    /// Listens; the listener on [`ALLOWED`] comes back for the test's own use.
    pub async fn listen() -> (Self, TcpListener) {
        for _ in 0..100 {
            let allowed = TcpListener::bind((ALLOWED, 0)).await.expect("loopback is 127/8");
            let port = allowed.local_addr().expect("it is bound").port();
            if let Some(listeners) = on_port(port).await {
                let touched = Arc::default();
                let watched = listeners.iter().map(|l| l.local_addr().expect("bound")).collect();
                for listener in listeners {
                    tokio::spawn(watch(listener, Arc::clone(&touched)));
                }
                return (Self { port, touched, watched }, allowed);
            }
        }
        panic!("no port is free on all of these addresses");
    }

    /// Checks that nobody came, after a connection of our own to each proved that they watch.
    pub async fn assert_untouched(&self) {
        for at in &self.watched {
            let before = self.touched.load(Ordering::SeqCst);
            assert_eq!(before, 0, "connections to addresses that are denied");
            TcpStream::connect(at).await.expect("it listens");
            crate::seen("the sentinel counts", || async {
                (self.touched.swap(0, Ordering::SeqCst) == 1).then_some(())
            })
            .await;
        }
    }

    /// A URL of [`URLS`] with this port.
    pub fn at(&self, url: &str) -> String {
        url.replace("{port}", &self.port.to_string())
    }
}

async fn on_port(port: u16) -> Option<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in ["127.0.0.1", "127.0.0.2"] {
        listeners.push(TcpListener::bind((address, port)).await.ok()?);
    }
    // A machine without IPv6 has one less.
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(listener) => listeners.push(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return None,
        Err(_) => {}
    }
    Some(listeners)
}

async fn watch(listener: TcpListener, touched: Arc<AtomicUsize>) {
    while listener.accept().await.is_ok() {
        touched.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a name server says, from question to question: the last answer stays.
pub struct Zone {
    answers: BTreeMap<&'static str, Vec<Vec<IpAddr>>>,
    asked: Mutex<BTreeMap<String, usize>>,
}

impl Zone {
    /// The names of [`URLS`], and these:
    ///
    /// | name | addresses |
    /// |---|---|
    /// | `allowed.test` | [`ALLOWED`] |
    /// | `mixed.test` | a denied one, [`ALLOWED`], another denied one |
    /// | `flip.test` | [`ALLOWED`] the first time, then a denied one |
    pub fn hostile() -> Arc<Self> {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let always = |text: &str| vec![vec![ip(text)]];
        let answers = [
            ("allowed.test", always(ALLOWED)),
            ("mixed.test", vec![vec![ip("127.0.0.2"), ip(ALLOWED), ip("::1")]]),
            ("flip.test", vec![vec![ip(ALLOWED)], vec![ip("127.0.0.1")]]),
            ("inside.test", always("127.0.0.1")),
            ("second.test", always("127.0.0.2")),
            ("six.test", always("::1")),
            ("any.test", always("0.0.0.0")),
            ("any6.test", always("::")),
            ("mapped.test", always("::ffff:127.0.0.1")),
            ("compatible.test", always("::127.0.0.1")),
            ("translated.test", always("64:ff9b::7f00:1")),
            ("sixtofour.test", always("2002:7f00:1::")),
            ("teredo.test", always("2001:0:7f00:1::")),
            ("private.test", always("10.0.0.1")),
            ("metadata.test", always("169.254.169.254")),
            ("shared.test", always("100.64.0.1")),
            ("multicast.test", always("224.0.0.1")),
            ("local.test", always("fe80::1")),
            ("unique.test", always("fd00:ec2::254")),
            ("many.test", vec![vec![ip("127.0.0.2"); 4_000]]),
            ("both.test", vec![vec![ip("127.0.0.1"), ip("::1"), ip("127.0.0.2")]]),
        ];
        Arc::new(Self { answers: answers.into(), asked: Mutex::default() })
    }

    /// Whether somebody has asked for this name.
    pub fn was_asked(&self, name: &str) -> bool {
        self.asked.lock().expect("no test panics with it").contains_key(name)
    }
}

impl Resolve for Zone {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        let mut asked = self.asked.lock().expect("no test panics with it");
        let count = asked.entry(name.clone()).or_default();
        let answer = self
            .answers
            .get(name.as_str())
            .map(|answers| answers[(*count).min(answers.len() - 1)].clone());
        *count += 1;
        Box::pin(async move {
            let found = answer.ok_or("tests know no such name")?;
            let found = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// URLs that must not be reached although every host with a public address is allowed. `{port}` is
/// where the sentinels listen. The first column says when it is found out: as it is written
/// (`Written`), or when its name is resolved (`Resolved`).
pub const URLS: [(Found, &str); 98] = {
    use Found::{Resolved, Written};
    [
        // This machine, as numbers.
        (Written, "http://127.0.0.1:{port}/a.wav"),
        (Written, "http://127.0.0.2:{port}/a.wav"),
        (Written, "http://127.255.255.254:{port}/a.wav"),
        (Written, "http://127.0.0.1.:{port}/a.wav"),
        (Written, "http://127.1:{port}/a.wav"),
        (Written, "http://127.0.1:{port}/a.wav"),
        (Written, "http://2130706433:{port}/a.wav"),
        (Written, "http://0x7f000001:{port}/a.wav"),
        (Written, "http://0x7F.0x0.0x0.0x1:{port}/a.wav"),
        (Written, "http://0x7f.1:{port}/a.wav"),
        (Written, "http://0177.0.0.1:{port}/a.wav"),
        (Written, "http://0177.1:{port}/a.wav"),
        (Written, "http://017700000001:{port}/a.wav"),
        (Written, "http://00000177.0.0.01:{port}/a.wav"),
        (Written, "http://127.0x0.00.1:{port}/a.wav"),
        (Written, "http://0.0.0.0:{port}/a.wav"),
        (Written, "http://0:{port}/a.wav"),
        (Written, "http://0x0:{port}/a.wav"),
        (Written, "http://0.1.2.3:{port}/a.wav"),
        (Written, "https://127.0.0.1:{port}/a.wav"),
        // The same in IPv6.
        (Written, "http://[::1]:{port}/a.wav"),
        (Written, "http://[0:0:0:0:0:0:0:1]:{port}/a.wav"),
        (Written, "http://[0000::0001]:{port}/a.wav"),
        (Written, "http://[::]:{port}/a.wav"),
        (Written, "http://[::ffff:127.0.0.1]:{port}/a.wav"),
        (Written, "http://[::ffff:7f00:1]:{port}/a.wav"),
        (Written, "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/a.wav"),
        (Written, "http://[::127.0.0.1]:{port}/a.wav"),
        (Written, "http://[::7f00:1]:{port}/a.wav"),
        (Written, "http://[::ffff:0:127.0.0.1]:{port}/a.wav"),
        (Written, "http://[64:ff9b::127.0.0.1]:{port}/a.wav"),
        (Written, "http://[64:ff9b::7f00:1]:{port}/a.wav"),
        (Written, "http://[64:ff9b:1::7f00:1]:{port}/a.wav"),
        (Written, "http://[2002:7f00:1::]:{port}/a.wav"),
        (Written, "http://[2002:7f00:0001::1]:{port}/a.wav"),
        (Written, "http://[2001:0:7f00:1::]:{port}/a.wav"),
        (Written, "http://[2001:0:53aa:64c::80ff:fffe]:{port}/a.wav"),
        (Written, "http://[fe80::1]:{port}/a.wav"),
        (Written, "http://[fe80::1%25lo]:{port}/a.wav"),
        (Written, "http://[::1%25lo]:{port}/a.wav"),
        (Written, "http://[::1%lo]:{port}/a.wav"),
        // This machine by name, and numbers in other scripts.
        (Written, "http://localhost:{port}/a.wav"),
        (Written, "http://LOCALHOST:{port}/a.wav"),
        (Written, "http://localhost.:{port}/a.wav"),
        (Written, "http://app.localhost:{port}/a.wav"),
        (Written, "http://ｌｏｃａｌｈｏｓｔ:{port}/a.wav"),
        (Written, "http://%6cocalhost:{port}/a.wav"),
        (Written, "http://１２７.0.0.1:{port}/a.wav"),
        (Written, "http://①②⑦.⓪.⓪.①:{port}/a.wav"),
        (Written, "http://127。0。0。1:{port}/a.wav"),
        (Written, "http://127%2e0%2e0%2e1:{port}/a.wav"),
        (Written, "http://%31%32%37.0.0.1:{port}/a.wav"),
        // What else is not public.
        (Written, "http://169.254.169.254/latest/meta-data/"),
        (Written, "http://2852039166/latest/meta-data/"),
        (Written, "http://0xa9fea9fe/latest/meta-data/"),
        (Written, "http://0251.0376.0251.0376/latest/meta-data/"),
        (Written, "http://[::ffff:169.254.169.254]/latest/meta-data/"),
        (Written, "http://[fd00:ec2::254]/latest/meta-data/"),
        (Written, "http://10.0.0.1/a.wav"),
        (Written, "http://172.16.0.1/a.wav"),
        (Written, "http://192.168.1.1/a.wav"),
        (Written, "http://100.64.0.1/a.wav"),
        (Written, "http://198.18.0.1/a.wav"),
        (Written, "http://224.0.0.1/a.wav"),
        (Written, "http://255.255.255.255/a.wav"),
        (Written, "http://[fc00::1]/a.wav"),
        (Written, "http://[ff02::1]/a.wav"),
        // What parsers read differently.
        (Written, "http://user@127.0.0.1:{port}/a.wav"),
        (Written, "http://allowed.test@127.0.0.1:{port}/a.wav"),
        (Written, "http://allowed.test:80@127.0.0.1:{port}/a.wav"),
        (Written, "http://allowed.test%00@127.0.0.1:{port}/a.wav"),
        (Written, "http://allowed.test\\@127.0.0.1:{port}/a.wav"),
        (Written, "http:\\\\127.0.0.1:{port}\\a.wav"),
        (Written, "http:/127.0.0.1:{port}/a.wav"),
        (Written, "http:///127.0.0.1:{port}/a.wav"),
        (Written, "http://127.0.0.1:{port}#@allowed.test/a.wav"),
        (Written, "http://127.0.0.1:{port}?@allowed.test/a.wav"),
        (Written, "http://127.0.0.1\t:{port}/a.wav"),
        (Written, " http://127.0.0.1:{port}/a.wav"),
        (Written, "ftp://127.0.0.1:{port}/a.wav"),
        (Written, "gopher://127.0.0.1:{port}/_GET"),
        // Names.
        (Resolved, "http://inside.test:{port}/a.wav"),
        (Resolved, "http://INSIDE.test.:{port}/a.wav"),
        (Resolved, "http://ｉｎｓｉｄｅ.test:{port}/a.wav"),
        (Resolved, "http://second.test:{port}/a.wav"),
        (Resolved, "http://six.test:{port}/a.wav"),
        (Resolved, "http://any.test:{port}/a.wav"),
        (Resolved, "http://any6.test:{port}/a.wav"),
        (Resolved, "http://mapped.test:{port}/a.wav"),
        (Resolved, "http://compatible.test:{port}/a.wav"),
        (Resolved, "http://translated.test:{port}/a.wav"),
        (Resolved, "http://sixtofour.test:{port}/a.wav"),
        (Resolved, "http://teredo.test:{port}/a.wav"),
        (Resolved, "http://private.test/a.wav"),
        (Resolved, "http://metadata.test/latest/meta-data/"),
        (Resolved, "http://many.test:{port}/a.wav"),
        (Resolved, "http://both.test:{port}/a.wav"),
        (Resolved, "https://inside.test:{port}/a.wav"),
    ]
};

/// When a URL is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it stands there.
    Written,
    /// When a name server was asked.
    Resolved,
}
