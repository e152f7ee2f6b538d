//! Transfers between real phones: by REFER, by a bridge of ours, to a call that the bot has.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use axum::http::Method;
use graphophone::bot::{Bot, is_audio_active, is_terminated};
use graphophone_media::{
    analysis,
    codec::Codec,
    engine::{Engine, EngineConfig},
    prompt::{Prompt, Sha256},
};
use graphophone_sip::{
    IncomingRefer,
    phone::{AnswerPolicy, Phone, PhoneCall, PhoneConfig},
};
use graphophone_testkit::{
    TestServer,
    audio::{as_heard, assert_heard, tone_wav},
    heard, is_end_of, patience, seen, soon, states,
};
use serde_json::{Value, json};

/// A phone at its own address, which does or does not do what it is referred to.
pub(crate) async fn phone(server: &TestServer, user: &str, refer: IncomingRefer) -> Phone {
    phone_of(server.sip(), user, refer).await
}

/// The same, of the server at this address.
pub(crate) async fn phone_of(server: SocketAddr, user: &str, refer: IncomingRefer) -> Phone {
    let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).expect("an engine");
    let config = PhoneConfig {
        register: false,
        incoming_refer: refer,
        ..PhoneConfig::new(user, "", server)
    };
    Phone::start(config, engine).await.expect("the phone starts")
}

pub(crate) fn user(phone: &Phone) -> Value {
    json!({"@odata.type": "#microsoft.graph.identitySet", "user": {"id": phone.uri()}})
}

pub(crate) fn target(phone: &Phone) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.invitationParticipantInfo",
        "identity": user(phone),
    })
}

/// The bot calls a phone; the phone's end and the id come back once there is audio.
pub(crate) async fn talk(bot: &mut Bot, phone: &Phone) -> (PhoneCall, String) {
    let id = bot.call(user(phone), &[]).await.expect("the call is made");
    let call = soon("the phone is called", phone.next_call()).await;
    bot.until(patience(), is_audio_active).await.expect("audio");
    (call, id)
}

pub(crate) async fn transfer(bot: &Bot, id: &str, target: Value) {
    let path = format!("/v1.0/communications/calls/{id}/transfer");
    let answer = bot.send(Method::POST, &path, Some(json!({"transferTarget": target}))).await;
    let answer = answer.expect("a response");
    assert_eq!((answer.status.as_u16(), &answer.body), (202, &Value::Null));
}

pub(crate) fn sine(hz: f64, ms: usize) -> Prompt {
    let sample = |n: usize| 12_000.0 * (std::f64::consts::TAU * hz * n as f64 / 8000.0).sin();
    let samples: Vec<i16> = (0..ms * 8).map(|n| sample(n) as i16).collect();
    Prompt { rate: 8_000, sha256: Sha256::of(&samples), samples }
}

/// What a phone says is heard by the other, by its pitch.
pub(crate) async fn assert_hears(speaker: &PhoneCall, listener: &PhoneCall, hz: f64) {
    speaker.say(&sine(hz, 1_500)).expect("it has a stream");
    let pitch = || async {
        let samples = listener.heard().samples;
        let recent = &samples[samples.len().saturating_sub(2_400)..];
        let found = analysis::dominant_frequency(recent, 8_000)?;
        ((found - hz).abs() < 8.0).then_some(())
    };
    seen("the other hears it", pitch).await;
}

fn result(value: &Value) -> (i64, i64) {
    let result = &value["resourceData"]["resultInfo"];
    (result["code"].as_i64().expect("a code"), result["subcode"].as_i64().expect("a subcode"))
}

#[tokio::test]
async fn a_blind_transfer_by_refer_leaves_two_phones_talking() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Follow).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let (first, id) = talk(&mut bot, &alice).await;
    transfer(&bot, &id, target(&bob)).await;
    let told = bot.until(patience(), is_terminated).await.unwrap();
    let wanted = ["updated transferring", "updated transferAccepted", "deleted terminated"];
    assert_eq!(states(&told), wanted);
    assert_eq!(result(&told[2].value), (0, 7015));
    assert_eq!(told[2].value["resourceData"]["terminationReason"], Value::Null);
    soon("the bot's call ends", first.ended()).await;

    // They are past the server now: alice has called bob herself.
    let hers = alice.latest_call().expect("she has called");
    let his = soon("bob is called", bob.next_call()).await;
    assert_eq!(hers.sip_call_id(), his.sip_call_id());
    soon("they talk", his.established()).await.unwrap();
    assert_hears(&hers, &his, 440.0).await;
    assert_hears(&his, &hers, 700.0).await;
    his.hang_up();
    soon("it ends", hers.ended()).await;
}

