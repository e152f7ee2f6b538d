//! A group call with phones of their own, for the tests of conferences: who hears what is judged by
//! the tones that each of them heard.

use axum::http::Method;
use graphophone::{
    bot::{Answer, Bot, Received},
    config::Config,
};
use graphophone_media::{
    analysis,
    prompt::{Accept, Prompt},
    wav,
};
use graphophone_sip::phone::{Phone, PhoneCall};
use graphophone_testkit::{TestServer, audio, is_audio_active, patience, seen, soon};
use serde_json::{Value, json};

/// What phones say, one each: far apart, and none a harmonic or a sum of others.
pub(crate) const TONES: [f64; 4] = [440.0, 1_020.0, 1_730.0, 2_330.0];
/// Long enough for every test.
const TONE_MS: u32 = 60_000;
/// What is looked at, at the end of what was heard.
const WINDOW_MS: usize = 500;
/// A tone is said at −18 dBFS.
const HEARD_DB: f64 = -26.0;
const NOT_HEARD_DB: f64 = -50.0;

/// A phone in a call.
pub(crate) struct Line {
    pub(crate) phone: Phone,
    pub(crate) call: PhoneCall,
    /// What it says, in Hz.
    pub(crate) hz: f64,
}

/// A group call of a bot.
pub(crate) struct Group {
    pub(crate) server: TestServer,
    pub(crate) bot: Bot,
    pub(crate) id: String,
    pub(crate) lines: Vec<Line>,
    /// Every notification taken so far, in order.
    pub(crate) told: Vec<Received>,
}

impl Group {
    /// So many phones, all in the call and silent.
    pub(crate) async fn of(phones: usize) -> Self {
        Self::with(phones, |_| {}).await
    }

    /// The same on a server with changes.
    pub(crate) async fn with(phones: usize, change: impl FnOnce(&mut Config)) -> Self {
        let server = TestServer::start_with(change).await;
        let bot = server.bot().await;
        let mut idle = Vec::new();
        for number in 0..phones {
            idle.push(server.unregistered_phone(&format!("phone{number}")).await);
        }
        let mut body = bot.new_call(json!({}), &[]);
        body["targets"] = idle.iter().map(invitation).collect();
        let made = bot.send(Method::POST, "/v1.0/communications/calls", Some(body)).await.unwrap();
        let id = made.ok().unwrap()["id"].as_str().unwrap().to_owned();
        let mut lines = Vec::new();
        for (phone, hz) in idle.into_iter().zip(TONES) {
            let call = soon("a phone is called", phone.next_call()).await;
            call.established().await.unwrap();
            lines.push(Line { phone, call, hz });
        }
        let mut group = Self { server, bot, id, lines, told: Vec::new() };
        group.until(is_audio_active).await;
        group.roster_of(phones + 1).await;
        group
    }

    /// Sends something of this call.
    pub(crate) async fn send(&self, method: Method, tail: &str, body: Option<Value>) -> Answer {
        self.send_to("v1.0", method, tail, body).await
    }

    pub(crate) async fn send_to(
        &self,
        version: &str,
        method: Method,
        tail: &str,
        body: Option<Value>,
    ) -> Answer {
        let path = format!("/{version}/communications/calls/{}{tail}", self.id);
        self.bot.send(method, &path, body).await.unwrap()
    }

    pub(crate) async fn post(&self, tail: &str, body: Value) -> Answer {
        self.send(Method::POST, tail, Some(body)).await
    }

