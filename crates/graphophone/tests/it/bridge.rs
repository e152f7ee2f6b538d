//! Two phones that go on without the bot: what reaches the other besides voices, and what ends it.

use std::time::Duration;

use axum::http::Method;
use graphophone::{
    bot::{Bot, is_audio_active, is_terminated},
    config::Interval,
};
use graphophone_call::Tone;
use graphophone_media::{analysis, codec::SampleCodec};
use graphophone_sip::{
    IncomingRefer,
    phone::{Phone, PhoneCall},
};
use graphophone_testkit::{TestServer, WirePhone, patience, seen, soon};
use serde_json::{Value, json};

use crate::transfer::{assert_hears, phone, sine, user};

/// The bot calls a phone and hands it on to somebody else by a bridge; its end comes back.
async fn bridged(bot: &mut Bot, phone: &Phone, target: Value) -> PhoneCall {
    let id = bot.call(user(phone), &[]).await.expect("the call is made");
    let call = soon("the phone is called", phone.next_call()).await;
    bot.until(patience(), is_audio_active).await.expect("audio");
    let path = format!("/v1.0/communications/calls/{id}/transfer");
    let body = json!({"transferTarget": {"identity": target}});
    let answer = bot.send(Method::POST, &path, Some(body)).await.expect("a response");
    assert_eq!(answer.status, 202, "{}", answer.body);
    bot.until(patience(), is_terminated).await.expect("the bot is out of it");
    call
}

async fn assert_keys(of: &PhoneCall, codes: &[u8]) {
    let told = || async { (of.heard().tones.len() >= codes.len()).then_some(()) };
    seen("the keys come", told).await;
    assert_eq!(of.heard().tones, codes);
}

#[tokio::test]
async fn keys_reach_the_other_as_events_however_they_were_pressed() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let hers = bridged(&mut bot, &alice, user(&bob)).await;
    let his = soon("bob is called", bob.next_call()).await;
    assert_hears(&hers, &his, 440.0).await;
    assert_hears(&his, &hers, 700.0).await;

    hers.press(&Tone::ALL).unwrap();
    let all: Vec<u8> = Tone::ALL.iter().map(|tone| tone.event_code()).collect();
    assert_keys(&his, &all).await;
    // By INFO, twice the same one; they come back as events.
    his.press_by_info(&[Tone::Tone5, Tone::Tone5, Tone::Pound]);
    assert_keys(&hers, &[5, 5, 11]).await;
    // While somebody speaks, and both at once.
    hers.say(&sine(440.0, 3_000)).unwrap();
    his.press(&[Tone::Tone1, Tone::Tone2]).unwrap();
    hers.press_by_info(&[Tone::Tone3]);
    assert_keys(&hers, &[5, 5, 11, 1, 2]).await;
    assert_keys(&his, &[all, vec![3]].concat()).await;
    assert_hears(&his, &hers, 700.0).await;
    hers.hang_up();
    soon("both legs end together", his.ended()).await;
    assert_eq!(hers.heard().tones, [5, 5, 11, 1, 2], "none comes late or twice");
}

#[tokio::test]
async fn keys_reach_a_phone_without_telephone_events_as_sound() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let wire = WirePhone::start().await;
    let hers = bridged(&mut bot, &alice, wire.identity()).await;
    for (tone, low, high) in [(Tone::Tone5, 770.0, 1_336.0), (Tone::Pound, 941.0, 1_477.0)] {
        let from = wire.heard().alaw.len();
        hers.press(&[tone]).unwrap();
        let is_heard = || async {
            let samples = SampleCodec::Pcma.decode(&wire.heard().alaw[from..]);
            let has_both = |piece: &[i16]| {
                let level = |hz| analysis::tone_level_db(piece, 8_000, hz);
                level(low) > -20.0 && level(high) > -20.0 && level(600.0) < -30.0
            };
            samples.windows(400).step_by(80).any(has_both).then_some(())
        };
        seen("the tone is heard", is_heard).await;
    }
    assert!(wire.heard().events.is_empty());
    hers.hang_up();
    seen("the other is hung up", || async { (wire.asked("BYE") > 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_bridge_ends_when_one_of_the_two_falls_silent() {
    let server = TestServer::start_with(|config| {
        config.rtp.media_timeout = Interval(Duration::from_secs(2));
    })
    .await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    // Sends nothing, ever.
    let wire = WirePhone::start().await;
    let id = bot.call(user(&alice), &[]).await.unwrap();
    let hers = soon("alice is called", alice.next_call()).await;
    soon("she answers", hers.established()).await.unwrap();
    hers.say(&sine(440.0, 60_000)).unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let path = format!("/v1.0/communications/calls/{id}/transfer");
    let body = json!({"transferTarget": {"identity": wire.identity()}});
    assert_eq!(bot.send(Method::POST, &path, Some(body)).await.unwrap().status, 202);
    bot.until(patience(), is_terminated).await.unwrap();
    soon("she is hung up", hers.ended()).await;
    seen("and so is the other", || async { (wire.asked("BYE") > 0).then_some(()) }).await;
}
