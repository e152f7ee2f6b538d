//! Calls between an endpoint and the built-in phone, over UDP and TCP.

use std::time::Duration;

use graphophone_call::{LegCommand, LegEvent, RejectReason, Tone};
use graphophone_media::{analysis, engine::StreamEvent};
use graphophone_sip::{
    CallError, EndpointConfig, OutgoingCall, Party, Trunk,
    phone::{AnswerPolicy, CallStage, Phone, PhoneError, PhoneTransport},
};
use sipx_sip::auth::{Challenge, Credentials, respond};
use tokio::net::UdpSocket;

use crate::bench::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test]
async fn a_registered_phone_is_called_and_hears_the_prompt() {
    for transport in TRANSPORTS {
        let server = Server::start().await;
        let phone = server.phone(transport).await;
        let contact = server.endpoint.contact_of("alice-id").await.expect("it is registered");
        let mut leg = server.call(&contact).await;
        leg.active().await;
        leg.play(440.0, ms(600)).await;

        let call = soon(phone.next_call()).await;
        soon(call.established()).await.unwrap();
        leg.command(LegCommand::HangUp);
        assert_eq!(leg.ended().await.subcode, 7000);
        assert_eq!(soon(call.ended()).await.subcode, 560_000);

        let heard = phone.heard();
        assert_eq!(heard.samples.len(), 4_800, "600 ms, not a sample more: {transport:?}");
        assert_eq!((heard.lost, heard.longest_hole), (0, Duration::ZERO));
        let hz = analysis::dominant_frequency(&heard.samples, 8_000).unwrap();
        assert!((hz - 440.0).abs() < 5.0, "{hz} Hz");
    }
}

#[tokio::test]
async fn a_phone_calls_the_server_presses_keys_and_hangs_up() {
    for transport in TRANSPORTS {
        let mut server = Server::start().await;
        let phone = server.phone(transport).await;
        let suffix = if transport == PhoneTransport::Tcp { ";transport=tcp" } else { "" };
        let target = format!("sip:+15550100@{}{suffix}", server.address(transport));
        let call = phone.call(&target).await.unwrap();
        let (party, mut leg) = server.next_call().await;
        let alice = Party::Phone { user: "alice".to_owned(), user_id: "alice-id".to_owned() };
        assert_eq!((party.from, party.to_user.as_str()), (alice, "+15550100"));
        assert_eq!(soon(call.ringing()).await, CallStage::Ringing);
        leg.command(LegCommand::Answer);
        soon(call.established()).await.unwrap();
        leg.active().await;

        call.press(&[Tone::Tone1, Tone::Pound]).unwrap();
        let mut keys = Vec::new();
        while keys.len() < 2 {
            if let StreamEvent::Tone(code) = leg.stream_event().await {
                keys.push(code);
            }
        }
        assert_eq!(keys, [1, 11]);

        call.say(&tone(800.0, ms(100))).unwrap();
        leg.play(600.0, ms(200)).await;
        call.hang_up();
        assert_eq!(leg.ended().await.subcode, 18_503);
        assert_eq!(soon(call.ended()).await.subcode, 7000);
        let hz = analysis::dominant_frequency(&call.heard().samples, 8_000).unwrap();
        assert!((hz - 600.0).abs() < 8.0, "{hz} Hz");
    }
}

#[tokio::test]
async fn a_phone_that_has_hung_up_is_sent_nothing_more_even_if_the_owner_is_busy() {
    let server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let mut leg = server.call("sip:alice@registered").await;
    let stream = leg.active().await;
    play(&stream, 440.0, Duration::from_secs(60));
    let call = soon(phone.next_call()).await;
    while call.heard().packets.len() < 5 {
        tokio::task::yield_now().await;
    }
    call.hang_up();
    // The owner hears of it, and does nothing.
    while !matches!(leg.event().await, LegEvent::Ended(_)) {}
    let sent = || stream.stats().counts.packets_sent;
    tokio::time::sleep(ms(100)).await;
    let by_then = sent();
    assert!(by_then >= 5);
    tokio::time::sleep(ms(400)).await;
    assert_eq!(sent(), by_then, "a tenth of a second after BYE nothing leaves");
}

