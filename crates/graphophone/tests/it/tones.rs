//! Keys: those that the far end presses, told one by one to a bot that has subscribed, and those that
//! a bot has us press (spec/state-machines.md §3).

use std::time::Duration;

use axum::http::Method;
use graphophone_call::Tone;
use graphophone_media::codec::SampleCodec;
use graphophone_testkit::{
    Answer, Bot, Received, TestCall, TestServer, WirePhone, audio::tone_wav, is_audio_active,
    is_end_of, is_terminated, patience, seen, soon,
};
use serde_json::{Value, json};

/// Graph's names, in the order of their RFC 4733 event codes.
const NAMES: [&str; 17] = [
    "tone0", "tone1", "tone2", "tone3", "tone4", "tone5", "tone6", "tone7", "tone8", "tone9",
    "star", "pound", "a", "b", "c", "d", "flash",
];

fn is_tone(value: &Value) -> bool {
    value["resourceData"]["toneInfo"].is_object()
}

/// `sequenceId` and `tone`.
fn tone_of(value: &Value) -> (u64, String) {
    let tone = &value["resourceData"]["toneInfo"];
    assert_eq!(tone["@odata.type"], "#microsoft.graph.toneInfo", "{value}");
    let sequence = tone["sequenceId"].as_u64().expect("a number");
    (sequence, tone["tone"].as_str().expect("a name").to_owned())
}

/// What presses of these keys are told as, if they are the first of the call.
fn told_as(codes: impl IntoIterator<Item = u8>) -> Vec<(u64, String)> {
    (1..).zip(codes.into_iter().map(|code| NAMES[usize::from(code)].to_owned())).collect()
}

/// Takes so many tones; nothing else may come in between.
async fn tones(bot: &mut Bot, count: usize) -> Vec<(u64, String)> {
    let mut tones = Vec::new();
    while tones.len() < count {
        let next = bot.next(patience()).await;
        let next = next.unwrap_or_else(|error| panic!("{error}; so far: {tones:?}"));
        assert!(is_tone(&next.value), "{}", next.value);
        tones.push(tone_of(&next.value));
    }
    tones
}

async fn act(bot: &Bot, call: &str, action: &str, body: Value) -> Answer {
    let path = format!("/v1.0/communications/calls/{call}/{action}");
    bot.send(Method::POST, &path, Some(body)).await.expect("a response")
}

async fn subscribe(bot: &Bot, call: &str) -> Value {
    act(bot, call, "subscribeToTone", json!({"clientContext": "keys"})).await.ok().unwrap()
}

/// Nothing is told for a while that is long for loopback.
async fn assert_silence(bot: &mut Bot) {
    let window = tokio::time::Instant::now() + Duration::from_millis(300);
    if let Ok(received) = bot.next(window).await {
        panic!("nobody waits for {}", received.value);
    }
}

/// A call to a phone of another make, with keys.
async fn call_to_wire(server: &TestServer) -> (Bot, WirePhone, String) {
    let mut bot = server.bot().await;
    let phone = WirePhone::start_with_keys().await;
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    (bot, phone, call)
}

