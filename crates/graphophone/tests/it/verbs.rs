//! Each verb in each state of a call, over HTTP and in both versions: the status, and `error.code` of
//! a refusal (spec/api.md §0.5, §1–§8; spec/state-machines.md §1, §4). The core's half of it is in
//! `crates/call/src/call/tests/verbs.rs`.

use std::{any::Any, collections::BTreeMap, time::Duration};

use axum::http::Method;
use graphophone::config::Interval;
use graphophone_call::AppId;
use graphophone_sip::phone::{AnswerPolicy, Phone};
use graphophone_testkit::{Answer, Bot, Credentials, TestServer, WirePhone, patience, soon};
use serde_json::{Value, json};
use uuid::Uuid;

/// Rows: what is asked; of one version only where its name is before it. Columns: of which call.
const TABLE: &str = "
verb                    | no id    | unknown  | another's | incoming | establishing | established | app-hosted | group    | transferring | transferAccepted | redirecting | terminating | terminated
GET                     | 404 8522 | 404 8522 | 404 8522  | 200      | 200          | 200         | 200        | 200      | 200          | 200              | 200         | 200         | 404 8522
DELETE                  | 404 8522 | 404 8522 | 404 8522  | 204      | 204          | 204         | 204        | 204      | 204          | 204              | 204         | 204         | 404 8522
answer                  | 404 8522 | 404 8522 | 404 8522  | 202      | 400 8585     | 400 8585    | 400 8585   | 400 8585 | 400 8585     | 400 8585         | 400 8585    | 400 8528    | 404 8522
reject                  | 404 8522 | 404 8522 | 404 8522  | 202      | 400 8585     | 400 8585    | 400 8585   | 400 8585 | 400 8585     | 400 8585         | 400 8585    | 400 8528    | 404 8522
redirect                | 404 8522 | 404 8522 | 404 8522  | 202      | 400 8585     | 400 8585    | 400 8585   | 400 8585 | 400 8585     | 400 8585         | 400 8585    | 400 8528    | 404 8522
transfer                | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 202         | 202        | 400 8523 | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
transfer one            | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 202         | 202        | 202      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
keepAlive               | 404 8522 | 404 8522 | 404 8522  | 400 8585 | 200          | 200         | 200        | 200      | 200          | 200              | 400 8585    | 400 8528    | 404 8522
playPrompt              | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 200         | 400 8500   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
cancelMediaProcessing   | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 200         | 400 8500   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
recordResponse          | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 200         | 400 8500   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
record                  | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 200         | 400 8500   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
subscribeToTone         | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 200         | 400 8500   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
sendDtmfTones           | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 200         | 400 8500   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
GET operations          | 404 8522 | 404 8522 | 404 8522  | 200      | 200          | 200         | 200        | 200      | 200          | 200              | 200         | 200         | 200
PATCH                   | 404 8522 | 404 8522 | 404 8522  | 200      | 200          | 200         | 200        | 200      | 200          | 200              | 200         | 200         | 404 8522
mute                    | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
unmute                  | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
changeScreenSharingRole | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8500    | 202        | 400 8500 | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
updateRecordingStatus   | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 200         | 200        | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
addLargeGalleryView     | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8500    | 405 8520   | 400 8500 | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
GET participants        | 404 8522 | 404 8522 | 404 8522  | 200      | 200          | 200         | 200        | 200      | 200          | 200              | 200         | 200         | 404 8522
invite                  | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
muteAll                 | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
configureMixer          | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
DELETE participant      | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 204      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
mute participant        | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
startHoldMusic          | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 202      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
stopHoldMusic           | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 202      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
GET audioRoutingGroups  | 404 8522 | 404 8522 | 404 8522  | 400 8548 | 400 8548     | 400 8548    | 400 8548   | 200      | 400 8548     | 400 8548         | 400 8548    | 400 8548    | 404 8522
POST audioRoutingGroups | 404 8522 | 404 8522 | 404 8522  | 400 8548 | 400 8548     | 400 8548    | 400 8548   | 200      | 400 8548     | 400 8548         | 400 8548    | 400 8548    | 404 8522
GET audioRoutingGroup   | 404 8522 | 404 8522 | 404 8522  | 400 8548 | 400 8548     | 400 8548    | 400 8548   | 200      | 400 8548     | 400 8548         | 400 8548    | 400 8548    | 404 8522
PATCH audioRoutingGroup | 404 8522 | 404 8522 | 404 8522  | 400 8548 | 400 8548     | 400 8548    | 400 8548   | 200      | 400 8548     | 400 8548         | 400 8548    | 400 8548    | 404 8522
DELETE audioRoutingGroup | 404 8522 | 404 8522 | 404 8522  | 400 8548 | 400 8548     | 400 8548    | 400 8548   | 204      | 400 8548     | 400 8548         | 400 8548    | 400 8548    | 404 8522
GET participant         | 404 8522 | 404 8522 | 404 8522  | 200      | 200          | 200         | 200        | 200      | 200          | 200              | 200         | 200         | 404 8522
graphophoneUnmute       | 404 8522 | 404 8522 | 404 8522  | 400 8501 | 400 8501     | 400 8548    | 400 8548   | 200      | 400 8585     | 400 8585         | 400 8501    | 400 8528    | 404 8522
GET operation           | 404 8522 | 404 8522 | 404 8522  | 404 8522 | 404 8522     | 404 8522    | 404 8522   | 404 8522 | 404 8522     | 404 8522         | 404 8522    | 404 8522    | 404 8522
graphophone.pause       | 404 8522 | 404 8522 | 404 8522  | 404 8522 | 404 8522     | 404 8522    | 404 8522   | 404 8522 | 404 8522     | 404 8522         | 404 8522    | 404 8522    | 404 8522
";

