//! Requests sent again under the same client-request-id: carried out once, answered each time.

use axum::http::Method;
use futures::future::join_all;
use graphophone_call::AppId;
use graphophone_media::codec::Codec;
use graphophone_testkit::{
    Bot, Credentials, ServerProcess, TestCall, TestServer, WirePhone,
    audio::{as_heard, assert_heard, tone_wav},
    is_audio_active, is_end_of, patience, seen,
};
use serde_json::{Value, json};

use crate::conference::{Group, TONES, hears, invitation};

const CALLS: &str = "/v1.0/communications/calls";

#[tokio::test]
async fn a_call_asked_for_many_times_is_dialled_once() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let phone = WirePhone::start().await;
    let body = bot.new_call(phone.identity(), &[]);
    let answers = join_all((0..8).map(|_| bot.post_once("create-1", CALLS, &body))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap()).collect();
    for answer in &answers {
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.body["id"], answers[0].body["id"]);
        assert_eq!(answer.headers["location"], answers[0].headers["location"]);
    }
    bot.until(patience(), is_audio_active).await.unwrap();
    assert_eq!(phone.asked("INVITE"), 1);
    let listed = bot.send(Method::GET, CALLS, None).await.unwrap();
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1);

    // Another body under the same id is a mistake of the bot, another id another call.
    let mut other = body.clone();
    other["subject"] = json!("another");
    let refused = bot.post_once("create-1", CALLS, &other).await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), &refused.body["error"]["code"]),
        (409, &json!("Conflict"))
    );
    let second = WirePhone::start().await;
    let body = bot.new_call(second.identity(), &[]);
    let made = bot.post_once("create-2", CALLS, &body).await.unwrap();
    assert_ne!(made.body["id"], answers[0].body["id"]);

    // After its end it is still the same call.
    let id = answers[0].body["id"].as_str().unwrap();
    bot.hang_up(id).await.unwrap();
    let body = bot.new_call(phone.identity(), &[]);
    let again = bot.post_once("create-1", CALLS, &body).await.unwrap();
    assert_eq!((again.status.as_u16(), again.body["id"].as_str()), (201, Some(id)));
    assert_eq!(phone.asked("INVITE"), 1);
}

#[tokio::test]
async fn another_application_may_use_the_same_id() {
    let server = TestServer::start().await;
    let (one, two) = (server.bot().await, server.bot().await);
    let phones = [WirePhone::start().await, WirePhone::start().await];
    // Two bots of one application are the same client; another application is not.
    let first =
        one.post_once("same", CALLS, &one.new_call(phones[0].identity(), &[])).await.unwrap();
    let foreign =
        two.post_once("same", CALLS, &two.new_call(phones[1].identity(), &[])).await.unwrap();
    assert_eq!(first.status, 201);
    assert_eq!(foreign.status, 409, "another body of the same application");
    let ready = server.server().ready();
    let stranger = Credentials {
        tenant: ready.tenant.unwrap().to_string(),
        client_id: AppId::new(uuid::Uuid::from_u128(77)),
        client_secret: "of-a-stranger".into(),
    };
    let other = server.bot_as(stranger).await;
    let made =
        other.post_once("same", CALLS, &other.new_call(phones[1].identity(), &[])).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    assert_ne!(made.body["id"], first.body["id"]);
}

