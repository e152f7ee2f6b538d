//! An established call with audio, seen from the bot's and from the phone's side.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::http::Method;
use graphophone::{
    bot::{Answer, Bot, Received, is_audio_active, is_end_of},
    config::Config,
};
use graphophone_sip::phone::{Heard, PhoneCall};
use serde_json::{Value, json};

use crate::{TestServer, audio, patience, seen, soon};

/// A call that has audio, with the server, the bot that made it and the phone that answered it.
pub struct TestCall {
    /// The server.
    pub server: TestServer,
    /// The bot.
    pub bot: Bot,
    /// The phone's end of the call.
    pub phone: PhoneCall,
    /// Its Graph id.
    pub id: String,
    /// Every notification taken so far, in order.
    pub told: Vec<Received>,
}

impl TestCall {
    /// A call to the built-in phone of a new server.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same on a server with changes.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let server = TestServer::start_with(change).await;
        let bot = server.bot().await;
        let id = bot.call(server.phone_identity(), &[]).await.expect("the call is made");
        let phone = soon("the phone is called", server.phone().next_call()).await;
        let mut call = Self { server, bot, phone, id, told: Vec::new() };
        call.until(is_audio_active).await;
        call
    }

    /// Serves a file to the server; where, comes back. Every time another address.
    pub fn serve(&self, wav: &[u8]) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        self.bot.serve(&name, wav.to_vec())
    }

    /// The body of a playPrompt of these files.
    pub fn prompts(&self, files: &[&[u8]]) -> Value {
        let prompt = |file: &&[u8]| {
            json!({
                "@odata.type": "#microsoft.graph.mediaPrompt",
                "mediaInfo": {
                    "@odata.type": "#microsoft.graph.mediaInfo",
                    "uri": self.serve(file),
                },
            })
        };
        json!({"prompts": files.iter().map(prompt).collect::<Vec<_>>()})
    }

    /// Plays files as one operation; its id comes back.
    pub async fn play(&self, files: &[&[u8]]) -> String {
        self.play_body("v1.0", self.prompts(files)).await
    }

    /// Plays files in a loop.
    pub async fn play_looping(&self, files: &[&[u8]]) -> String {
        let mut body = self.prompts(files);
        body["loop"] = true.into();
        self.play_body("beta", body).await
    }

    /// Sends a playPrompt that must be accepted; the operation's id comes back.
    pub async fn play_body(&self, version: &str, body: Value) -> String {
        let operation = self.act(version, "playPrompt", body).await.ok().expect("it is accepted");
        assert_eq!(operation["status"], "running");
        operation["id"].as_str().expect("an id").to_owned()
    }

    /// Sends an action of this call.
    pub async fn act(&self, version: &str, action: &str, body: Value) -> Answer {
        let path = format!("/{version}/communications/calls/{}/{action}", self.id);
        self.bot.send(Method::POST, &path, Some(body)).await.expect("a response")
    }

    /// Cancels everything.
    pub async fn cancel(&self) -> Answer {
        self.bot.cancel(&self.id).await.expect("a cancel is accepted")
    }

    /// An operation as it is now.
    pub async fn operation(&self, id: &str) -> Value {
        self.bot.operation(&self.id, id).await.expect("the operation can be read")
    }

    /// Reads an operation until it is as wanted.
    pub async fn operation_that(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let wanted = &wanted;
        seen("an operation in a certain state", || async move {
            Some(self.operation(id).await).filter(wanted)
        })
        .await
    }

    /// Takes notifications until one is as wanted; it comes back.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Received {
        loop {
            let next = self.bot.next(patience()).await;
            let next = next.unwrap_or_else(|error| panic!("{error}; told: {:?}", self.states()));
            self.told.push(next.clone());
            if wanted(&next.value) {
                return next;
            }
        }
    }

    /// Waits for the end of an operation; the notification comes back.
    pub async fn ended(&mut self, operation: &str) -> Received {
        self.until(|value| is_end_of(value, operation)).await
    }

    /// What the phone has heard, once so many milliseconds of audio have arrived.
    pub async fn heard(&self, ms: usize) -> Heard {
        heard(&self.phone, ms).await
    }

    /// What the bot was told so far, in short (see [`states`]).
    pub fn states(&self) -> Vec<String> {
        states(&self.told)
    }

    /// Hangs up and takes all notifications up to the last one.
    pub async fn hang_up(&mut self) -> Received {
        self.bot.hang_up(&self.id).await.expect("the hang-up is accepted");
        self.until(graphophone::bot::is_terminated).await
    }

    /// Asserts that nothing is told for a while that is long for loopback.
    pub async fn assert_nothing_more_is_told(&mut self) {
        let window = tokio::time::Instant::now() + Duration::from_millis(200);
        if let Ok(received) = self.bot.next(window).await {
            panic!("nobody waits for {}", received.value);
        }
    }
}

/// Notifications in short: `updated established`, `updated established active`,
/// `deleted operation completed`.
pub fn states(told: &[Received]) -> Vec<String> {
    told.iter().map(|received| state(&received.value)).collect()
}

/// What a phone has heard, once so many milliseconds of audio have arrived.
pub async fn heard(phone: &PhoneCall, ms: usize) -> Heard {
    let least = audio::ms_to_samples(ms);
    let arrived = |heard: &Heard| heard.packets.iter().map(|packet| packet.length).sum::<usize>();
    let look = || async { Some(phone.heard()).filter(|heard| arrived(heard) >= least) };
    seen("the phone hears enough", look).await
}

fn state(value: &Value) -> String {
    let data = &value["resourceData"];
    let mut words = vec![value["changeType"].as_str().unwrap_or("?")];
    if data["state"].is_null() {
        words.push("operation");
    }
    words.extend(data["state"].as_str());
    words.extend(data["status"].as_str());
    words.extend(data["mediaState"]["audio"].as_str());
    words.join(" ")
}