/// Longer than the table takes.
const LONG: Duration = Duration::from_secs(300);

/// A call in some state, and what keeps it there.
struct Place {
    call: String,
    /// Its own participant.
    own: String,
    /// A participant: of a group call somebody else, else its own.
    person: String,
    _kept: Box<dyn Any>,
}

struct Places {
    server: TestServer,
    bot: Bot,
    stranger: Bot,
    ringer: Phone,
    caller: Phone,
    version: &'static str,
    made: BTreeMap<String, Place>,
}

impl Places {
    async fn new(version: &'static str) -> Self {
        let (server, bot) = TestServer::start_with_webhook(|config| {
            config.calls.answer_within = Interval(LONG);
            config.calls.ring_for = Interval(LONG);
        })
        .await;
        let mut other = Credentials::of_dev(server.server().ready()).unwrap();
        other.client_id = AppId::new(Uuid::from_u128(7));
        other.client_secret = "another one's".into();
        let stranger = server.bot_as(other).await;
        let ringer = server.unregistered_phone("ringer").await;
        ringer.set_answer(AnswerPolicy::Never);
        let caller = server.unregistered_phone("+15557777").await;
        Self { server, bot, stranger, ringer, caller, version, made: BTreeMap::new() }
    }

    /// The call in this state; a new one if there is none, or it has left the state.
    async fn at(&mut self, state: &str) -> &Place {
        if !self.made.contains_key(state) {
            let place = self.make(state).await;
            self.made.insert(state.to_owned(), place);
        }
        &self.made[state]
    }

