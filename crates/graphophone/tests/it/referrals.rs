//! Far ends that bring somebody else into a call of a bot's: by REFER (RFC 3515), if the
//! configuration lets them, and by an INVITE with Replaces (RFC 3891). What plays goes on.

use std::num::NonZeroUsize;

use axum::http::Method;
use graphophone::{
    auth::Secret,
    bot::{Bot, is_audio_active, is_end_of, is_terminated, sent_ms},
    config::{Config, IncomingRefer as Policy, Phone as PhoneSection},
};
use graphophone_call::Tone;
use graphophone_media::{
    codec::Codec,
    engine::{Engine, EngineConfig},
};
use graphophone_sip::{
    IncomingRefer,
    phone::{AnswerPolicy, Phone, PhoneCall, PhoneConfig, ReferOutcome},
};
use graphophone_testkit::{
    TestServer,
    audio::{as_heard, assert_heard, tone_wav},
    heard, patience, soon, states,
};
use serde_json::json;

use crate::transfer::{assert_hears, phone, talk, target, transfer};

/// Which part of the prompts is heard can be told by pitch.
const SCALE: [f64; 10] = [350.0, 400.0, 460.0, 530.0, 610.0, 700.0, 800.0, 920.0, 1_060.0, 1_220.0];
const STEP_MS: u32 = 500;

fn follows(config: &mut Config) {
    config.sip.incoming_refer = Policy::Follow;
}

/// Plays five seconds to a phone, and waits until it has heard some of it. What is to be heard
/// comes back, and the operation.
async fn play_long(bot: &Bot, call: &str, listener: &PhoneCall) -> (Vec<i16>, String) {
    let files: Vec<Vec<u8>> = SCALE.iter().map(|hz| tone_wav(*hz, STEP_MS)).collect();
    let uris: Vec<String> =
        (0..).zip(&files).map(|(n, file)| bot.serve(&format!("{n}"), file.clone())).collect();
    let operation = bot.play(call, &uris, false).await.expect("it is accepted");
    heard(listener, 200).await;
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    (as_heard(&files, Codec::Pcmu), operation)
}

/// The first phone has heard the beginning and the second the end of what was played; nothing twice.
fn assert_shared(whole: &[i16], first: &[i16], second: &[i16]) {
    assert!(whole.starts_with(first), "the first has heard the beginning: {}", first.len());
    // Silence fills the last packet.
    let tail = whole.len() - second.len().min(whole.len());
    assert_eq!(whole[tail..], *second, "the second has heard the end");
    let (first, second) = (first.len(), second.len());
    assert!(second >= 4_000, "and at least half a second of it: {second}");
    assert!(first + second <= whole.len(), "{first} and {second} of {}", whole.len());
}

/// The call is with this phone now, in both directions, until it hangs up.
async fn assert_goes_on_with(bot: &mut Bot, call: &str, his: &PhoneCall) {
    his.press(&[Tone::Tone7]).expect("it has a stream");
    let told = bot.until(patience(), |value| value["resourceData"]["toneInfo"].is_object()).await;
    let told = told.expect("a key");
    assert_eq!(told.len(), 1, "{:?}", states(&told));
    assert_eq!(told[0].value["resourceData"]["toneInfo"]["tone"], "tone7");
    assert!(told[0].value["resourceUrl"].as_str().expect("a path").ends_with(call));
    his.hang_up();
    let told = bot.until(patience(), is_terminated).await.expect("the end");
    assert_eq!(states(&told), ["deleted terminated"]);
}

async fn subscribe(bot: &Bot, call: &str) {
    let path = format!("/v1.0/communications/calls/{call}/subscribeToTone");
    let body = json!({"clientContext": "keys"});
    let answer = bot.send(Method::POST, &path, Some(body)).await.expect("a response");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_refer_that_is_followed_moves_the_call_and_the_prompt_goes_on() {
    let server = TestServer::start_with(follows).await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    subscribe(&bot, &id).await;
    let (whole, operation) = play_long(&bot, &id, &hers).await;
    hers.refer(&bob.uri(), None);
    let his = soon("bob is called", bob.next_call()).await;
    assert_eq!(soon("alice is told", hers.refer_outcome()).await, Some(ReferOutcome::Reached));
    soon("she is hung up on", hers.ended()).await;
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_eq!(states(&told), ["deleted operation completed"], "the bot notices nothing");
    assert_eq!(sent_ms(&told[0].value["resourceData"]), 5_000);
    assert_shared(&whole, &hers.heard().samples, &his.heard().samples);
    assert_goes_on_with(&mut bot, &id, &his).await;
}

#[tokio::test]
async fn a_phone_hands_the_bot_to_whom_it_has_talked_to_before() {
    // What desk phones call an attended transfer: REFER with Replaces.
    let server = TestServer::start_with(follows).await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    subscribe(&bot, &id).await;
    let aside = alice.call(&bob.uri()).await.unwrap();
    let his = soon("bob is called", bob.next_call()).await;
    soon("they talk", aside.established()).await.unwrap();
    let (whole, operation) = play_long(&bot, &id, &hers).await;
    let name = aside.dialog().expect("it is established");
    hers.refer(&name.target, Some(&name.replaces));
    assert_eq!(soon("alice is told", hers.refer_outcome()).await, Some(ReferOutcome::Reached));
    soon("she is hung up on by the bot", hers.ended()).await;
    soon("and by bob", aside.ended()).await;
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_eq!(states(&told), ["deleted operation completed"], "the bot notices nothing");
    assert_shared(&whole, &hers.heard().samples, &his.heard().samples);
    assert_goes_on_with(&mut bot, &id, &his).await;
}

#[tokio::test]
async fn a_refer_to_who_is_busy_or_not_allowed_leaves_the_call_as_it_was() {
    let server = TestServer::start_with(follows).await;
    let mut bot = server.bot().await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    bob.set_answer(AnswerPolicy::Busy);
    for (target, status) in [
        (bob.uri(), 486),
        // Not in `dial.allow`.
        ("sip:eve@192.0.2.1".to_owned(), 403),
        ("sip:bob@no-such-host.invalid".to_owned(), 403),
    ] {
        let alice = phone(&server, "alice", IncomingRefer::Decline).await;
        let (hers, id) = talk(&mut bot, &alice).await;
        hers.refer(&target, None);
        let outcome = soon("alice is told", hers.refer_outcome()).await;
        let Some(ReferOutcome::Failed(why)) = outcome else { panic!("{target}: {outcome:?}") };
        assert_eq!(why.code, status, "{target}");
        assert_still_hears(&mut bot, &id, &hers).await;
        hers.hang_up();
        bot.until(patience(), is_terminated).await.unwrap();
    }
}

#[tokio::test]
async fn by_default_a_refer_is_declined_and_nobody_is_called() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    hers.refer(&bob.uri(), None);
    assert_eq!(soon("alice is told", hers.refer_outcome()).await, Some(ReferOutcome::Refused));
    assert_still_hears(&mut bot, &id, &hers).await;
    assert!(bob.latest_call().is_none(), "nobody calls bob");
}