#[tokio::test]
async fn a_prompt_asked_for_many_times_is_heard_once() {
    let mut call = TestCall::start().await;
    let tone = tone_wav(440.0, 300);
    let body = call.prompts(&[&tone]);
    let path = format!("{CALLS}/{}/playPrompt", call.id);
    let answers = join_all((0..8).map(|_| call.bot.post_once("play-1", &path, &body))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap()).collect();
    let operation = answers[0].body["id"].as_str().unwrap().to_owned();
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.body["id"]), (200, &json!(operation)));
    }
    // What is asked for next follows at once, behind one tone and not eight.
    let last = call.play(&[&tone_wav(880.0, 200)]).await;
    call.ended(&operation).await;
    let again = call.bot.post_once("play-1", &path, &body).await.unwrap();
    assert_eq!(
        (&again.body["id"], &again.body["status"]),
        (&json!(operation), &json!("completed"))
    );
    let other = call.prompts(&[&tone]);
    assert_eq!(call.bot.post_once("play-1", &path, &other).await.unwrap().status, 409);

    call.ended(&last).await;
    let heard = call.heard(500).await;
    assert_heard(&heard.samples, &as_heard(&[&tone, &tone_wav(880.0, 200)], Codec::Pcmu));
    let path = format!("{CALLS}/{}/operations", call.id);
    let kept = call.bot.send(Method::GET, &path, None).await.unwrap();
    assert_eq!(kept.body["value"].as_array().unwrap().len(), 2);
}

/// The operation that all of these answers have made.
fn one_operation(answers: &[graphophone_testkit::Answer]) -> String {
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["id"], answers[0].body["id"]);
        assert_eq!(answer.headers["location"], answers[0].headers["location"]);
    }
    answers[0].body["id"].as_str().unwrap().to_owned()
}

async fn all_at_once(bot: &Bot, id: &str, path: &str, body: &Value) -> String {
    let answers = join_all((0..8).map(|_| bot.post_once(id, path, body))).await;
    one_operation(&answers.into_iter().map(|answer| answer.unwrap()).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_recording_asked_for_many_times_is_made_once() {
    let mut call = TestCall::start().await;
    // Such as wait for their turn, and such as cancel what is there: a second one would cancel the
    // first.
    let mut made = Vec::new();
    for (name, barges_in) in [("recordResponse", false), ("record", true), ("recordResponse", true)]
    {
        let body = json!({
            "prompts": [{"mediaInfo": {"uri": "graphophone:tone?frequency=600&durationMs=100"}}],
            "bargeInAllowed": barges_in, "playBeep": false, "initialSilenceTimeoutInSeconds": 1,
        });
        let path = format!("{CALLS}/{}/{name}", call.id);
        let id = format!("record-{barges_in}");
        let operation = all_at_once(&call.bot, &id, &path, &body).await;
        let ended = call.ended(&operation).await.value["resourceData"].clone();
        assert_eq!(ended["completionReason"], "mediaReceiveTimeout", "{name}: {ended}");
        let again = call.bot.post_once(&id, &path, &body).await.unwrap();
        assert_eq!(
            (&again.body["id"], &again.body["status"]),
            (&json!(operation), &json!("failed"))
        );
        let other = call.bot.post_once(&id, &path, &json!({"prompts": []})).await.unwrap();
        assert_eq!(other.status, 409, "{}", other.body);
        made.push((operation, id, path, body));
    }
    let path = format!("{CALLS}/{}/operations", call.id);
    let kept = call.bot.send(Method::GET, &path, None).await.unwrap();
    assert_eq!(kept.body["value"].as_array().unwrap().len(), made.len());
    // The call does not have to be there any more.
    call.hang_up().await;
    for (operation, id, path, body) in made {
        let again = call.bot.post_once(&id, &path, &body).await.unwrap();
        assert_eq!((again.status.as_u16(), &again.body["id"]), (200, &json!(operation)));
    }
}

#[tokio::test]
async fn keys_asked_for_many_times_are_sent_once() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let phone = WirePhone::start_with_keys().await;
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let body = json!({"tones": ["tone1", "pound"], "delayBetweenTonesMs": 100});
    let path = format!("{CALLS}/{call}/sendDtmfTones");
    let first = all_at_once(&bot, "keys-1", &path, &body).await;
    bot.until(patience(), |value| is_end_of(value, &first)).await.unwrap();
    // Another id, other keys; what was to come of the first ones comes before.
    let second = all_at_once(&bot, "keys-2", &path, &body).await;
    assert_ne!(first, second);
    bot.until(patience(), |value| is_end_of(value, &second)).await.unwrap();
    let mut presses: Vec<_> =
        phone.heard().events.iter().map(|event| (event.timestamp, event.code)).collect();
    presses.dedup();
    let codes: Vec<_> = presses.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, [1, 11, 1, 11]);
}

