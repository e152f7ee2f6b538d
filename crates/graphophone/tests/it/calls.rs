//! Outgoing calls and their ends, with the codes of spec/state-machines.md.

use std::time::Duration;

use axum::http::Method;
use graphophone::{bot::is_terminated, config::Interval};
use graphophone_sip::phone::AnswerPolicy;
use graphophone_testkit::{
    Bot, Received, TestCall, TestServer, audio::tone_wav, patience, soon, states,
};
use serde_json::{Value, json};

/// Takes notifications up to the call's end, whatever it is.
async fn to_the_end(bot: &mut Bot) -> Vec<Received> {
    let mut told = Vec::new();
    while !told.last().is_some_and(|last: &Received| is_terminated(&last.value)) {
        told.push(bot.next(patience()).await.expect("a notification"));
    }
    told
}

#[track_caller]
fn assert_ended(last: &Received, code: u32, subcode: u32) {
    let result = &last.value["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(code), &json!(subcode)), "{result}");
    let message = result["message"].as_str().expect("a message");
    assert!(message.ends_with(&format!("DiagCode: {code}#{subcode}.@")), "{message}");
}

async fn assert_gone(bot: &Bot, call: &str) {
    let path = format!("/v1.0/communications/calls/{call}");
    for method in [Method::GET, Method::DELETE] {
        let answer = bot.send(method, &path, None).await.expect("a response");
        assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (404, &json!("8522")));
    }
    let keep_alive = bot.send(Method::POST, &format!("{path}/keepAlive"), None).await;
    let keep_alive = keep_alive.expect("a response");
    assert_eq!(keep_alive.status, 404);
}

#[tokio::test]
async fn a_call_that_is_not_taken_ends_with_the_reason() {
    let server = TestServer::start_with(|config| {
        config.calls.ring_for = Interval(Duration::from_millis(400));
    })
    .await;
    let mut bot = server.bot().await;
    let unknown: Value = json!({"user": {"id": "nobody-is-registered-with-this-id"}});
    let phone = server.phone_identity();
    let cases = [
        (AnswerPolicy::Busy, &phone, 486, 8539),
        (AnswerPolicy::Decline, &phone, 603, 8538),
        (AnswerPolicy::Never, &phone, 408, 10057),
        (AnswerPolicy::Never, &unknown, 480, 10037),
    ];
    for (policy, identity, code, subcode) in cases {
        server.phone().set_answer(policy);
        let call = bot.call(identity.clone(), &[]).await.unwrap();
        let told = to_the_end(&mut bot).await;
        assert_eq!(states(&told), ["updated establishing", "deleted terminated"], "{policy:?}");
        assert_ended(&told[1], code, subcode);
        assert_gone(&bot, &call).await;
        if policy == AnswerPolicy::Never && code == 408 {
            // It stops to ring there, too.
            let rang = soon("the call that rang", async {
                loop {
                    let call = server.phone().next_call().await;
                    if call.sip_call_id() == server.phone().latest_call().unwrap().sip_call_id() {
                        return call;
                    }
                }
            })
            .await;
            soon("CANCEL reaches the phone", rang.ended()).await;
        }
    }
}

#[tokio::test]
async fn a_call_to_nowhere_ends_as_unreachable() {
    // Longer than any name in the DNS, so that nobody is even asked for it.
    let nowhere = format!("sip:{}.invalid", "x".repeat(64));
    let server = TestServer::start_with(|config| {
        config.trunks[0].uri = Some(nowhere);
        config.dial.allow.push("+1555*".parse().unwrap());
    })
    .await;
    let mut bot = server.bot().await;
    // A port that was free a moment ago: refused by TCP at once.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("sip:x@127.0.0.1:{port};transport=tcp");
    for target in [json!({"user": {"id": nobody}}), json!({"phone": {"id": "+15550100"}})] {
        bot.call(target.clone(), &[]).await.unwrap();
        let told = to_the_end(&mut bot).await;
        assert_eq!(states(&told), ["updated establishing", "deleted terminated"], "{target}");
        assert_ended(&told[1], 480, 10076);
    }
}

#[tokio::test]
async fn a_hang_up_of_the_peer_ends_the_call_and_leaves_the_operation_readable() {
    let mut call = TestCall::start().await;
    let playing = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    let waiting = call.play(&[&tone_wav(440.0, 200)]).await;
    let heard = call.heard(300).await.samples.len() as u64 / 8;
    call.phone.hang_up();
    let last = call.until(is_terminated).await;
    assert_ended(&last, 200, 18503);
    assert_eq!(call.states()[3..], ["deleted terminated"], "Graph tells nothing of operations");
    assert_gone(&call.bot, &call.id).await;

    for (id, reason) in [(&playing, "callEnded"), (&waiting, "notPlayed")] {
        let operation = call.operation(id).await;
        assert_eq!(operation["status"], "failed");
        assert_eq!(operation["resultInfo"]["subcode"], 8508);
        let receipt = &operation["graphophoneReceipt"]["prompts"][0];
        let sent = receipt["millisecondsSent"].as_u64().unwrap();
        assert!(*id == waiting && sent == 0 || sent + 20 >= heard, "{receipt}");
        assert_eq!(receipt["reason"], reason, "{receipt}");
    }
    call.assert_nothing_more_is_told().await;
}

