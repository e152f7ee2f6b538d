//! The bot's own HTTP server: prompts for the server to fetch, and an ear for its notifications.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};

use super::prompts::PromptSet;

/// The running server. Its thread ends with the process.
pub(super) struct Host {
    address: SocketAddr,
    notifications: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Shared {
    prompts: Arc<PromptSet>,
    notifications: Arc<AtomicU64>,
}

impl Host {
    /// Serves on a free loopback port, on the caller's cores.
    ///
    /// # Errors
    /// When the listener or the thread cannot be had.
    pub(super) fn start(prompts: PromptSet) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let notifications = Arc::new(AtomicU64::new(0));
        let shared =
            Shared { prompts: Arc::new(prompts), notifications: Arc::clone(&notifications) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let router = Router::new()
                    .route("/prompts/{number}", get(prompt))
                    .route("/callback", post(take))
                    .with_state(shared);
                axum::serve(listener, router).await
            })
        };
        std::thread::Builder::new()
            .name("bot-host".to_owned())
            .spawn(serve)
            .context("the bot's own server does not start")?;
        Ok(Self { address, notifications })
    }

    /// Where the prompt with this number is.
    pub(super) fn prompt(&self, number: usize) -> String {
        format!("http://{}/prompts/{number}", self.address)
    }

    /// Where notifications go.
    pub(super) fn callback(&self) -> String {
        format!("http://{}/callback", self.address)
    }

    /// How many have come.
    pub(super) fn notifications(&self) -> u64 {
        self.notifications.load(Ordering::Relaxed)
    }
}

async fn prompt(Path(number): Path<usize>, State(shared): State<Shared>) -> Bytes {
    Bytes::from_owner(shared.prompts.file(number))
}

async fn take(State(shared): State<Shared>, body: Bytes) -> StatusCode {
    drop(body);
    shared.notifications.fetch_add(1, Ordering::Relaxed);
    StatusCode::ACCEPTED
}