    async fn make(&mut self, state: &str) -> Place {
        let nobody = || Uuid::from_u128(99).to_string();
        match state {
            "no id" => {
                Place { call: "none".into(), own: nobody(), person: nobody(), _kept: Box::new(()) }
            }
            "unknown" => {
                Place { call: nobody(), own: nobody(), person: nobody(), _kept: Box::new(()) }
            }
            "another's" => {
                let body = self.stranger.new_call(user(&self.ringer.uri()), &[]);
                let made = self.stranger.send(Method::POST, &self.path(""), Some(body)).await;
                place(&made.unwrap().ok().unwrap(), ())
            }
            "incoming" => {
                let target = format!("sip:+15551234@{}", self.server.sip());
                let phone = self.caller.call(&target).await.unwrap();
                place(&self.told("incoming", None).await, phone)
            }
            "establishing" => self.outgoing(&self.ringer.uri(), Value::Null, ()).await,
            "established" => {
                let phone = WirePhone::start_with_keys().await;
                let place = self.outgoing_to(phone, Value::Null).await;
                self.told("established", Some(&place.call)).await;
                place
            }
            "app-hosted" => {
                let phone = WirePhone::start_with_keys().await;
                let config = json!({
                    "@odata.type": "#microsoft.graph.appHostedMediaConfig",
                    "blob": "<Session Identifier>",
                });
                let place = self.outgoing_to(phone, config).await;
                self.told("established", Some(&place.call)).await;
                place
            }
            "group" => {
                let phones = (WirePhone::start().await, WirePhone::start().await);
                let mut body = self.bot.new_call(phones.0.identity(), &[]);
                let other = body["targets"][0].clone();
                body["targets"].as_array_mut().unwrap().push(other);
                body["targets"][1]["identity"] = phones.1.identity();
                let made = self.bot.send(Method::POST, &self.path(""), Some(body)).await;
                let made = made.unwrap().ok().unwrap();
                let mut place = place(&made, phones);
                place.person = self.roster(&place.call, &place.own).await;
                place
            }
            "transferring" | "transferAccepted" => {
                let phone = match state {
                    "transferring" => WirePhone::start_deaf_to_refer().await,
                    // It agrees to everything, and says nothing more.
                    _ => WirePhone::start().await,
                };
                let place = self.outgoing_to(phone, Value::Null).await;
                self.told("established", Some(&place.call)).await;
                let target = json!({
                    "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                    "identity": user(&self.ringer.uri()),
                });
                let path = self.path(&format!("/{}/transfer", place.call));
                let body = json!({"transferTarget": target});
                self.bot.send(Method::POST, &path, Some(body)).await.unwrap().ok().unwrap();
                self.told(state, Some(&place.call)).await;
                place
            }
            "redirecting" => {
                let place = Box::pin(self.make("incoming")).await;
                let target = json!({
                    "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                    "identity": user(&self.ringer.uri()),
                });
                let path = self.path(&format!("/{}/redirect", place.call));
                let body = json!({"targets": [target]});
                self.bot.send(Method::POST, &path, Some(body)).await.unwrap().ok().unwrap();
                place
            }
            "terminating" => {
                let phone = WirePhone::start_deaf_to_bye().await;
                let place = self.outgoing_to(phone, Value::Null).await;
                self.told("established", Some(&place.call)).await;
                self.bot.hang_up(&place.call).await.unwrap();
                place
            }
            "terminated" => {
                let place = self.outgoing(&self.ringer.uri(), Value::Null, ()).await;
                self.bot.hang_up(&place.call).await.unwrap();
                self.told("terminated", Some(&place.call)).await;
                place
            }
            other => panic!("no such state: {other}"),
        }
    }

    async fn outgoing_to(&self, phone: WirePhone, media: Value) -> Place {
        let identity = phone.identity()["user"]["id"].as_str().unwrap().to_owned();
        self.outgoing(&identity, media, phone).await
    }

    async fn outgoing(&self, uri: &str, media: Value, kept: impl Any) -> Place {
        let mut body = self.bot.new_call(user(uri), &[]);
        if !media.is_null() {
            body["mediaConfig"] = media;
        }
        let made = self.bot.send(Method::POST, &self.path(""), Some(body)).await;
        place(&made.unwrap().ok().unwrap(), kept)
    }

