//! A bot's HTTP endpoint that misbehaves when told to: absent, or failing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    routing::post,
};
use serde_json::Value;
use tokio::{net::TcpSocket, sync::mpsc};

use crate::soon;

/// A POST that reached the webhook, taken or refused.
#[derive(Clone, Debug)]
pub struct Post {
    /// Path and query.
    pub uri: Uri,
    /// The request's headers.
    pub headers: HeaderMap,
    /// `value[0]` of the body.
    pub value: Value,
    /// Whether it was answered with 202, else with 503.
    pub taken: bool,
}

impl Post {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An endpoint on a port of its own. Connections are refused until [`Webhook::open`].
pub struct Webhook {
    socket: Option<TcpSocket>,
    address: SocketAddr,
    refuses: Arc<AtomicBool>,
    sender: mpsc::UnboundedSender<Post>,
    posts: mpsc::UnboundedReceiver<Post>,
}

impl Webhook {
    /// Takes a port; nothing listens there yet.
    pub fn closed() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let (sender, posts) = mpsc::unbounded_channel();
        Self { socket: Some(socket), address, refuses: Arc::default(), sender, posts }
    }

    /// An endpoint that answers every POST with 503.
    pub fn refusing() -> Self {
        let mut webhook = Self::closed();
        webhook.refuses.store(true, Ordering::SeqCst);
        webhook.open();
        webhook
    }

    /// Starts to listen.
    pub fn open(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        let listener = socket.listen(64).expect("it can listen");
        let state = (Arc::clone(&self.refuses), self.sender.clone());
        let router = Router::new().route("/callback", post(take)).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// From now on every POST is answered with 202.
    pub fn accept(&self) {
        self.refuses.store(false, Ordering::SeqCst);
    }

    /// Its address.
    pub fn uri(&self) -> String {
        format!("http://{}/callback", self.address)
    }

    /// The next POST, taken or refused.
    pub async fn next(&mut self) -> Post {
        soon("a POST to the webhook", self.posts.recv()).await.expect("the webhook lives")
    }

    /// POSTs that are taken, up to the one wanted; those refused in between are left out.
    pub async fn taken_until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Post> {
        let mut taken = Vec::new();
        loop {
            let post = self.next().await;
            if !post.taken {
                continue;
            }
            let is_last = wanted(&post.value);
            taken.push(post);
            if is_last {
                return taken;
            }
        }
    }
}

async fn take(
    State((refuses, posts)): State<(Arc<AtomicBool>, mpsc::UnboundedSender<Post>)>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let taken = !refuses.load(Ordering::SeqCst);
    // The test may be over.
    let _ = posts.send(Post { uri, headers, value: body["value"][0].clone(), taken });
    if taken { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE }
}