#[tokio::test]
async fn every_key_is_told_once_and_in_order() {
    let mut call = TestCall::start().await;
    let answer = call.act("v1.0", "subscribeToTone", json!({"clientContext": "keys"})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let operation = answer.body["id"].as_str().unwrap();
    let location = answer.headers["location"].to_str().unwrap();
    assert!(
        location.ends_with(&format!("/calls/{}/operations/{operation}", call.id)),
        "{location}"
    );
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.subscribeToToneOperation");
    // Completed at once: no notification follows.
    assert_eq!(answer.body["status"], "completed");
    assert_eq!(answer.body["clientContext"], "keys");

    call.phone.press(&Tone::ALL).unwrap();
    let all: Vec<u8> = Tone::ALL.iter().map(|tone| tone.event_code()).collect();
    let mut told = Vec::new();
    for _ in &all {
        let next = call.bot.next(patience()).await.unwrap().value;
        assert_eq!(next["changeType"], "updated");
        assert_eq!(next["resourceUrl"], format!("/communications/calls/{}", call.id));
        let data = &next["resourceData"];
        assert_eq!(data["state"], "established");
        assert!(data.get("mediaState").is_none() && data.get("callChainId").is_none(), "{data}");
        told.push(tone_of(&next));
    }
    assert_eq!(told, told_as(all));
    let shown = call.bot.send(Method::GET, &call_path(&call.id), None).await.unwrap();
    assert_eq!(shown.body["toneInfo"]["tone"], "flash", "the call shows the last one");
    assert_eq!(shown.body["toneInfo"]["sequenceId"], 17);
    call.assert_nothing_more_is_told().await;
}

fn call_path(call: &str) -> String {
    format!("/v1.0/communications/calls/{call}")
}

#[tokio::test]
async fn a_second_subscription_doubles_nothing_and_a_cancel_ends_none() {
    let mut call = TestCall::start().await;
    let first = subscribe(&call.bot, &call.id).await;
    let second = subscribe(&call.bot, &call.id).await;
    assert_ne!(first["id"], second["id"]);
    assert_eq!(second["status"], "completed");
    let playing = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    call.cancel().await;
    call.ended(&playing).await;
    call.phone.press(&[Tone::Star]).unwrap();
    assert_eq!(tones(&mut call.bot, 1).await, told_as([10]));
    call.assert_nothing_more_is_told().await;
}

#[tokio::test]
async fn keys_are_told_while_a_prompt_plays() {
    let mut call = TestCall::start().await;
    subscribe(&call.bot, &call.id).await;
    let playing = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    call.heard(100).await;
    call.phone.press(&[Tone::Tone1, Tone::Tone1, Tone::Tone2]).unwrap();
    assert_eq!(tones(&mut call.bot, 3).await, told_as([1, 1, 2]));
    call.cancel().await;
    call.ended(&playing).await;
}

#[tokio::test]
async fn a_key_pressed_before_the_subscription_is_not_told_and_has_no_number() {
    let server = TestServer::start().await;
    let (mut bot, phone, call) = call_to_wire(&server).await;
    phone.press([(0, 1), (1, 2)], |_| false).await;
    assert_silence(&mut bot).await;
    subscribe(&bot, &call).await;
    phone.press([(2, 3)], |_| false).await;
    assert_eq!(tones(&mut bot, 1).await, told_as([3]));
}

#[tokio::test]
async fn lost_and_repeated_packets_make_no_key_of_none_and_no_two_of_one() {
    let server = TestServer::start().await;
    let (mut bot, phone, call) = call_to_wire(&server).await;
    subscribe(&bot, &call).await;
    let mut numbers = 0..;
    let mut pressed = Vec::new();
    // Packets 4, 5 and 6 have the E bit.
    let losses: [(&str, &[u16]); 7] = [
        ("nothing", &[]),
        ("the first", &[0]),
        ("the first end", &[4]),
        ("two ends", &[4, 5]),
        ("all ends", &[4, 5, 6]),
        ("all but one end", &[0, 1, 2, 3, 4, 6]),
        ("all but the first", &[1, 2, 3, 4, 5, 6]),
    ];
    for (what, lost) in losses {
        // The same key twice, then another: each press is one.
        let keys = [7, 7, 9].map(|code| (numbers.next().unwrap(), code));
        pressed.extend(keys.map(|(_, code)| code));
        phone.press(keys, |packet| lost.contains(&packet)).await;
        println!("lost: {what}");
    }
    assert_eq!(tones(&mut bot, pressed.len()).await, told_as(pressed));
    assert_silence(&mut bot).await;
}

#[tokio::test]
async fn keys_by_sip_info_are_told_like_the_others() {
    let mut call = TestCall::start().await;
    subscribe(&call.bot, &call.id).await;
    // Not more than 20 in a second: nobody's fingers are as fast.
    let keys = [Tone::Tone0, Tone::Tone0, Tone::Star, Tone::Pound, Tone::D, Tone::Flash];
    call.phone.press_by_info(&keys);
    let codes = keys.map(|tone| tone.event_code());
    assert_eq!(tones(&mut call.bot, keys.len()).await, told_as(codes));
    // One count for all ways to press a key.
    call.phone.press(&[Tone::Tone9]).unwrap();
    assert_eq!(tones(&mut call.bot, 1).await, [(7, "tone9".to_owned())]);
    call.assert_nothing_more_is_told().await;
}

#[tokio::test]
async fn keys_that_a_bot_presses_reach_the_far_end_in_order_and_with_its_delay() {
    let server = TestServer::start().await;
    let (mut bot, phone, call) = call_to_wire(&server).await;
    let names = ["tone1", "tone1", "star", "d", "flash"];
    let delay = Duration::from_millis(300);
    let body = json!({"tones": names, "delayBetweenTonesMs": 300, "clientContext": "dial"});
    let answer = act(&bot, &call, "sendDtmfTones", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let operation = answer.body["id"].as_str().unwrap().to_owned();
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.ends_with(&format!("/calls/{call}/operations/{operation}")), "{location}");
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.sendDtmfTonesOperation");
    assert_eq!(answer.body["status"], "running");

    let ended = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    let [ended] = ended.as_slice() else { panic!("{ended:?}") };
    assert_completed(ended, "dial", "completedSuccessfully", 200);
    let heard = presses(&phone);
    let codes: Vec<u8> = heard.iter().map(|press| press.0).collect();
    assert_eq!(codes, [1, 1, 10, 15, 16], "each once, and all before the completion is told");
    for pair in heard.windows(2) {
        let [(_, began, lasted), (_, next, _)] = pair else { unreachable!() };
        let gap = Duration::from_micros(u64::from(next - began - lasted) * 125);
        let late = gap.abs_diff(delay);
        assert!(late <= Duration::from_millis(20), "{gap:?} between two keys");
    }
}

/// Presses the phone has heard: code, timestamp, duration.
fn presses(phone: &WirePhone) -> Vec<(u8, u32, u32)> {
    let mut presses: Vec<(u8, u32, u32)> = Vec::new();
    for event in phone.heard().events {
        let duration = u32::from(event.duration);
        match presses.last_mut() {
            Some((code, began, lasted)) if *began == event.timestamp => {
                assert_eq!(*code, event.code, "one event has one code");
                *lasted = duration.max(*lasted);
            }
            _ => presses.push((event.code, event.timestamp, duration)),
        }
    }
    let ends = phone.heard().events.iter().filter(|event| event.is_end).count();
    assert_eq!(ends, 3 * presses.len(), "each end is sent three times (RFC 4733 §2.5.1.4)");
    presses
}

#[track_caller]
fn assert_completed(ended: &Received, context: &str, reason: &str, code: u16) {
    let data = &ended.value["resourceData"];
    assert_eq!(ended.value["changeType"], "deleted");
    assert_eq!(data["status"], "completed", "{data}");
    assert_eq!(data["completionReason"], reason, "{data}");
    assert_eq!(data["clientContext"], context, "{data}");
    assert_eq!(data["resultInfo"]["code"], code, "{data}");
}

#[tokio::test]
async fn two_requests_for_keys_are_carried_out_one_after_the_other_beside_a_prompt() {
    let server = TestServer::start().await;
    let (mut bot, phone, call) = call_to_wire(&server).await;
    let uri = bot.serve("tone.wav", tone_wav(440.0, 300));
    let playing = bot.play(&call, &[uri], true).await.unwrap();
    let mut operations = Vec::new();
    for tones in [["tone1", "tone2"], ["tone3", "tone4"]] {
        let body = json!({"tones": tones, "delayBetweenTonesMs": 40});
        let answer = act(&bot, &call, "sendDtmfTones", body).await.ok().unwrap();
        operations.push(answer["id"].as_str().unwrap().to_owned());
    }
    // No part of the media queue: a cancel is none of theirs (spec/state-machines.md §2).
    bot.cancel(&call).await.unwrap();
    let mut ended = Vec::new();
    while ended.len() < 3 {
        let next = bot.next(patience()).await.unwrap().value;
        ended.push(next["resourceData"]["id"].as_str().unwrap().to_owned());
        let is_ours = operations.contains(ended.last().unwrap());
        let status = if is_ours { "completed" } else { "failed" };
        assert_eq!(next["resourceData"]["status"], status, "{next}");
    }
    assert_eq!(ended.iter().filter(|id| **id == playing).count(), 1);
    ended.retain(|id| *id != playing);
    assert_eq!(ended, operations);
    let codes: Vec<u8> = presses(&phone).iter().map(|press| press.0).collect();
    assert_eq!(codes, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_hang_up_ends_the_pressing_of_keys() {
    let server = TestServer::start().await;
    let (mut bot, phone, call) = call_to_wire(&server).await;
    let body = json!({"tones": vec!["tone1"; 50], "delayBetweenTonesMs": 100});
    let answer = act(&bot, &call, "sendDtmfTones", body).await.ok().unwrap();
    let operation = answer["id"].as_str().unwrap();
    seen("the first key", async || phone.heard().events.first().copied()).await;
    bot.hang_up(&call).await.unwrap();
    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert!(
        !told.iter().any(|told| is_end_of(&told.value, operation)),
        "Graph tells nothing of it"
    );
    let after = bot.operation(&call, operation).await.unwrap();
    assert_eq!(after["status"], "failed");
    assert!(presses_so_far(&phone) < 50);
}

fn presses_so_far(phone: &WirePhone) -> usize {
    let mut starts: Vec<u32> = phone.heard().events.iter().map(|event| event.timestamp).collect();
    starts.dedup();
    starts.len()
}

#[tokio::test]
async fn keys_are_pressed_for_a_phone_of_our_own_too() {
    let mut call = TestCall::start().await;
    let body = json!({"tones": ["tone0", "pound", "a"]});
    let answer = call.act("beta", "sendDtmfTones", body).await.ok().unwrap();
    let operation = answer["id"].as_str().unwrap();
    call.ended(operation).await;
    let heard = soon("the phone hears them", async {
        loop {
            let tones = call.phone.heard().tones;
            if tones.len() >= 3 {
                return tones;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(heard.await, [0, 11, 12]);
}

/// Rows and columns of the keys, in Hz (ITU-T Q.23), and the event codes of the keys.
const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];
const RATE: f64 = 8_000.0;

/// The key that 20 ms of sound are, if they are one.
fn key_in(samples: &[i16]) -> Option<u8> {
    let level = |hertz: f64| {
        let turn = std::f64::consts::TAU * hertz / RATE;
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let (sin, cos) = (turn * n as f64).sin_cos();
            re += f64::from(*sample) * cos;
            im += f64::from(*sample) * sin;
        }
        2.0 * re.hypot(im) / samples.len() as f64
    };
    let loudest = |tones: [f64; 4]| {
        let levels = tones.map(level);
        let best = (0..4).max_by(|a, b| levels[*a].total_cmp(&levels[*b]))?;
        (levels[best] > 500.0).then_some(best)
    };
    Some(KEYS[loudest(ROWS)?][loudest(COLUMNS)?])
}

#[tokio::test]
async fn a_far_end_without_telephone_events_gets_the_keys_as_sound() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let phone = WirePhone::start().await;
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let body = json!({"tones": ["tone7", "tone7", "pound", "c"], "delayBetweenTonesMs": 100});
    let answer = act(&bot, &call, "sendDtmfTones", body).await.ok().unwrap();
    let operation = answer["id"].as_str().unwrap();
    bot.until(patience(), |value| is_end_of(value, operation)).await.unwrap();
    let heard = SampleCodec::Pcma.decode(&phone.heard().alaw);
    // Silence between two keys is not sent, or is: what counts is where a key begins.
    let mut keys = Vec::new();
    let mut packets = phone.heard().packets.into_iter();
    let mut last: Option<(u32, Option<u8>)> = None;
    for piece in heard.chunks(160) {
        let (_, timestamp) = packets.next().unwrap();
        let key = key_in(piece);
        let goes_on = last.is_some_and(|(at, before)| before == key && timestamp - at <= 160);
        if let (Some(key), false) = (key, goes_on) {
            keys.push(key);
        }
        last = Some((timestamp, key));
    }
    assert_eq!(keys, [7, 7, 11, 14]);
    assert!(phone.heard().events.is_empty() && phone.heard().foreign == 0);
}

#[tokio::test]
async fn keys_as_sound_are_told_of_a_far_end_without_telephone_events() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let phone = WirePhone::start().await;
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    subscribe(&bot, &call).await;
    let pressed = [1, 1, 10, 0, 15, 5];
    let mut samples = vec![0_i16; 1_600];
    for code in pressed {
        let (row, column) =
            (0..16).map(|n| (n / 4, n % 4)).find(|(r, c)| KEYS[*r][*c] == code).unwrap();
        // 100 ms, and as much silence.
        samples.extend((0..800).map(|n| {
            let wave = |hertz: f64| (std::f64::consts::TAU * hertz * f64::from(n) / RATE).sin();
            (6_000.0 * (wave(ROWS[row]) + wave(COLUMNS[column]))) as i16
        }));
        samples.extend([0; 800]);
    }
    phone.speak(&SampleCodec::Pcma.encode(&samples)).await;
    assert_eq!(tones(&mut bot, pressed.len()).await, told_as(pressed));
    assert_silence(&mut bot).await;
}
