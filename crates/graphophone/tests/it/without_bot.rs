//! Group calls that go on when their bot has left them.

use std::{num::NonZeroUsize, time::Duration};

use axum::http::{Method, StatusCode};
use graphophone::{bot::is_terminated, config::Interval};
use graphophone_media::engine::{Engine, EngineConfig};
use graphophone_sip::{
    IncomingRefer,
    phone::{Phone, PhoneConfig},
};
use graphophone_testkit::{ServerProcess, patience, soon};
use serde_json::json;

use crate::{
    conference::{Group, invitation, roster},
    transfer::assert_hears,
};

/// The bot deletes its call, and is told its end.
async fn leave(group: &mut Group) {
    group.bot.hang_up(&group.id).await.unwrap();
    let ended = group.until(is_terminated).await;
    assert_eq!(ended.value["resourceData"]["resultInfo"]["subcode"], 7000);
    assert_eq!(group.send(Method::GET, "", None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_group_call_goes_on_without_its_bot_while_two_are_in_it() {
    let mut group = Group::of(3).await;
    group.speak();
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;
    leave(&mut group).await;
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;
    group.lines[0].call.hang_up();
    soon("one leaves", group.lines[0].call.ended()).await;
    let gone = group.lines.remove(0);
    group.each_hears(&[&[1], &[0]]).await;
    drop(gone);
    group.lines[0].call.hang_up();
    soon("the last one is not left alone", group.lines[1].call.ended()).await;
}

#[tokio::test]
async fn a_group_call_ends_with_its_bot_where_the_configuration_says_so() {
    let mut group =
        Group::with(3, |config| config.calls.without_bot = Interval(Duration::ZERO)).await;
    leave(&mut group).await;
    for line in &group.lines {
        soon("all are hung up", line.call.ended()).await;
    }
}

#[tokio::test]
async fn a_group_call_without_a_bot_lasts_no_longer_than_the_configuration_says() {
    let longest = Duration::from_secs(2);
    let mut group = Group::with(2, |config| config.calls.without_bot = Interval(longest)).await;
    leave(&mut group).await;
    for line in &group.lines {
        soon("all are hung up", line.call.ended()).await;
    }
}

#[tokio::test]
async fn nobody_who_was_dialled_stays_longer_than_any_call_may_last() {
    let longest = Duration::from_secs(6);
    let mut group = Group::with(2, |config| config.dial.max_call = Interval(longest)).await;
    let ended = group.until(is_terminated).await;
    assert_eq!(ended.value["resourceData"]["resultInfo"]["subcode"], 10199);
    for line in &group.lines {
        soon("all are hung up", line.call.ended()).await;
    }
}

#[tokio::test]
async fn a_server_that_drains_does_not_wait_for_people_without_a_bot() {
    let mut group = Group::of(2).await;
    leave(&mut group).await;
    let Group { server, lines, .. } = group;
    server.stop().await;
    for line in &lines {
        soon("BYE", line.call.ended()).await;
    }
}

/// A server of its own, and so many phones that call nobody themselves.
async fn process(data: &std::path::Path, phones: &[&str]) -> (ServerProcess, Vec<Phone>) {
    let server = ServerProcess::start(env!("CARGO_BIN_EXE_graphophone"), data).await;
    let ready = std::fs::read(data.join("ready.json")).unwrap();
    let ready: serde_json::Value = serde_json::from_slice(&ready).unwrap();
    let at = ready["sip"]["udp"].as_str().unwrap().parse().unwrap();
    let mut made = Vec::new();
    for name in phones {
        let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap();
        let incoming_refer = IncomingRefer::Decline;
        let config =
            PhoneConfig { register: false, incoming_refer, ..PhoneConfig::new(name, "", at) };
        made.push(Phone::start(config, engine).await.unwrap());
    }
    (server, made)
}

#[tokio::test]
async fn after_a_kill_the_next_start_hangs_up_those_who_were_without_a_bot() {
    let data = tempfile::tempdir().unwrap();
    let (server, phones) = process(data.path(), &["one", "two", "three", "four"]).await;
    let mut bot = server.bot().await;
    let mut body = bot.new_call(json!({}), &[]);
    body["targets"] = phones[..3].iter().map(invitation).collect();
    let path = "/v1.0/communications/calls";
    let made = bot.send(Method::POST, path, Some(body)).await.unwrap().ok().unwrap();
    let told = bot.until(patience(), |value| roster(value).is_some_and(|r| r.len() == 4)).await;
    let shown = roster(&told.unwrap().last().unwrap().value).unwrap();
    let first = |shown: &&serde_json::Value| {
        shown["info"]["identity"]["user"]["id"] == phones[0].uri().as_str()
    };
    let first = shown.iter().find(first).unwrap()["id"].clone();
    // One of them is bridged with the fourth; the bot's call ends with that.
    let body = json!({
        "transferTarget": invitation(&phones[3]),
        "transferee": {"identity": {"user": {"id": "one"}}, "participantId": first},
    });
    let path = format!("{path}/{}/transfer", made["id"].as_str().unwrap());
    bot.send(Method::POST, &path, Some(body)).await.unwrap().ok().unwrap();
    let mut calls = Vec::new();
    for phone in &phones {
        let call = soon("a phone is called", phone.next_call()).await;
        soon("it is up", call.established()).await.unwrap();
        calls.push(call);
    }
    bot.until(patience(), is_terminated).await.unwrap();
    // All four are heard where they are: what keeps their dialogs is durable before that.
    assert_hears(&calls[0], &calls[3], 500.0).await;
    assert_hears(&calls[1], &calls[2], 800.0).await;
    server.kill();
    for call in &calls {
        tokio::time::timeout(Duration::ZERO, call.ended()).await.expect_err("they talk on");
    }
    let _server = ServerProcess::start(env!("CARGO_BIN_EXE_graphophone"), data.path()).await;
    for call in &calls {
        soon("the next start says good-bye", call.ended()).await;
    }
}