/// The bot is told of nothing but the end of a prompt, which is heard.
async fn assert_still_hears(bot: &mut Bot, id: &str, listener: &PhoneCall) {
    let file = tone_wav(660.0, 400);
    let uri = bot.serve("still", file.clone());
    let operation = bot.play(id, &[uri], false).await.unwrap();
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_eq!(states(&told), ["deleted operation completed"]);
    assert_heard(&heard(listener, 400).await.samples, &as_heard(&[&file], Codec::Pcmu));
}

#[tokio::test]
async fn a_phone_that_takes_over_a_dialog_hears_the_rest_of_the_prompt() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    subscribe(&bot, &id).await;
    let (whole, operation) = play_long(&bot, &id, &hers).await;
    let name = hers.dialog().expect("it is established");
    let his = bob.call_replacing(&name.target, &name.replaces).await.unwrap();
    soon("bob is connected", his.established()).await.unwrap();
    soon("alice is hung up on", hers.ended()).await;
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_eq!(states(&told), ["deleted operation completed"], "the bot notices nothing");
    assert_eq!(sent_ms(&told[0].value["resourceData"]), 5_000);
    assert_shared(&whole, &hers.heard().samples, &his.heard().samples);
    assert_goes_on_with(&mut bot, &id, &his).await;
}

#[tokio::test]
async fn a_caller_that_changes_phones_is_still_heard_by_the_one_it_was_transferred_to() {
    // A bridge is no bot's call any more; its legs follow a Replaces all the same.
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let alice = phone(&server, "alice", IncomingRefer::Decline).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let desk = phone(&server, "desk", IncomingRefer::Decline).await;
    let (hers, id) = talk(&mut bot, &alice).await;
    transfer(&bot, &id, target(&bob)).await;
    bot.until(patience(), is_terminated).await.unwrap();
    let his = soon("bob is called", bob.next_call()).await;
    soon("they talk", his.established()).await.unwrap();
    let name = hers.dialog().expect("it is established");
    let at_desk = desk.call_replacing(&name.target, &name.replaces).await.unwrap();
    soon("the other phone is connected", at_desk.established()).await.unwrap();
    soon("the first is hung up on", hers.ended()).await;
    assert_hears(&at_desk, &his, 440.0).await;
    assert_hears(&his, &at_desk, 700.0).await;
    at_desk.hang_up();
    soon("it ends", his.ended()).await;
}

#[tokio::test]
async fn nobody_takes_over_the_call_of_another_registered_phone() {
    let server = TestServer::start_with(|config| {
        for user in ["alice", "eve"] {
            config.phones.push(PhoneSection {
                user: user.to_owned(),
                password: Secret::new("secret"),
                user_id: user.to_owned(),
            });
        }
    })
    .await;
    let registered = async |user: &str| {
        let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap();
        Phone::start(PhoneConfig::new(user, "secret", server.sip()), engine).await.unwrap()
    };
    let (alice, eve) = (registered("alice").await, registered("eve").await);
    let mut bot = server.bot().await;
    let id = bot.call(json!({"user": {"id": "alice"}}), &[]).await.unwrap();
    let hers = soon("alice is called", alice.next_call()).await;
    bot.until(patience(), is_audio_active).await.unwrap();
    let name = hers.dialog().expect("it is established");
    let outsider = phone(&server, "outsider", IncomingRefer::Decline).await;
    for thief in [&eve, &outsider] {
        let stolen = thief.call_replacing(&name.target, &name.replaces).await.unwrap();
        let refused = soon("an answer", stolen.established()).await;
        assert_eq!(refused.expect_err("481 (RFC 3891 §3)").code, 481);
    }
    assert_still_hears(&mut bot, &id, &hers).await;
}