#[tokio::test]
async fn a_phone_that_refuses_says_how() {
    for (policy, code, subcode) in
        [(AnswerPolicy::Busy, 486, 8539), (AnswerPolicy::Decline, 603, 8538)]
    {
        let server = Server::start().await;
        let phone = server.phone(PhoneTransport::Udp).await;
        phone.set_answer(policy);
        let mut leg = server.call("sip:alice@registered").await;
        let result = leg.ended().await;
        assert_eq!((result.code, result.subcode), (code, subcode));
        assert!(matches!(soon(phone.next_call()).await.ended().await.code, 480 | 486));
    }
}

#[tokio::test]
async fn a_ringing_phone_is_cancelled() {
    for transport in TRANSPORTS {
        let server = Server::start().await;
        let mut config = server.phone_config(transport);
        config.answer = AnswerPolicy::Never;
        let phone = server.phone_with(config).await;
        let mut leg = server.call("sip:alice@registered").await;
        assert_eq!(leg.event().await, LegEvent::Ringing);
        leg.command(LegCommand::HangUp);
        assert_eq!(leg.ended().await.subcode, 7000);
        let call = soon(phone.next_call()).await;
        assert_eq!(soon(call.ended()).await.subcode, 8542);
    }
}

#[tokio::test]
async fn a_dropped_leg_hangs_up() {
    let server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let mut leg = server.call("sip:alice@registered").await;
    leg.active().await;
    let call = soon(phone.next_call()).await;
    drop(leg);
    assert_eq!(soon(call.ended()).await.subcode, 560_000);
}

#[tokio::test]
async fn a_server_that_rejects_is_heard_by_the_phone() {
    let mut server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let target = format!("sip:bot@{}", server.address(PhoneTransport::Udp));
    let call = phone.call(&target).await.unwrap();
    let (_, mut leg) = server.next_call().await;
    leg.command(LegCommand::Reject(RejectReason::Busy));
    assert_eq!(leg.ended().await.code, 486);
    assert_eq!(soon(call.ended()).await.subcode, 8539);
}

#[tokio::test]
async fn an_answer_waits_for_somebody_to_listen() {
    let mut server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let target = format!("sip:bot@{}", server.address(PhoneTransport::Udp));
    let call = phone.call(&target).await.unwrap();
    let incoming = soon(server.incoming.recv()).await.unwrap();
    incoming.leg.command(LegCommand::Answer);
    assert_eq!(call.stage(), CallStage::Trying, "and so does the ringing");
    let mut leg = Leg::attach(incoming.leg);
    leg.active().await;
    soon(call.established()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_gives_up_first_is_told_on_attaching() {
    let mut server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let target = format!("sip:bot@{}", server.address(PhoneTransport::Udp));
    let call = phone.call(&target).await.unwrap();
    let incoming = soon(server.incoming.recv()).await.unwrap();
    call.hang_up();
    soon(call.ended()).await;
    assert_eq!(Leg::attach(incoming.leg).ended().await.subcode, 8542);
}

#[tokio::test]
async fn a_phone_that_names_a_host_is_called_where_it_registered() {
    let server = Server::start().await;
    let phone = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    phone.connect(server.address(PhoneTransport::Udp)).await.unwrap();
    let mut buffer = vec![0; 4096];
    let mut authorization = String::new();
    for (cseq, status) in [(1, "SIP/2.0 401"), (2, "SIP/2.0 200")] {
        let register = format!(
            "REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@127.0.0.1>;tag=f\r\nTo: <sip:alice@127.0.0.1>\r\n\
             Call-ID: reg\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:alice@phone.invalid;transport=tls>\r\n{authorization}Content-Length: 0\r\n\r\n"
        );
        phone.send(register.as_bytes()).await.unwrap();
        let length = soon(phone.recv(&mut buffer)).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..length]);
        assert!(answer.starts_with(status), "{answer}");
        let name = "WWW-Authenticate: ";
        if let Some(value) = answer.lines().find_map(|line| line.strip_prefix(name)) {
            let challenge = Challenge::parse(value.as_bytes(), false).unwrap();
            let credentials = Credentials::new("alice", "correct horse");
            let value = respond(&challenge, &credentials, "REGISTER", "sip:127.0.0.1", 1, "c");
            authorization = format!("Authorization: {value}\r\n");
        }
    }
    let contact = server.endpoint.contact_of("alice-id").await.expect("it is registered");
    let _leg = server.call(&contact).await;
    let length = soon(phone.recv(&mut buffer)).await.unwrap();
    let invite = String::from_utf8_lossy(&buffer[..length]);
    assert!(invite.starts_with("INVITE sip:alice@phone.invalid;transport=tls SIP/2.0"), "{invite}");
}

