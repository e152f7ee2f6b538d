//! A webhook on a raw socket: does what no HTTP library would let a test do.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::sleep,
};

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What the endpoint does with a request, or already with a connection.
#[derive(Clone, Debug)]
pub(super) enum Does {
    /// These bytes.
    Answer(String),
    /// These bytes after a while.
    Later(Duration, &'static str),
    /// These bytes, then nothing.
    Stall(&'static str),
    /// These bytes, then so many of `x`.
    Body(&'static str, u64),
    /// One byte of an endless head after the other.
    Drip(Duration),
    /// These bytes, then RST.
    Reset(&'static str),
    /// RST, before a request is read.
    ResetAtOnce,
    /// FIN.
    Close,
    /// 200 and 503 by turns of this length.
    Flap(Duration),
}

/// A request that was read whole.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) at: Instant,
    pub(super) id: String,
    pub(super) body: Vec<u8>,
    /// Answered with 200 in full.
    pub(super) taken: bool,
}

/// What happened at the endpoint.
#[derive(Default)]
struct Seen {
    got: Mutex<Vec<Got>>,
    changed: Notify,
    is_well: AtomicBool,
}

pub(super) struct Endpoint {
    pub(super) origin: String,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

impl Endpoint {
    /// Decides by the request's body and its number, from 0, what it does.
    pub(super) async fn start(
        decide: impl Fn(&[u8], usize) -> Does + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (seen, decide) = (Arc::new(Seen::default()), Arc::new(decide));
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let seen = Arc::clone(&seen);
            async move {
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    connections.spawn(serve(stream, Arc::clone(&seen), Arc::clone(&decide)));
                    while connections.try_join_next().is_some() {}
                }
            }
        });
        Self { origin, seen, _tasks: tasks }
    }

    /// From now on every request is answered with 200.
    pub(super) fn heal(&self) {
        self.seen.is_well.store(true, Ordering::SeqCst);
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.seen.got.lock().unwrap().clone()
    }

    /// Bodies of the requests that were answered with 200, in the order of the answers.
    pub(super) fn taken(&self) -> Vec<Vec<u8>> {
        self.got().into_iter().filter(|got| got.taken).map(|got| got.body).collect()
    }

    /// Waits for so many requests.
    pub(super) async fn received(&self, count: usize) {
        loop {
            let changed = self.seen.changed.notified();
            if self.seen.got.lock().unwrap().len() >= count {
                return;
            }
            changed.await;
        }
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>, decide: Arc<impl Fn(&[u8], usize) -> Does>) {
    let is_well = || seen.is_well.load(Ordering::SeqCst);
    if !is_well() && matches!(decide(b"", 0), Does::ResetAtOnce) {
        // The request is on its way: closing without having read it resets the connection.
        reset(&stream);
        note(&seen, Got { at: Instant::now(), id: String::new(), body: vec![], taken: false });
        return;
    }
    while let Some((id, body)) = read(&mut stream).await {
        let number = seen.got.lock().unwrap().len();
        let does = if is_well() { Does::Answer(OK.into()) } else { decide(&body, number) };
        let number = note(&seen, Got { at: Instant::now(), id, body, taken: false });
        let is_open = act(&mut stream, &does).await;
        if is_open && is_taken(&does) {
            seen.got.lock().unwrap()[number].taken = true;
        }
        seen.changed.notify_waiters();
        if !is_open {
            return;
        }
    }
}

fn note(seen: &Seen, got: Got) -> usize {
    let mut all = seen.got.lock().unwrap();
    all.push(got);
    seen.changed.notify_waiters();
    all.len() - 1
}

fn is_taken(does: &Does) -> bool {
    match does {
        Does::Answer(text) => text.contains(" 20"),
        Does::Later(_, text) => text.contains(" 20"),
        Does::Flap(turn) => flap(*turn) == OK,
        Does::Stall(_)
        | Does::Body(..)
        | Does::Drip(_)
        | Does::Reset(_)
        | Does::ResetAtOnce
        | Does::Close => false,
    }
}

fn flap(turn: Duration) -> &'static str {
    let turns = super::now().0 / i64::try_from(turn.as_millis()).unwrap();
    if turns % 2 == 0 { OK } else { "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n" }
}

/// Whether the connection can go on.
async fn act(stream: &mut TcpStream, does: &Does) -> bool {
    match does {
        Does::Answer(text) => {
            let is_last = text.starts_with("HTTP/1.0") || !text.starts_with("HTTP/");
            stream.write_all(text.as_bytes()).await.is_ok() && !is_last
        }
        Does::Later(wait, text) => {
            sleep(*wait).await;
            stream.write_all(text.as_bytes()).await.is_ok()
        }
        Does::Stall(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let mut rest = Vec::new();
            // Until the server gives up.
            let _ = stream.read_to_end(&mut rest).await;
            false
        }
        Does::Body(head, length) => {
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = [b'x'; 65_536];
            for _ in 0..length.div_ceil(65_536) {
                if stream.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            false
        }
        Does::Drip(pause) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ").await;
            while stream.write_all(b"x").await.is_ok() {
                sleep(*pause).await;
            }
            false
        }
        Does::Reset(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            reset(stream);
            false
        }
        Does::ResetAtOnce | Does::Close => false,
        Does::Flap(turn) => stream.write_all(flap(*turn).as_bytes()).await.is_ok(),
    }
}

/// Closing it sends RST from now on.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The next request's `webhook-id` and body.
async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let header = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    let length: usize = header("content-length")?.parse().unwrap();
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((header("webhook-id")?, body))
}
