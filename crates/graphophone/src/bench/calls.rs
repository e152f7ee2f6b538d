//! The bot: creates calls to the far end, plays on them and hangs them up, several at a time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::bail;
use serde_json::{Value, json};

use super::{
    far_end::{FarEnd, Stage},
    http::{Client, Exchange},
};

/// Connections of the bot.
const CONNECTIONS: usize = 8;
/// A call that is not up by then will not be.
pub(super) const UP_WITHIN: Duration = Duration::from_secs(20);
/// A server that admits calls slowly is asked again for so long, in such steps.
const REFUSED_FOR: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(250);
/// A command to a call that is not established yet is tried again so often.
pub(super) const TRIES: u32 = 100;
pub(super) const PAUSE: Duration = Duration::from_millis(10);

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
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    pub(super) calls: usize,
    pub(super) took: Duration,
    /// Why the first one failed that did; the rest was not tried then.
    pub(super) failure: Option<String>,
}

impl Pace {
    /// Calls per second.
    pub(super) fn rate(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl Bot {
    /// Sets calls up and plays `uri(number)` in a loop on each, unless there is none. Stops at the
    /// first refusal, which the pace holds: a server that knows its limit is no fault.
    pub(super) fn create(
        &self,
        numbers: Vec<u32>,
        uri: &(dyn Fn(u32) -> Option<String> + Sync),
    ) -> (Vec<Up>, Pace) {
        self.spread(numbers, |client, number| {
            let up = self.create_one(client, number)?;
            let Some(uri) = uri(number) else { return Ok(up) };
            match play(client, &up.id, &uri, true) {
                Ok(_) => Ok(up),
                Err(error) => {
                    let _ = client.send("DELETE", &path_of(&up.id), &Value::Null);
                    Err(error)
                }
            }
        })
    }

    /// Hangs calls up.
    pub(super) fn delete(&self, calls: Vec<Up>) -> Pace {
        let hang_up = |client: &mut Client, call: Up| {
            client.send("DELETE", &path_of(&call.id), &Value::Null)?;
            // One that takes too long is not waited for, and the others are hung up all the same.
            Ok(self.far_end.wait(call.number, Stage::Ended, UP_WITHIN).is_some())
        };
        self.spread(calls, hang_up).1
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
        let refused_until = Instant::now() + REFUSED_FOR;
        let mut exchange = client.send("POST", "/v1.0/communications/calls", &body)?;
        while exchange.status == 429 && Instant::now() < refused_until {
            std::thread::sleep(AGAIN);
            exchange = client.send("POST", "/v1.0/communications/calls", &body)?;
        }
        let id = exchange.id()?;
        if self.far_end.wait(number, Stage::Confirmed, UP_WITHIN).is_none() {
            let _ = client.send("DELETE", &path_of(&id), &Value::Null);
            bail!("call {number} is not up in time");
        }
        Ok(Up { number, id })
    }

    pub(super) fn spread<T: Send, R: Send>(
        &self,
        items: Vec<T>,
        work: impl Fn(&mut Client, T) -> anyhow::Result<R> + Sync,
    ) -> (Vec<R>, Pace) {
        let since = Instant::now();
        let lanes = CONNECTIONS.min(items.len());
        let items = Mutex::new(items.into_iter());
        let done = Mutex::new((Vec::new(), None));
        let next = || {
            let is_failed = lock(&done).1.is_some();
            if is_failed { None } else { lock(&items).next() }
        };
        let lane = || {
            let run = || -> anyhow::Result<()> {
                let mut client = self.connect()?;
                while let Some(item) = next() {
                    let result = work(&mut client, item)?;
                    lock(&done).0.push(result);
                }
                Ok(())
            };
            if let Err(error) = run() {
                lock(&done).1.get_or_insert(format!("{error:#}"));
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                scope.spawn(lane);
            }
        });
        let (done, failure) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let calls = done.len();
        (done, Pace { calls, took: since.elapsed(), failure })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn path_of(call: &str) -> String {
    format!("/v1.0/communications/calls/{call}")
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
    let exchange = command(client, call, "playPrompt", &body)?;
    exchange.id()?;
    Ok(exchange.sent)
}

/// Asks something of a call as soon as it is established.
///
/// # Errors
/// When no whole response comes; a refusal is the caller's to see.
pub(super) fn command(
    client: &mut Client,
    call: &str,
    verb: &str,
    body: &Value,
) -> anyhow::Result<Exchange> {
    let path = format!("/beta/communications/calls/{call}/{verb}");
    for _ in 0..TRIES {
        let exchange = client.send("POST", &path, body)?;
        // The far end's ACK may be read here before the server has told its own call of the 200.
        if exchange.status != 409 && exchange.status != 400 {
            return Ok(exchange);
        }
        std::thread::sleep(PAUSE);
    }
    client.send("POST", &path, body)
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