#[tokio::test]
async fn a_trunk_knows_us_by_the_name_configured_for_it() {
    for (from, username, expected) in [
        (Some("+15550100"), Some("acc"), "+15550100"),
        (None, Some("acc"), "acc"),
        (None, None, "bot"),
    ] {
        let (from, username) = (from.map(str::to_owned), username.map(str::to_owned));
        let trunks = vec![Trunk { from, username, ..open_trunk() }];
        let server = Server::with(EndpointConfig { trunks, ..config() }).await;
        let trunk = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        let target = format!("sip:+15551234@{}", trunk.local_addr().unwrap());
        let _leg = server.call_by(Some("open"), &target).await;
        let mut buffer = vec![0; 4096];
        let length = soon(trunk.recv(&mut buffer)).await.unwrap();
        let invite = String::from_utf8_lossy(&buffer[..length]);
        for name in ["From: ", "Contact: "] {
            let line = invite.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.contains(&format!("<sip:{expected}@")), "{line}");
        }
    }
}

#[tokio::test]
async fn calls_that_ended_untaken_are_not_kept() {
    let server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    for missed in [true, true, false] {
        let mut leg = server.call("sip:alice@registered").await;
        leg.active().await;
        let latest = phone.latest_call().unwrap();
        if missed {
            leg.command(LegCommand::HangUp);
            leg.ended().await;
            soon(latest.ended()).await;
        } else {
            let next = soon(phone.next_call()).await;
            assert_eq!(next.sip_call_id(), latest.sip_call_id());
            next.hang_up();
            leg.ended().await;
        }
    }
}