    /// Waits until a call is told to be in a state; its `resourceData` comes back.
    async fn told(&mut self, state: &str, call: Option<&str>) -> Value {
        loop {
            let next = self.bot.next(patience()).await.unwrap().value;
            let is_of = |id: &str| next["resourceUrl"].as_str().unwrap().ends_with(id);
            if next["resourceData"]["state"] == state && call.is_none_or(is_of) {
                return next["resourceData"].clone();
            }
        }
    }

    /// Waits for a roster of three; the participant of one who is not `me` comes back.
    async fn roster(&mut self, call: &str, me: &str) -> String {
        loop {
            let next = self.bot.next(patience()).await.unwrap().value;
            let url = next["resourceUrl"].as_str().unwrap();
            let people = next["resourceData"].as_array().filter(|people| people.len() == 3);
            if let (true, Some(people)) = (url.contains(call), people) {
                let mut ids = people.iter().map(|person| person["id"].as_str().unwrap());
                return ids.find(|id| *id != me).unwrap().to_owned();
            }
        }
    }

    fn path(&self, tail: &str) -> String {
        format!("/{}/communications/calls{tail}", self.version)
    }

    /// Asks for a verb in a state; the table's cell comes back.
    async fn ask(&mut self, verb: &str, state: &str) -> String {
        let target = user(&self.ringer.uri());
        let callback = self.bot.callback_uri();
        let place = self.at(state).await;
        let (method, tail, body) = request(verb, place, &target, &callback);
        let call = &place.call;
        let path = format!("/{call}{tail}");
        let answer = self.bot.send(method, &self.path(&path), body).await.unwrap();
        if answer.status.is_success() && leaves(verb) {
            self.made.remove(state);
        }
        cell(&answer)
    }
}

fn place(call: &Value, kept: impl Any) -> Place {
    let text = |name: &str| call[name].as_str().unwrap_or_else(|| panic!("no {name}: {call}"));
    let own = text("myParticipantId").to_owned();
    Place { call: text("id").into(), person: own.clone(), own, _kept: Box::new(kept) }
}

fn user(id: &str) -> Value {
    json!({"user": {"id": id}})
}

/// Whether the call goes on to another state where this is accepted.
fn leaves(verb: &str) -> bool {
    matches!(
        verb,
        "DELETE"
            | "DELETE participant"
            | "answer"
            | "reject"
            | "redirect"
            | "transfer"
            | "transfer one"
    )
}