    /// Takes notifications until one is as wanted; it comes back.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Received {
        loop {
            let next = self.bot.next(patience()).await.unwrap();
            self.told.push(next.clone());
            if wanted(&next.value) {
                return next;
            }
        }
    }

    /// Takes notifications until a roster shows so many.
    pub(crate) async fn roster_of(&mut self, count: usize) -> Vec<Value> {
        self.roster_that(|roster| roster.len() == count).await
    }

    /// Takes notifications until a roster is as wanted.
    pub(crate) async fn roster_that(&mut self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let is_wanted = |value: &Value| roster(value).is_some_and(|roster| wanted(&roster));
        let received = self.until(is_wanted).await;
        roster(&received.value).unwrap()
    }

    /// All rosters that the bot was told of.
    pub(crate) fn rosters(&self) -> Vec<Vec<Value>> {
        self.told.iter().filter_map(|received| roster(&received.value)).collect()
    }

    /// The participant id of a phone.
    pub(crate) async fn participant(&self, line: usize) -> String {
        let list = self.send(Method::GET, "/participants", None).await.ok().unwrap();
        let uri = self.lines[line].phone.uri();
        let is_it = |shown: &&Value| shown["info"]["identity"]["user"]["id"] == uri.as_str();
        let list = list["value"].as_array().unwrap().clone();
        let found = list.iter().find(is_it).unwrap_or_else(|| panic!("{uri} in {list:?}"));
        found["id"].as_str().unwrap().to_owned()
    }

    /// All phones begin to say their tones.
    pub(crate) fn speak(&self) {
        self.lines.iter().for_each(Line::speak);
    }

    /// Waits until each line hears exactly the tones of the lines listed for it.
    pub(crate) async fn each_hears(&self, expected: &[&[usize]]) {
        for (line, heard) in self.lines.iter().zip(expected) {
            let all = self.lines.iter().map(|other| other.hz);
            let wanted: Vec<f64> = heard.iter().map(|number| self.lines[*number].hz).collect();
            let others: Vec<f64> = all.filter(|hz| !wanted.contains(hz)).collect();
            hears(&line.call, &wanted, &others).await;
        }
    }
}

impl Line {
    /// Begins to say its tone.
    pub(crate) fn speak(&self) {
        speak(&self.call, self.hz);
    }
}

/// Says a tone for a minute.
pub(crate) fn speak(call: &PhoneCall, hz: f64) {
    let samples: Vec<i16> = audio::tone(hz, TONE_MS).into_iter().map(|sample| sample / 4).collect();
    let file = wav::to_bytes(audio::RATE, &samples);
    call.say(&Prompt::decode(file.as_slice(), Accept::Any).unwrap()).unwrap();
}

/// Waits until a phone hears these tones and none of the others, for as long as is looked at.
pub(crate) async fn hears(call: &PhoneCall, wanted: &[f64], others: &[f64]) {
    let look = || async {
        let levels = levels(call)?;
        let is_heard = |hz: &f64| levels.iter().any(|(of, db)| of == hz && *db > HEARD_DB);
        let is_silent = |hz: &f64| levels.iter().all(|(of, db)| of != hz || *db < NOT_HEARD_DB);
        (wanted.iter().all(is_heard) && others.iter().all(is_silent)).then_some(())
    };
    let waiting = seen("a phone hears what it should", look);
    if tokio::time::timeout(std::time::Duration::from_secs(12), waiting).await.is_err() {
        panic!("wanted {wanted:?} and not {others:?}; it hears {:?}", levels(call));
    }
}

/// How loud each tone was at the end of what a phone heard.
pub(crate) fn levels(call: &PhoneCall) -> Option<Vec<(f64, f64)>> {
    let heard = call.heard();
    let end = heard.packets.iter().map(|packet| packet.start + packet.length).max()?;
    let start = end.checked_sub(audio::ms_to_samples(WINDOW_MS))?;
    let window = heard.samples.get(start..end)?;
    Some(TONES.iter().map(|hz| (*hz, analysis::tone_level_db(window, 8_000, *hz))).collect())
}

/// Whom to call, as a bot writes it.
pub(crate) fn invitation(phone: &Phone) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.invitationParticipantInfo",
        "identity": {"@odata.type": "#microsoft.graph.identitySet", "user": {"id": phone.uri()}},
    })
}

/// The participants of a roster notification.
pub(crate) fn roster(value: &Value) -> Option<Vec<Value>> {
    let is_roster = value["resource"].as_str()?.ends_with("/participants");
    is_roster.then(|| value["resourceData"].as_array().cloned()).flatten()
}

/// Whether a phone was never called.
pub(crate) fn levels_of_nobody(phone: &Phone) -> bool {
    phone.latest_call().is_none()
}
