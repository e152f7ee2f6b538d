//! Legs that change hands, holds of a phone, and keys that are pressed without telephone-events.

use graphophone_call::{LegCommand, LegEvent, Tone};
use graphophone_sip::{IncomingRefer, LegSignal, LegSinks, phone::PhoneTransport};
use tokio::sync::mpsc;

use crate::bench::*;

#[tokio::test]
async fn a_leg_that_changes_hands_loses_no_signal() {
    let mut server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let target = format!("sip:bot@{}", server.address(PhoneTransport::Udp));
    let call = phone.call(&target).await.unwrap();
    let incoming = soon(server.incoming.recv()).await.expect("it comes in");
    let (signals, mut first) = mpsc::channel(1);
    let (stream, _events) = mpsc::channel(8);
    incoming.leg.attach(LegSinks { signals, stream });
    incoming.leg.command(LegCommand::Answer);
    soon(call.established()).await.unwrap();

    let (signals, mut second) = mpsc::channel(8);
    let (stream, _events) = mpsc::channel(8);
    incoming.leg.attach(LegSinks { signals, stream });
    // It had room for one at a time, and ends where the second begins.
    let mut seen = Vec::new();
    while let Some(signal) = soon(first.recv()).await {
        seen.push(name(signal));
    }
    assert!(!seen.is_empty(), "the first one has seen the dialog");
    while seen.last() != Some(&"media") {
        seen.push(name(soon(second.recv()).await.expect("the rest goes to the second")));
    }
    assert_eq!(seen, ["dialog", "stream", "answered", "media"]);
    let dialog = incoming.leg.dialog().expect("it is confirmed");
    assert!(dialog.target.contains("alice@"), "{dialog:?}");
    assert!(dialog.replaces.contains(incoming.leg.sip_call_id()), "{dialog:?}");
    call.hang_up();
    while name(soon(second.recv()).await.expect("the end, too")) != "ended" {}
}

fn name(signal: LegSignal) -> &'static str {
    match signal {
        LegSignal::Dialog(_) => "dialog",
        LegSignal::Stream(_) => "stream",
        LegSignal::Referred(_) => "referred",
        LegSignal::Event(LegEvent::Answered) => "answered",
        LegSignal::Event(LegEvent::Media { .. }) => "media",
        LegSignal::Event(LegEvent::Ended(_)) => "ended",
        LegSignal::Event(_) => "other",
    }
}

#[tokio::test]
async fn a_phone_holds_and_resumes_and_presses_keys_by_info() {
    for transport in TRANSPORTS {
        let server = Server::start().await;
        let phone = server.phone(transport).await;
        let mut leg = server.call("sip:alice@registered").await;
        leg.active().await;
        let call = soon(phone.next_call()).await;
        soon(call.established()).await.unwrap();
        call.hold();
        assert_eq!(leg.event().await, LegEvent::Media { active: false });
        call.resume();
        assert_eq!(leg.event().await, LegEvent::Media { active: true });
        call.press_by_info(&[Tone::Tone7, Tone::Star]);
        assert_eq!(leg.event().await, LegEvent::Tone(Tone::Tone7));
        assert_eq!(leg.event().await, LegEvent::Tone(Tone::Star));
    }
}

#[tokio::test]
async fn a_phone_that_is_referred_calls_the_target_and_says_how_that_went() {
    let server = Server::start().await;
    let mut config = server.phone_config(PhoneTransport::Udp);
    config.incoming_refer = IncomingRefer::Follow;
    let phone = server.phone_with(config).await;
    let mut config = server.phone_config(PhoneTransport::Udp);
    config.user = "bob".to_owned();
    config.register = false;
    let bob = server.phone_with(config).await;
    let mut leg = server.call("sip:alice@registered").await;
    leg.active().await;
    leg.command(LegCommand::Refer { target: bob.uri(), replaces: None });
    assert_eq!(leg.event().await, LegEvent::ReferAccepted);
    assert_eq!(leg.event().await, LegEvent::ReferEnded(Ok(())));
    let his = soon(bob.next_call()).await;
    soon(his.established()).await.unwrap();
    let hers = phone.latest_call().expect("she has called him");
    assert_eq!(hers.sip_call_id(), his.sip_call_id());
    // Whoever referred hangs up.
    leg.command(LegCommand::HangUp);
    assert_eq!(leg.ended().await.subcode, 7000);
    hers.hang_up();
    soon(his.ended()).await;
}
