//! A bare endpoint for sipp, baresip and the torture corpus: answers every call of loopback and
//! plays a tone into it until the peer hangs up; or calls a target many times.
//!
//! `echo_endpoint 127.0.0.1:5060` answers. `echo_endpoint 127.0.0.1:5060 sip:x@127.0.0.1:5070 200 20`
//! places 200 calls, 20 a second, each of one second, and exits with 1 if one fails. The target
//! `sip:alice@registered` waits for a phone that registers as alice, password secret.

use std::{
    f64::consts::TAU,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use graphophone_call::{LegCommand, LegEvent};
use graphophone_media::{
    codec::SampleCodec,
    engine::{Engine, EngineConfig, PlayoutId, Segment},
    prompt::{Prompt, Sha256},
};
use graphophone_sip::{
    DigestAlgorithm, Endpoint, EndpointConfig, LegHandle, LegSignal, LegSinks, OutgoingCall,
    PhoneAccount, Trunk,
};
use tokio::{sync::mpsc, time::interval};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:5060".to_owned());
    let listen: SocketAddr = listen.parse().expect("the first argument is address:port");
    let threads = NonZeroUsize::MIN;
    let engine = Engine::start(EngineConfig::with_threads(threads)).expect("the engine starts");
    let bound = Endpoint::bind(config(listen), engine).await;
    let (endpoint, mut calls) = bound.expect("the address is free");
    println!("listening on {listen}, UDP and TCP");
    if let Some(target) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        let count: u32 = number().unwrap_or(1);
        let rate = number().unwrap_or(10).max(1);
        while target.ends_with("@registered") && endpoint.contact_of("alice-id").await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let failed = call_many(&endpoint, &target, count, rate).await;
        // sipp counts a connection that closes in its pause after BYE as a failed call.
        tokio::time::sleep(Duration::from_secs(5)).await;
        endpoint.shut_down().await;
        println!("{failed} of {count} calls failed");
        std::process::exit(i32::from(failed > 0));
    }
    // The corpus never sends ACK, and repeated answers of one row would be counted in the next.
    let answers = std::env::var_os("RING_ONLY").is_none();
    while let Some(call) = calls.recv().await {
        let (sinks, signals) = sinks();
        call.leg.attach(sinks);
        if answers {
            call.leg.command(LegCommand::Answer);
        }
        tokio::spawn(serve(call.leg, signals, None));
    }
}

fn config(listen: SocketAddr) -> EndpointConfig {
    let loopback = [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];
    // The digest rows of the corpus come from loopback, too, so they want no open trunk.
    let open = std::env::var_os("DIGEST_ONLY").is_none();
    EndpointConfig {
        udp: vec![listen],
        tcp: vec![listen],
        external_address: None,
        rtp_bind: listen.ip(),
        rtp_ports: 20_000..=29_999,
        digest: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
        phones: vec![PhoneAccount {
            user: "alice".to_owned(),
            password: "secret".to_owned(),
            user_id: "alice-id".to_owned(),
        }],
        trunks: vec![Trunk {
            name: "loopback".to_owned(),
            uri: None,
            username: None,
            from: None,
            realm: None,
            password: None,
            register: false,
            peers: if open { loopback.to_vec() } else { Vec::new() },
        }],
        max_calls: 2_000,
        media_timeout: None,
        agent: "Graphophone".to_owned(),
        incoming_refer: graphophone_sip::IncomingRefer::Decline,
    }
}

async fn call_many(endpoint: &Endpoint, target: &str, count: u32, rate: u32) -> usize {
    let mut pace = interval(Duration::from_secs(1) / rate);
    let mut running = Vec::new();
    for _ in 0..count {
        pace.tick().await;
        let (sinks, signals) = sinks();
        let call = OutgoingCall {
            replaces: None,
            sip_call_id: None,
            target: target.to_owned(),
            trunk: None,
            from_user: "bot".to_owned(),
            from_display: None,
            ring_timeout: Duration::from_secs(30),
            sinks,
        };
        let leg = endpoint.call(call).await.expect("the target can be dialled");
        running.push(tokio::spawn(serve(leg, signals, Some(Duration::from_secs(1)))));
    }
    let mut failed = 0;
    for call in running {
        failed += usize::from(!matches!(call.await, Ok(true)));
    }
    failed
}

/// Plays a tone until somebody hangs up; `true` if the call was answered and ended well.
async fn serve(
    leg: LegHandle,
    mut signals: mpsc::Receiver<LegSignal>,
    hang_up_after: Option<Duration>,
) -> bool {
    let mut stream = None;
    let mut answered = false;
    while let Some(signal) = signals.recv().await {
        match signal {
            LegSignal::Dialog(_) | LegSignal::Referred(_) => {}
            LegSignal::Stream(handle) => {
                let codec = handle.codec().sample().unwrap_or(SampleCodec::Pcmu);
                let prompt = Arc::new(tone().encode(codec));
                let segments = vec![Segment { prompt, repeat: 1 }];
                if handle.play(PlayoutId(1), segments, true, true).is_err() {
                    return false;
                }
                stream = Some(handle);
            }
            LegSignal::Event(LegEvent::Answered) => {
                answered = true;
                if let Some(time) = hang_up_after {
                    tokio::time::sleep(time).await;
                    leg.command(LegCommand::HangUp);
                }
            }
            LegSignal::Event(LegEvent::Ended(result)) => {
                drop(stream);
                if !answered || result.code != 200 {
                    println!("{}", result.message);
                }
                return answered && result.code == 200;
            }
            LegSignal::Event(
                LegEvent::Ringing
                | LegEvent::Media { .. }
                | LegEvent::Tone(_)
                | LegEvent::ReferAccepted
                | LegEvent::ReferRefused
                | LegEvent::ReferEnded(_)
                | LegEvent::Conference(_),
            ) => {}
        }
    }
    false
}

fn sinks() -> (LegSinks, mpsc::Receiver<LegSignal>) {
    let (signals, queue) = mpsc::channel(16);
    let (stream, mut events) = mpsc::channel(16);
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    (LegSinks { signals, stream }, queue)
}

/// One second of 440 Hz.
fn tone() -> Prompt {
    let sample = |n: usize| (10_000.0 * (TAU * 440.0 * n as f64 / 8000.0).sin()) as i16;
    let samples: Vec<i16> = (0..8_000).map(sample).collect();
    Prompt { rate: 8_000, sha256: Sha256::of(&samples), samples }
}