/// Method, rest of the path and body of a verb.
fn request(
    verb: &str,
    Place { own, person: me, .. }: &Place,
    target: &Value,
    callback: &str,
) -> (Method, String, Option<Value>) {
    let media = json!({"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"});
    let target = json!({
        "@odata.type": "#microsoft.graph.invitationParticipantInfo",
        "identity": target,
    });
    let prompt = json!({
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": "http://127.0.0.1:9/a.wav"},
    });
    let context = json!({"clientContext": "table"});
    let post = |tail: &str, body: Value| (Method::POST, tail.to_owned(), Some(body));
    let get = |tail: &str| (Method::GET, tail.to_owned(), None);
    match verb {
        "GET" => get(""),
        "DELETE" => (Method::DELETE, String::new(), None),
        "PATCH" => (Method::PATCH, String::new(), Some(json!({"requestedModalities": ["audio"]}))),
        "GET operations" => get("/operations"),
        "GET participants" => get("/participants"),
        "GET audioRoutingGroups" => get("/audioRoutingGroups"),
        "GET audioRoutingGroup" => get("/audioRoutingGroups/oneToOne"),
        "DELETE audioRoutingGroup" => {
            (Method::DELETE, "/audioRoutingGroups/oneToOne".to_owned(), None)
        }
        "GET participant" => get(&format!("/participants/{me}")),
        // Operations that there are have tests of their own.
        "GET operation" => get(&format!("/operations/{}", Uuid::from_u128(98))),
        "graphophone.pause" => {
            post(&format!("/operations/{}/{verb}", Uuid::from_u128(98)), json!({}))
        }
        "graphophoneUnmute" => post(&format!("/participants/{me}/{verb}"), context),
        "answer" => {
            let body = json!({
                "callbackUri": callback, "acceptedModalities": ["audio"], "mediaConfig": media,
            });
            post("/answer", body)
        }
        "reject" => post("/reject", json!({"reason": "busy"})),
        "redirect" => post("/redirect", json!({"targets": [target], "callbackUri": callback})),
        "transfer" => post("/transfer", json!({"transferTarget": target})),
        "transfer one" => {
            let transferee = json!({"identity": {"user": {"id": "x"}}, "participantId": me});
            post("/transfer", json!({"transferTarget": target, "transferee": transferee}))
        }
        "keepAlive" => (Method::POST, "/keepAlive".to_owned(), None),
        "mute" | "unmute" | "cancelMediaProcessing" | "subscribeToTone" | "addLargeGalleryView" => {
            post(&format!("/{verb}"), context)
        }
        "playPrompt" => post("/playPrompt", json!({"prompts": [prompt]})),
        "recordResponse" | "record" => post(&format!("/{verb}"), json!({"prompts": [prompt]})),
        "sendDtmfTones" => post("/sendDtmfTones", json!({"tones": ["tone1"]})),
        "changeScreenSharingRole" => post("/changeScreenSharingRole", json!({"role": "viewer"})),
        "updateRecordingStatus" => {
            post("/updateRecordingStatus", json!({"status": "recording", "clientContext": "table"}))
        }
        "invite" => post("/participants/invite", json!({"participants": [target]})),
        "muteAll" => post("/participants/muteAll", json!({"participants": [me]})),
        "configureMixer" => {
            let source = json!({
                "@odata.type": "#microsoft.graph.audioSourceLevel", "participant": me, "level": 50,
            });
            let mixer = json!({
                "@odata.type": "#microsoft.graph.participantMixerLevel",
                "participant": me, "exclusive": false, "ducking": null, "sourceLevels": [source],
            });
            post("/participants/configureMixer", json!({"participantMixerLevels": [mixer]}))
        }
        "DELETE participant" => (Method::DELETE, format!("/participants/{me}"), None),
        "mute participant" => post(&format!("/participants/{me}/mute"), context),
        "startHoldMusic" | "stopHoldMusic" => post(&format!("/participants/{me}/{verb}"), context),
        "POST audioRoutingGroups" | "PATCH audioRoutingGroup" => {
            let body = json!({
                "@odata.type": "#microsoft.graph.audioRoutingGroup", "id": "oneToOne",
                "routingMode": "oneToOne", "sources": [me], "receivers": [own],
            });
            match verb {
                "PATCH audioRoutingGroup" => {
                    (Method::PATCH, "/audioRoutingGroups/oneToOne".to_owned(), Some(body))
                }
                _ => post("/audioRoutingGroups", body),
            }
        }
        other => panic!("no such verb: {other}"),
    }
}

fn cell(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    match answer.body["error"]["code"].as_str() {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    }
}

async fn check(version: &'static str) {
    let mut places = Places::new(version).await;
    let cells = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    let mut lines = TABLE.trim().lines();
    let states = cells(lines.next().unwrap());
    let mut wrong = Vec::new();
    for line in lines {
        let row = cells(line);
        assert_eq!(row.len(), states.len(), "{line}");
        let verb = match row[0].split_once(' ') {
            Some((of @ ("v1.0" | "beta"), _)) if of != version => continue,
            Some(("v1.0" | "beta", verb)) => verb,
            Some(_) | None => row[0],
        };
        let mut got = Vec::new();
        for state in &states[1..] {
            got.push(soon(verb, places.ask(verb, state)).await);
        }
        if got != row[1..] {
            wrong.push(format!("{} | {}", row[0], got.join(" | ")));
        }
    }
    assert!(wrong.is_empty(), "{version} answers:\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_in_every_state_is_answered_as_the_table_says_in_v1() {
    check("v1.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_in_every_state_is_answered_as_the_table_says_in_beta() {
    check("beta").await;
}
