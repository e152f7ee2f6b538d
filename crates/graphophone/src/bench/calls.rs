//! The bot: creates calls to the far end, plays on them and hangs them up, several at a time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    far_end::{FarEnd, Stage},
    http::Client,
};

/// Connections of the bot.
const CONNECTIONS: usize = 8;
/// A call that is not up by then will not be.
const UP_WITHIN: Duration = Duration::from_secs(10);
/// A command to a call that is not established yet is tried again so often.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Where everything is.
#[derive(Clone)]
pub(super) struct Bot {
    /// Base URL of the server.
    pub(super) base: String,
    pub(super) token: String,
    pub(super) tenant: String,
    pub(super) callback: String,
    pub(super) far_end: FarEnd,
}

/// A call that is up.
#[derive(Clone, Debug)]
pub(super) struct Up {
    /// Its number at the far end.
    pub(super) number: u32,
    /// Its id at the server.
    pub(super) id: String,
}

/// How fast it went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) calls: usize,
    pub(super) took: Duration,
}

impl Pace {
    /// Calls per second.
    pub(super) fn rate(self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl Bot {
    /// Sets calls up and plays `uri(number)` in a loop on each, unless there is none.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) fn create(
        &self,
        numbers: Vec<u32>,
        uri: &(dyn Fn(u32) -> Option<String> + Sync),
    ) -> anyhow::Result<(Vec<Up>, Pace)> {
        self.spread(numbers, |client, number| {
            let up = self.create_one(client, number)?;
            if let Some(uri) = uri(number) {
                play(client, &up.id, &uri, true)?;
            }
            Ok(up)
        })
    }

    /// Hangs calls up.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(super) fn delete(&self, calls: Vec<Up>) -> anyhow::Result<Pace> {
        let (_, pace) = self.spread(calls, |client, call| {
            let path = format!("/v1.0/communications/calls/{}", call.id);
            client.send("DELETE", &path, &Value::Null)?;
            self.far_end
                .wait(call.number, Stage::Ended, UP_WITHIN)
                .with_context(|| format!("call {} is not hung up", call.number))
        })?;
        Ok(pace)
    }

    /// A connection of the bot.
    ///
    /// # Errors
    /// When the server does not listen.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(&self.base, &self.token)
    }

    /// One call, up to its ACK.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn create_one(&self, client: &mut Client, number: u32) -> anyhow::Result<Up> {
        let body = json!({
            "@odata.type": "#microsoft.graph.call",
            "callbackUri": self.callback,
            "requestedModalities": ["audio"],
            "tenantId": self.tenant,
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
            "targets": [{
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": {"phone": {"id": self.far_end.uri(number)}},
            }],
        });
        let id = client.send("POST", "/v1.0/communications/calls", &body)?.id()?;
        self.far_end
            .wait(number, Stage::Confirmed, UP_WITHIN)
            .with_context(|| format!("call {number} is not answered"))?;
        Ok(Up { number, id })
    }

    fn spread<T: Send, R: Send>(
        &self,
        items: Vec<T>,
        work: impl Fn(&mut Client, T) -> anyhow::Result<R> + Sync,
    ) -> anyhow::Result<(Vec<R>, Pace)> {
        let since = Instant::now();
        let items: Vec<Mutex<Option<T>>> =
            items.into_iter().map(|item| Mutex::new(Some(item))).collect();
        let next = AtomicUsize::new(0);
        let done = Arc::new(Mutex::new(Vec::with_capacity(items.len())));
        let lane = || -> anyhow::Result<()> {
            let mut client = self.connect()?;
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                let item = item.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(item) = item else { continue };
                let result = work(&mut client, item)?;
                done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let lanes: Vec<_> =
                (0..CONNECTIONS.min(items.len())).map(|_| scope.spawn(lane)).collect();
            lanes.into_iter().try_for_each(|lane| {
                lane.join().unwrap_or_else(|_| bail!("a thread of the bot panicked"))
            })
        })?;
        let done = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        let calls = done.len();
        Ok((done, Pace { calls, took: since.elapsed() }))
    }
}

/// Plays a prompt; when the request was written comes back.
///
/// # Errors
/// The refusal, once the call had time to be established.
pub(super) fn play(
    client: &mut Client,
    call: &str,
    uri: &str,
    looping: bool,
) -> anyhow::Result<Instant> {
    let body = json!({
        "prompts": [{
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {
                "@odata.type": "#microsoft.graph.mediaInfo",
                "uri": uri,
                // Cached under its URI.
                "resourceId": uri,
            },
        }],
        "loop": looping,
    });
    let path = format!("/beta/communications/calls/{call}/playPrompt");
    for _ in 0..TRIES {
        let exchange = client.send("POST", &path, &body)?;
        // The far end's ACK may be read here before the server has told its own call of the 200.
        if exchange.status != 409 && exchange.status != 400 {
            exchange.id()?;
            return Ok(exchange.sent);
        }
        std::thread::sleep(PAUSE);
    }
    let exchange = client.send("POST", &path, &body)?;
    exchange.id()?;
    Ok(exchange.sent)
}

/// Cancels what plays; when the request was written comes back.
///
/// # Errors
/// The refusal.
pub(super) fn cancel(client: &mut Client, call: &str) -> anyhow::Result<Instant> {
    let path = format!("/v1.0/communications/calls/{call}/cancelMediaProcessing");
    let exchange = client.send("POST", &path, &json!({}))?;
    exchange.id()?;
    Ok(exchange.sent)
}