#[tokio::test]
async fn an_unregistered_phone_calls_and_is_called_at_its_address() {
    for transport in TRANSPORTS {
        let mut config = config();
        config.trunks.push(open_trunk());
        let mut server = Server::with(config).await;
        let mut config = server.phone_config(transport);
        (config.register, config.user) = (false, "carol".to_owned());
        let phone = server.phone_with(config).await;

        let mut leg = server.call(&phone.uri()).await;
        leg.active().await;
        leg.command(LegCommand::HangUp);
        leg.ended().await;

        let suffix = if transport == PhoneTransport::Tcp { ";transport=tcp" } else { "" };
        let target = format!("sip:bot@{}{suffix}", server.address(transport));
        let call = phone.call(&target).await.unwrap();
        let (party, leg) = server.next_call().await;
        assert!(matches!(party.from, Party::Trunk { trunk, user, .. }
            if trunk == "open" && user == "carol"));
        leg.command(LegCommand::Answer);
        soon(call.established()).await.unwrap();
        call.hang_up();
        soon(call.ended()).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_registered() {
    let server = Server::start().await;
    let mut config = server.phone_config(PhoneTransport::Udp);
    config.password = "guess".to_owned();
    let refused = soon(Phone::start(config, server.engine.clone())).await;
    assert!(matches!(refused, Err(PhoneError::PeerRefused(403))));
    assert_eq!(server.endpoint.contact_of("alice-id").await, None);
}

#[tokio::test]
async fn a_phone_that_shuts_down_unregisters() {
    let server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    assert!(server.endpoint.contact_of("alice-id").await.is_some());
    soon(phone.shut_down()).await;
    assert_eq!(server.endpoint.contact_of("alice-id").await, None);
}

#[tokio::test]
async fn a_shut_down_hangs_up_and_frees_the_ports() {
    let server = Server::start().await;
    let phone = server.phone(PhoneTransport::Tcp).await;
    let mut leg = server.call("sip:alice@registered").await;
    leg.active().await;
    let call = soon(phone.next_call()).await;
    let addresses = (server.endpoint.udp_addrs(), server.endpoint.tcp_addrs());
    soon(server.endpoint.shut_down()).await;
    soon(call.ended()).await;
    leg.ended().await;
    std::net::UdpSocket::bind(addresses.0[0]).unwrap();
    let late = OutgoingCall {
        replaces: None,
        sip_call_id: None,
        target: "sip:alice@registered".to_owned(),
        trunk: None,
        from_user: String::new(),
        from_display: None,
        ring_timeout: ms(1),
        sinks: dead_sinks(),
    };
    assert!(matches!(server.endpoint.call(late).await, Err(CallError::Stopped)));
}

#[tokio::test]
async fn targets_that_cannot_be_dialled_are_refused_at_once() {
    let server = Server::start().await;
    for target in [
        "",
        "tel:+15550100",
        "sip:",
        "sip:alice@registered",
        "sips:alice@127.0.0.1",
        "sip:a@127.0.0.1;transport=sctp",
        "sip:a@127.0.0.1?Route=%3Csip:x%3E",
        "sip:a b@127.0.0.1",
    ] {
        let call = OutgoingCall {
            replaces: None,
            sip_call_id: None,
            target: target.to_owned(),
            trunk: None,
            from_user: String::new(),
            from_display: None,
            ring_timeout: ms(1),
            sinks: dead_sinks(),
        };
        let refused = server.endpoint.call(call).await;
        assert!(matches!(refused, Err(CallError::BotBadTarget(_))), "{target}");
    }
}

#[tokio::test]
async fn a_call_without_a_free_port_is_refused() {
    let mut config = config();
    // A range without an even port that has an odd one above it.
    config.rtp_ports = 65_535..=65_535;
    let server = Server::with(config).await;
    let _phone = server.phone(PhoneTransport::Udp).await;
    let call = OutgoingCall {
        replaces: None,
        sip_call_id: None,
        target: "sip:alice@registered".to_owned(),
        trunk: None,
        from_user: "bot".to_owned(),
        from_display: None,
        ring_timeout: ms(1000),
        sinks: dead_sinks(),
    };
    assert!(matches!(server.endpoint.call(call).await, Err(CallError::NoPort)));
}

#[tokio::test]
async fn nobody_listening_on_tcp_ends_the_call_at_once() {
    let server = Server::start().await;
    let probe = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
    let target = format!("sip:x@{};transport=tcp", probe.local_addr().unwrap());
    drop(probe);
    let mut leg = server.call(&target).await;
    assert_eq!(leg.ended().await.code, 480);
}

#[tokio::test]
async fn twenty_calls_at_a_time_hear_only_their_own_prompt() {
    let server = Server::start().await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let mut calls = Vec::new();
    for number in 0..20_u32 {
        let mut leg = server.call("sip:alice@registered").await;
        leg.active().await;
        let hz = 400.0 + 100.0 * f64::from(number);
        let call = soon(phone.next_call()).await;
        calls.push(tokio::spawn(async move {
            leg.play(hz, ms(400)).await;
            leg.command(LegCommand::HangUp);
            leg.ended().await;
            soon(call.ended()).await;
            (hz, call.heard())
        }));
    }
    for call in calls {
        let (hz, heard) = call.await.unwrap();
        let found = analysis::dominant_frequency(&heard.samples, 8_000).unwrap();
        assert!((found - hz).abs() < 10.0, "{found} instead of {hz} Hz");
    }
}

fn dead_sinks() -> graphophone_sip::LegSinks {
    let (signals, _) = tokio::sync::mpsc::channel(1);
    let (stream, _) = tokio::sync::mpsc::channel(1);
    graphophone_sip::LegSinks { signals, stream }
}

#[test]
fn the_debug_form_of_an_account_hides_its_password() {
    let account = config().phones.remove(0);
    assert!(!format!("{account:?}").contains("horse"));
}