#[tokio::test]
async fn operations_cut_by_a_hang_up_are_told_if_the_configuration_says_so() {
    let mut call = TestCall::start_with(|config| config.operations.notify_on_hang_up = true).await;
    let playing = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    let waiting = call.play(&[&tone_wav(440.0, 200)]).await;
    call.heard(100).await;
    call.phone.hang_up();
    call.until(is_terminated).await;
    assert_eq!(
        call.states()[3..],
        ["deleted operation failed", "deleted operation failed", "deleted terminated"]
    );
    assert_eq!(call.told[3].value["resourceData"]["id"], playing.as_str());
    assert_eq!(call.told[4].value["resourceData"]["id"], waiting.as_str());
}

#[tokio::test]
async fn a_delete_is_silent_at_once_and_ends_the_call_at_both_ends() {
    let mut call = TestCall::start().await;
    let operation = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    call.heard(100).await;
    let path = format!("/v1.0/communications/calls/{}", call.id);
    let answer = call.bot.send(Method::DELETE, &path, None).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body), (204, &Value::Null));
    soon("BYE reaches the phone", call.phone.ended()).await;
    let last = call.until(is_terminated).await;
    assert_eq!(call.states()[3..], ["updated terminating", "deleted terminated"]);
    assert_ended(&last, 200, 7000);
    let last_sound = call.phone.heard().last_sound(64).unwrap();
    let latest = (answer.at + Duration::from_millis(60)).into_std();
    assert!(last_sound <= latest, "{:?} too late", last_sound - latest);
    assert_eq!(call.operation(&operation).await["status"], "failed");
    assert_gone(&call.bot, &call.id).await;
}

#[tokio::test]
async fn a_delete_while_it_rings_cancels_the_call() {
    let server = TestServer::start().await;
    server.phone().set_answer(AnswerPolicy::Never);
    let mut bot = server.bot().await;
    let call = bot.call(server.phone_identity(), &[]).await.unwrap();
    let rings = soon("the phone rings", server.phone().next_call()).await;
    bot.hang_up(&call).await.unwrap();
    soon("CANCEL reaches the phone", rings.ended()).await;
    let told = to_the_end(&mut bot).await;
    let wanted = ["updated establishing", "updated terminating", "deleted terminated"];
    assert_eq!(states(&told), wanted);
    assert_ended(&told[2], 200, 7000);
}

#[tokio::test]
async fn a_call_lives_as_long_as_its_bot_keeps_it_alive() {
    let keep_alive = Duration::from_millis(900);
    let mut call =
        TestCall::start_with(|config| config.calls.keep_alive = Interval(keep_alive)).await;
    let begun = tokio::time::Instant::now();
    let path = format!("/v1.0/communications/calls/{}/keepAlive", call.id);
    let mut last_sign = begun;
    while begun.elapsed() < keep_alive.mul_f64(1.3) {
        let answer = call.bot.send(Method::POST, &path, None).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &Value::Null));
        last_sign = answer.at;
        let pause = tokio::time::Instant::now() + Duration::from_millis(100);
        assert!(call.bot.next(pause).await.is_err(), "the call goes on");
    }
    let last = call.until(is_terminated).await;
    assert_ended(&last, 408, 8537);
    let lived = last.at - last_sign;
    assert!(lived + Duration::from_millis(50) >= keep_alive, "ended after {lived:?}");
    assert_eq!(call.states()[3..], ["deleted terminated"]);
    soon("BYE reaches the phone", call.phone.ended()).await;
    assert_gone(&call.bot, &call.id).await;
}

#[tokio::test]
async fn a_call_shows_its_state_while_it_lives() {
    let mut call = TestCall::start().await;
    let path = format!("/v1.0/communications/calls/{}", call.id);
    let shown = call.bot.send(Method::GET, &path, None).await.unwrap().ok().unwrap();
    assert_eq!(shown["state"], "established");
    assert_eq!(shown["direction"], "outgoing");
    assert_eq!(shown["mediaState"]["audio"], "active");
    assert_eq!(shown["id"], call.id.as_str());
    call.hang_up().await;
    assert_gone(&call.bot, &call.id).await;
}
