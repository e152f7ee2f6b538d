//! `participants/invite` of somebody who is in a call of the bot already: they come from there.

use std::time::Duration;

use axum::http::Method;
use graphophone::bot::{Bot, Credentials, is_audio_active};
use graphophone_call::AppId;
use graphophone_sip::phone::{Phone, PhoneCall};
use graphophone_testkit::{TestServer, audio::tone_wav, is_end_of, patience, soon};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::conference::{Group, TONES, hears, invitation, speak};

/// A call between a bot and a phone; the phone's end, and the call's id.
async fn pair(bot: &mut Bot, phone: &Phone) -> (PhoneCall, String) {
    let id = bot.call(json!({"user": {"id": phone.uri()}}), &[]).await.unwrap();
    let call = soon("the phone is called", phone.next_call()).await;
    bot.until(patience(), is_audio_active).await.unwrap();
    (call, id)
}

fn from(phone: &Phone, call: &str) -> Value {
    let mut invited = invitation(phone);
    invited["replacesCallId"] = call.into();
    json!({"participants": [invited, {"identity": {"user": {"id": "sip:nobody@192.0.2.1"}}}]})
}

async fn other_bot(server: &TestServer) -> Bot {
    let owner = Credentials::of_dev(server.server().ready()).unwrap();
    server.bot_as(Credentials { client_id: AppId::new(Uuid::from_u128(77)), ..owner }).await
}

#[tokio::test]
async fn who_is_in_a_call_of_the_bot_comes_into_the_group_without_being_called_again() {
    let mut group = Group::of(2).await;
    group.speak();
    let third = group.server.unregistered_phone("third").await;
    let (call, old) = pair(&mut group.bot, &third).await;
    let uri = group.bot.serve("loop.wav", tone_wav(TONES[3], 500));
    group.bot.play(&old, &[uri], true).await.unwrap();
    hears(&call, &[TONES[3]], &TONES[..3]).await;

    let answer = group.post("/participants/invite", from(&third, &old)).await;
    let operation = answer.ok().unwrap();
    assert_eq!(operation["participants"].as_array().unwrap().len(), 1, "{operation}");
    assert_eq!(operation["participants"][0]["replacesCallId"], old.as_str());
    let invited = operation["participants"][0]["participantId"].clone();
    let operation = operation["id"].as_str().unwrap().to_owned();
    let is_old = |value: &Value| {
        value["changeType"] == "deleted"
            && value["resourceUrl"] == format!("/communications/calls/{old}")
    };
    // Each call has its own order; between the two there is none.
    let is_new = |value: &Value| is_end_of(value, &operation);
    group.until(|value| is_old(value) || is_new(value)).await;
    group.until(|value| is_old(value) || is_new(value)).await;
    let find = |wanted: &dyn Fn(&Value) -> bool| {
        let told = group.told.iter().map(|told| &told.value).find(|told| wanted(told));
        told.unwrap()["resourceData"].clone()
    };
    let (ended, done) = (find(&is_old), find(&is_new));
    assert_eq!(
        (&ended["state"], &ended["resultInfo"]["subcode"]),
        (&json!("terminated"), &json!(7015))
    );
    assert_eq!(done["status"], "completed", "{done}");
    if group.rosters().iter().all(|roster| roster.len() != 4) {
        group.roster_of(4).await;
    }
    let list = group.send(Method::GET, "/participants", None).await.ok().unwrap();
    let shown = list["value"].as_array().unwrap().clone();
    assert_eq!((shown.len(), &shown[3]["id"]), (4, &invited));

    assert_eq!(third.latest_call().unwrap().sip_call_id(), call.sip_call_id(), "it was not called");
    speak(&call, TONES[2]);
    hears(&call, &TONES[..2], &TONES[2..]).await;
    hears(&group.lines[0].call, &[TONES[1], TONES[2]], &[TONES[0], TONES[3]]).await;
    let path = format!("/v1.0/communications/calls/{old}/playPrompt");
    let gone = group.bot.send(Method::POST, &path, Some(json!({}))).await.unwrap();
    assert_eq!(gone.status, 404);
    let path = format!("/participants/{}", invited.as_str().unwrap());
    group.send(Method::DELETE, &path, None).await;
    soon("the removed phone is hung up", call.ended()).await;
}

#[tokio::test]
async fn nobody_comes_from_a_call_that_is_none_of_the_bots_own_or_no_pair() {
    let mut group = Group::of(2).await;
    let third = group.server.unregistered_phone("third").await;
    let mut other = other_bot(&group.server).await;
    let (foreign, foreign_id) = pair(&mut other, &third).await;
    let absent = "0fe0623f-d628-42ed-b4bd-8ac290072cc5";
    let own = group.id.clone();
    let mut answers = Vec::new();
    for (call, status, code) in
        [(absent, 404, "8522"), (foreign_id.as_str(), 404, "8522"), (own.as_str(), 400, "8523")]
    {
        let answer = group.post("/participants/invite", from(&third, call)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["error"]["code"], code);
        answers.push(answer.body["error"]["message"].clone());
    }
    assert_eq!(answers[0], answers[1], "a foreign call is like none");
    assert!(answers[2].as_str().unwrap().starts_with("participants[0].replacesCallId: "));
    tokio::time::timeout(Duration::ZERO, foreign.ended()).await.expect_err("the call goes on");
    // A second one for the same call comes too late.
    let fourth = group.server.unregistered_phone("fourth").await;
    let (moved, old) = pair(&mut group.bot, &fourth).await;
    let first = group.post("/participants/invite", from(&fourth, &old)).await.ok().unwrap();
    group.until(|value| is_end_of(value, first["id"].as_str().unwrap())).await;
    let again = group.post("/participants/invite", from(&fourth, &old)).await;
    assert_eq!(again.status, 404, "{}", again.body);
    tokio::time::timeout(Duration::ZERO, moved.ended()).await.expect_err("they stay");
}
