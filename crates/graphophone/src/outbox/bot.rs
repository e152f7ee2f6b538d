//! Test double: a bot's webhook on loopback that answers as told, and owed notifications for it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use graphophone_call::{AppId, CallId, TenantId};
use graphophone_store::{
    NewNotification, NotificationId, NotificationRecord, NotificationState, Sequence, UnixMillis,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use uuid::Uuid;

pub(super) const NOW: UnixMillis = UnixMillis(1_790_000_000_500);
const DEADLINE: Duration = Duration::from_secs(20);

/// A request as the bot got it; header names in lower case.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is sent twice");
        value
    }
}

/// What the bot does with a request.
pub(super) enum Reply {
    /// An empty answer with this status.
    Status(u16),
    /// These bytes, then the next request.
    Raw(String),
    /// Nothing, for ever.
    Hang,
    /// Nothing, and the connection is closed.
    Close,
}

pub(super) struct Bot {
    pub(super) origin: String,
    got: Arc<(Mutex<Vec<Request>>, Notify)>,
    _tasks: JoinSet<()>,
}

impl Bot {
    /// `reply` gets each request with its number, from 0, in the order of arrival.
    pub(super) async fn start(
        reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let got = Arc::new((Mutex::default(), Notify::new()));
        let reply = Arc::new(reply);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let got = Arc::clone(&got);
            async move {
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    connections.spawn(serve(stream, Arc::clone(&got), Arc::clone(&reply)));
                }
            }
        });
        Self { origin, got, _tasks: tasks }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.got.0.lock().unwrap().clone()
    }

    /// The first `count` requests, once they have come.
    pub(super) async fn received(&self, count: usize) -> Vec<Request> {
        let waiting = async {
            loop {
                let changed = self.got.1.notified();
                let requests = self.requests();
                if requests.len() >= count {
                    return requests;
                }
                changed.await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("the requests come in time")
    }
}

async fn serve(
    mut stream: TcpStream,
    got: Arc<(Mutex<Vec<Request>>, Notify)>,
    reply: Arc<impl Fn(&Request, usize) -> Reply>,
) {
    while let Some(request) = read(&mut stream).await {
        let number = {
            let mut requests = got.0.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let answer = match reply(&request, number) {
            Reply::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
            Reply::Raw(text) => text,
            Reply::Hang => {
                got.1.notify_waiters();
                std::future::pending().await
            }
            Reply::Close => {
                got.1.notify_waiters();
                return;
            }
        };
        got.1.notify_waiters();
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(key, _)| key == "content-length").unwrap();
    let length: usize = length.1.parse().unwrap();
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { line, headers, body })
}

pub(super) fn call_id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(0x1000 + n))
}

/// The `n`th notification, of the given call.
pub(super) fn new_notification(n: u64, call: u128, url: &str) -> NewNotification {
    NewNotification {
        id: NotificationId(Uuid::from_u128(0x3000 + u128::from(n))),
        call_id: call_id(call),
        tenant: TenantId::new(Uuid::from_u128(7)),
        app: AppId::new(Uuid::from_u128(8)),
        url: url.into(),
        body: Arc::from(format!(r#"{{"n":{n}}}"#).into_bytes()),
        scenario_id: Uuid::from_u128(9),
        created_at: NOW,
    }
}

/// The same as the store would give it back.
pub(super) fn notification(sequence: u64, call: u128, url: &str) -> NotificationRecord {
    let new = new_notification(sequence, call, url);
    NotificationRecord {
        id: new.id,
        sequence: Sequence(sequence),
        call_id: new.call_id,
        tenant: new.tenant,
        app: new.app,
        url: new.url,
        body: new.body,
        scenario_id: new.scenario_id,
        created_at: new.created_at,
        attempts: 0,
        next_attempt_at: new.created_at,
        state: NotificationState::Owed,
        last_error: None,
        settled_at: None,
    }
}