#[tokio::test]
async fn people_invited_many_times_are_called_once_and_held_once() {
    let mut group = Group::of(2).await;
    let third = WirePhone::start().await;
    let mut invited = invitation(&group.lines[0].phone);
    invited["identity"] = third.identity();
    let path = format!("{CALLS}/{}/participants/invite", group.id);
    let body = json!({"participants": [invited]});
    let operation = all_at_once(&group.bot, "invite-1", &path, &body).await;
    group.until(|value| is_end_of(value, &operation)).await;
    let again = group.bot.post_once("invite-1", &path, &body).await.unwrap();
    assert_eq!(
        (&again.body["id"], &again.body["status"]),
        (&json!(operation), &json!("completed"))
    );
    group.roster_of(4).await;
    assert_eq!(third.asked("INVITE"), 1);

    // Else the second one would be refused: somebody is on hold already.
    let held = group.participant(0).await;
    for verb in ["startHoldMusic", "stopHoldMusic"] {
        let path = format!("{CALLS}/{}/participants/{held}/{verb}", group.id);
        let mut made = Vec::new();
        for _ in 0..3 {
            let answer = group.bot.post_once(verb, &path, &json!({})).await.unwrap();
            assert_eq!(answer.status, 202, "{}", answer.body);
            made.push(answer.body["id"].clone());
        }
        assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
        let operation = made[0].as_str().unwrap();
        group.until(|value| is_end_of(value, operation)).await;
    }
    // What is done at once says how it is to be, and may be said again.
    let mute = |verb: &str| format!("{CALLS}/{}/participants/{held}/{verb}", group.id);
    group.speak();
    for (verb, wanted, others) in [
        ("mute", &[][..], &TONES[..1]),
        ("graphophoneUnmute", &TONES[..1], &[]),
        ("mute", &[], &TONES[..1]),
    ] {
        let answer = group.bot.post_once("mute", &mute(verb), &json!({})).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        hears(&group.lines[1].call, wanted, others).await;
    }
}

#[tokio::test]
async fn after_a_kill_a_repeated_request_finds_what_it_has_made() {
    const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(BINARY, data.path()).await;
    let mut bot = server.bot().await;
    let phone = WirePhone::start().await;
    let create = bot.new_call(phone.identity(), &[]);
    let made = bot.post_once("create", CALLS, &create).await.unwrap();
    let call = made.body["id"].as_str().unwrap().to_owned();
    bot.until(patience(), is_audio_active).await.unwrap();
    let uri = bot.serve("long", tone_wav(440.0, 5_000));
    let body = json!({"prompts": [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
    }]});
    let path = format!("{CALLS}/{call}/playPrompt");
    let playing = bot.post_once("play", &path, &body).await.unwrap();
    let operation = playing.body["id"].as_str().unwrap().to_owned();
    seen("some of it is heard", || async { (phone.heard().packets.len() > 5).then_some(()) }).await;
    server.kill();

    let server = ServerProcess::start(BINARY, data.path()).await;
    seen("the phone is released", || async { (phone.asked("BYE") > 0).then_some(()) }).await;
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_eq!(told.last().unwrap().value["resourceData"]["status"], "failed");
    let heard = phone.heard().packets.len();
    let later = server.bot().await;
    let again = later.post_once("play", &path, &body).await.unwrap();
    assert_eq!((again.status.as_u16(), &again.body["id"]), (200, &json!(operation)));
    assert_eq!(again.body["status"], "failed");
    let again = later.post_once("create", CALLS, &create).await.unwrap();
    assert_eq!((again.status.as_u16(), &again.body["id"]), (201, &json!(call)));
    assert_eq!((phone.asked("INVITE"), phone.heard().packets.len()), (1, heard));
}