#[tokio::test]
async fn a_phone_that_does_not_refer_is_bridged_until_one_hangs_up() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    transfer(&bot, &id, target(&bob)).await;
    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(states(&told).last().map(String::as_str), Some("deleted terminated"));
    assert_eq!(states(&told)[..2], ["updated transferring", "updated transferAccepted"]);
    assert_eq!(result(&told[2].value), (0, 7015));
    let his = soon("bob is called", bob.next_call()).await;
    soon("they talk", his.established()).await.unwrap();
    assert_hears(&hers, &his, 440.0).await;
    assert_hears(&his, &hers, 700.0).await;
    his.hang_up();
    soon("both legs end together", hers.ended()).await;
}

#[tokio::test]
async fn a_bridge_ends_in_order_when_the_server_stops() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    transfer(&bot, &id, target(&bob)).await;
    bot.until(patience(), is_terminated).await.unwrap();
    let his = soon("bob is called", bob.next_call()).await;
    assert_hears(&hers, &his, 440.0).await;
    server.stop().await;
    for call in [&hers, &his] {
        soon("BYE", call.ended()).await;
    }
}

#[tokio::test]
async fn a_transfer_that_fails_comes_back_and_prompts_still_play() {
    for refer in [IncomingRefer::Follow, IncomingRefer::Decline] {
        let server = TestServer::start().await;
        let mut bot = server.bot().await;
        let alice = phone(&server, "alice", refer).await;
        let bob = phone(&server, "bob", IncomingRefer::Decline).await;
        bob.set_answer(AnswerPolicy::Busy);
        let (hers, id) = talk(&mut bot, &alice).await;
        transfer(&bot, &id, target(&bob)).await;
        let failed = |value: &Value| value["resourceData"]["resultInfo"]["code"] == 500;
        let told = bot.until(patience(), failed).await.unwrap();
        assert_eq!(states(&told).last().map(String::as_str), Some("updated established"));
        assert_eq!(result(&told[told.len() - 1].value), (500, 7000));

        let file = tone_wav(660.0, 400);
        let uri = bot.serve("again", file.clone());
        let operation = bot.play(&id, &[uri], false).await.unwrap();
        bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
        assert_heard(&heard(&hers, 400).await.samples, &as_heard(&[&file], Codec::Pcmu));
    }
}

#[tokio::test]
async fn a_consultative_transfer_connects_the_far_ends_of_two_calls() {
    for refer in [IncomingRefer::Follow, IncomingRefer::Decline] {
        let server = TestServer::start().await;
        let mut bot = server.bot().await;
        let alice = phone(&server, "alice", refer).await;
        let carol = phone(&server, "carol", IncomingRefer::Decline).await;
        let (first, id) = talk(&mut bot, &alice).await;
        let (hers, other) = talk(&mut bot, &carol).await;
        let mut to = target(&carol);
        to["replacesCallId"] = other.clone().into();
        transfer(&bot, &id, to).await;
        let mut ended = Vec::new();
        while ended.len() < 2 {
            let told = bot.until(patience(), is_terminated).await.unwrap();
            let last = &told[told.len() - 1].value;
            assert_eq!(result(last), (0, 7015), "{refer:?}: {last}");
            assert_eq!(last["resourceData"]["terminationReason"], "AppTransferred");
            ended.push(last["resourceUrl"].as_str().expect("a path").to_owned());
        }
        for id in [&id, &other] {
            assert!(ended.iter().any(|path| path.ends_with(id.as_str())), "{ended:?}");
        }
        // Carol's phone goes on with the same call of hers; alice's with a new one, if it refers.
        let alices = match refer {
            IncomingRefer::Follow => alice.latest_call().expect("she has called"),
            IncomingRefer::Decline => first,
        };
        assert_hears(&alices, &hers, 440.0).await;
        assert_hears(&hers, &alices, 700.0).await;
        hers.hang_up();
        soon("it ends", alices.ended()).await;
    }
}

#[tokio::test]
async fn a_transfer_needs_an_allowed_target_and_another_call_that_is_up() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    let path = format!("/v1.0/communications/calls/{id}/transfer");
    let outside = json!({"identity": {"user": {"id": "sip:eve@192.0.2.1"}}});
    let absent = "e141b67c-90fd-455d-858b-b48a40b9cc8d";
    for (to, status) in [
        (outside, 403),
        (json!({"identity": user(&alice), "replacesCallId": absent}), 400),
        (json!({"identity": user(&alice), "replacesCallId": id}), 400),
        (json!({"identity": {}}), 400),
    ] {
        let body = json!({"transferTarget": to});
        let answer = bot.send(Method::POST, &path, Some(body)).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    }
    tokio::time::timeout(Duration::ZERO, hers.ended()).await.expect_err("the call goes on");
}
