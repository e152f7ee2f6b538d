//! Group calls and meetings: who hears whom, prompts to all, and how they begin and end.

use std::num::NonZeroUsize;

use axum::http::{Method, StatusCode};
use graphophone::{
    bot::{Credentials, is_audio_active, is_end_of, is_terminated},
    config::ConferenceSection,
};
use graphophone_call::AppId;
use graphophone_media::engine::{Engine, EngineConfig};
use graphophone_sip::phone::{AnswerPolicy, Phone, PhoneConfig};
use graphophone_testkit::{ServerProcess, TestServer, audio, patience, sent_ms, soon, states};
use serde_json::json;
use uuid::Uuid;

use crate::conference::{self, Group, TONES, hears, invitation, roster, speak};

#[tokio::test]
async fn three_phones_with_three_tones_hear_exactly_the_other_two_each() {
    let mut group = Group::of(3).await;
    group.speak();
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;
    group.bot.hang_up(&group.id).await.unwrap();
    let ended = group.until(is_terminated).await;
    assert_eq!(ended.value["resourceData"]["resultInfo"]["subcode"], 7000);
}

#[tokio::test]
async fn a_prompt_is_heard_by_all_and_has_a_receipt() {
    let mut group = Group::of(2).await;
    let file = audio::tone_wav(TONES[3], 1_500);
    let uri = group.bot.serve("all.wav", file);
    let operation = group.bot.play(&group.id, &[uri], false).await.unwrap();
    for line in &group.lines {
        hears(&line.call, &[TONES[3]], &TONES[..3]).await;
    }
    let ended = group.until(|value| is_end_of(value, &operation)).await;
    let data = &ended.value["resourceData"];
    assert_eq!(data["completionReason"], "completedSuccessfully");
    assert_eq!(sent_ms(data), 1_500);
}

#[tokio::test]
async fn a_group_call_is_established_with_its_first_answer_and_ends_with_the_last_to_leave() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let (quick, busy) =
        (server.unregistered_phone("quick").await, server.unregistered_phone("busy").await);
    busy.set_answer(AnswerPolicy::Busy);
    let mut body = bot.new_call(json!({}), &[]);
    body["targets"] = json!([invitation(&quick), invitation(&busy)]);
    let made = bot.send(Method::POST, "/beta/communications/calls", Some(body)).await.unwrap();
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.body["state"], "establishing");
    assert_eq!(made.body["targets"].as_array().unwrap().len(), 2);
    let call = soon("a phone is called", quick.next_call()).await;
    let mut told = bot.until(patience(), |value| roster(value).is_some()).await.unwrap();
    let id = made.body["id"].as_str().unwrap();
    let shown = roster(&told.last().unwrap().value).unwrap();
    assert_eq!(shown.len(), 2, "who did not answer is not in it: {shown:?}");
    assert_eq!(shown[0]["info"]["identity"]["application"]["id"], json!(bot_app(&server)));
    assert_eq!(shown[0]["id"], made.body["myParticipantId"]);
    assert_eq!(told.last().unwrap().value["changeType"], "updated");
    let resource = format!("/communications/calls/{id}/participants");
    assert_eq!(told.last().unwrap().value["resourceUrl"], resource);
    call.hang_up();
    told.extend(bot.until(patience(), is_terminated).await.unwrap());
    let result = &told.last().unwrap().value["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(200), &json!(5002)));
    let calls: Vec<String> =
        states(&told).into_iter().filter(|state| state != "updated operation").collect();
    let expected = [
        "updated establishing",
        "updated established",
        "updated established active",
        "deleted terminated",
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_group_call_that_nobody_answers_ends_with_the_reason() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let busy = server.unregistered_phone("busy").await;
    busy.set_answer(AnswerPolicy::Busy);
    let mut body = bot.new_call(json!({}), &[]);
    body["targets"] = json!([invitation(&busy), invitation(&busy)]);
    let made = bot.send(Method::POST, "/v1.0/communications/calls", Some(body)).await.unwrap();
    assert_eq!(made.status, StatusCode::CREATED);
    let told = bot.until(patience(), is_terminated).await.unwrap();
    let result = &told.last().unwrap().value["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(486), &json!(8539)), "{result}");
}

#[tokio::test]
async fn two_bots_and_telephones_meet_in_a_named_conference() {
    let (name, number) = ("standup", "70199");
    let server = TestServer::start_with(|config| {
        config.conferences.push(ConferenceSection {
            name: name.into(),
            tenant: None,
            to: Some(number.parse().unwrap()),
            passcode: Some(graphophone::auth::Secret::new("sesame")),
            without_bot: false,
        });
    })
    .await;
    let mut first = server.bot().await;
    let owner = Credentials::of_dev(server.server().ready()).unwrap();
    let other = Credentials { client_id: AppId::new(Uuid::from_u128(5)), ..owner };
    let mut second = server.bot_as(other).await;
    let early = server.unregistered_phone("early").await;
    let dial = format!("sip:{number}@{}", server.sip());
    let refused = early.call(&dial).await.unwrap();
    assert_eq!(soon("a caller without a bot is refused", refused.ended()).await.code, 480);

    let join = |bot: &graphophone::bot::Bot, passcode: &str| {
        let mut body = bot.new_call(json!({}), &[]);
        body.as_object_mut().unwrap().remove("targets");
        body["meetingInfo"] = json!({
            "@odata.type": "#microsoft.graph.joinMeetingIdMeetingInfo",
            "joinMeetingId": name,
            "passcode": passcode,
        });
        body
    };
    let path = "/v1.0/communications/calls";
    let wrong = first.send(Method::POST, path, Some(join(&first, "x"))).await.unwrap();
    assert_eq!(
        (wrong.status, wrong.body["error"]["code"].clone()),
        (400.try_into().unwrap(), json!("8523"))
    );
    let joined = first.send(Method::POST, path, Some(join(&first, "sesame"))).await.unwrap();
    let first_id = joined.ok().unwrap()["id"].as_str().unwrap().to_owned();
    first.until(patience(), is_audio_active).await.unwrap();

    let ann = early.call(&dial).await.unwrap();
    ann.established().await.unwrap();
    first.until(patience(), |value| roster(value).is_some_and(|r| r.len() == 2)).await.unwrap();
    let joined = second.send(Method::POST, path, Some(join(&second, "sesame"))).await.unwrap();
    let second_id = joined.ok().unwrap()["id"].as_str().unwrap().to_owned();
    second.until(patience(), |value| roster(value).is_some_and(|r| r.len() == 3)).await.unwrap();
    let late = server.unregistered_phone("late").await;
    let bob = late.call(&dial).await.unwrap();
    bob.established().await.unwrap();
    for bot in [&mut first, &mut second] {
        bot.until(patience(), |value| roster(value).is_some_and(|r| r.len() == 4)).await.unwrap();
    }
    speak(&ann, TONES[0]);
    speak(&bob, TONES[1]);
    let uri = second.serve("hello.wav", audio::tone_wav(TONES[2], 3_000));
    second.play(&second_id, &[uri], false).await.unwrap();
    hears(&ann, &[TONES[1], TONES[2]], &[TONES[0]]).await;
    hears(&bob, &[TONES[0], TONES[2]], &[TONES[1]]).await;

    first.hang_up(&first_id).await.unwrap();
    second.until(patience(), |value| roster(value).is_some_and(|r| r.len() == 3)).await.unwrap();
    hears(&ann, &[TONES[1]], &[TONES[0]]).await;
    second.hang_up(&second_id).await.unwrap();
    // They go on without one, and nobody comes to them any more.
    let late = late.call(&dial).await.unwrap();
    assert_eq!(soon("a caller without a bot is refused", late.ended()).await.code, 480);
    hears(&ann, &[TONES[1]], &[TONES[0]]).await;
    ann.hang_up();
    soon("the conference ends with the last pair", bob.ended()).await;
}

#[tokio::test]
async fn after_a_kill_the_next_start_hangs_up_every_phone_of_a_group_call() {
    let data = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_graphophone");
    let server = ServerProcess::start(binary, data.path()).await;
    let mut bot = server.bot().await;
    let ready = std::fs::read(data.path().join("ready.json")).unwrap();
    let ready: serde_json::Value = serde_json::from_slice(&ready).unwrap();
    let at = ready["sip"]["udp"].as_str().unwrap().parse().unwrap();
    let mut phones = Vec::new();
    for name in ["one", "two"] {
        let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap();
        let config = PhoneConfig { register: false, ..PhoneConfig::new(name, "", at) };
        phones.push(Phone::start(config, engine).await.unwrap());
    }
    let mut body = bot.new_call(json!({}), &[]);
    body["targets"] = phones.iter().map(invitation).collect();
    let path = "/v1.0/communications/calls";
    bot.send(Method::POST, path, Some(body)).await.unwrap().ok().unwrap();
    bot.until(patience(), |value| roster(value).is_some_and(|r| r.len() == 3)).await.unwrap();
    let mut calls = Vec::new();
    for phone in &phones {
        calls.push(soon("a phone is called", phone.next_call()).await);
    }
    server.kill();
    let _server = ServerProcess::start(binary, data.path()).await;
    for call in &calls {
        soon("the next start says good-bye", call.ended()).await;
    }
}

#[tokio::test]
async fn keys_pressed_in_a_group_call_are_told_to_its_bot() {
    let mut group = Group::of(2).await;
    group.post("/subscribeToTone", json!({})).await.ok().unwrap();
    group.lines[1].call.press(&[graphophone_call::Tone::Star]).unwrap();
    let told = group.until(|value| !value["resourceData"]["toneInfo"].is_null()).await;
    let tone = &told.value["resourceData"]["toneInfo"];
    assert_eq!((&tone["tone"], &tone["sequenceId"]), (&json!("star"), &json!(1)));
}

#[tokio::test]
async fn what_kind_of_call_it_is_decides_which_role_it_needs() {
    let server = TestServer::start().await;
    let bot = server.bot().await;
    let phone = server.unregistered_phone("p").await;
    let mut both = bot.new_call(json!({"user": {"id": phone.uri()}}), &[]);
    both["meetingInfo"] = json!({
        "@odata.type": "#microsoft.graph.tokenMeetingInfo", "token": "t",
    });
    let answer =
        bot.send(Method::POST, "/v1.0/communications/calls", Some(both.clone())).await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{:?}", answer.body);
    let mut nameless = both;
    nameless.as_object_mut().unwrap().remove("targets");
    nameless["meetingInfo"] = json!({"@odata.type": "#microsoft.graph.organizerMeetingInfo"});
    let answer =
        bot.send(Method::POST, "/v1.0/communications/calls", Some(nameless)).await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("meetingInfo: name the meeting"), "{message}");
    let mut denied = bot.new_call(json!({}), &[]);
    denied["targets"] = json!([
        invitation(&phone),
        {"identity": {"phone": {"id": "+15551234"}}},
    ]);
    let answer = bot.send(Method::POST, "/v1.0/communications/calls", Some(denied)).await.unwrap();
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "no target is dialled if one may not be");
    assert!(conference::levels_of_nobody(&phone));
}

fn bot_app(server: &TestServer) -> String {
    server.server().ready().client_id.unwrap().to_string()
}
