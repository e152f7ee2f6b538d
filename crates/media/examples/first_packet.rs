//! Measures how long the engine takes from `play` to the first RTP packet at the far end, on an
//! idle stream over loopback, beside a bare sender that does nothing but `send_to`.
//!
//! `cargo run --release -p graphophone-media --example first_packet [PLAYS]`

use std::{
    net::{Ipv4Addr, UdpSocket},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use graphophone_media::{
    codec::SampleCodec,
    engine::{Engine, EngineConfig, PlayoutId, Remote, Segment, StreamConfig},
    prompt::{EncodedPrompt, Sha256},
};

fn main() -> std::io::Result<()> {
    let plays = std::env::args().nth(1).and_then(|plays| plays.parse().ok()).unwrap_or(500);
    let ear = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    ear.set_read_timeout(Some(Duration::from_secs(5)))?;
    let remote = Remote { rtp: ear.local_addr()?, rtcp: None };

    let bare = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    report("bare send_to", plays, |_| {
        let start = Instant::now();
        bare.send_to(&[0; 172], remote.rtp)?;
        ear.recv(&mut [0; 2_048])?;
        Ok(start.elapsed())
    })?;

    let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN))?;
    let (events, _unread) = tokio::sync::mpsc::channel(1_024.max(plays as usize));
    let stream = engine
        .add_stream(StreamConfig {
            rtp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
            rtcp: None,
            remote,
            codec: SampleCodec::Pcmu.codec(),
            payload_type: SampleCodec::Pcmu.payload_type(),
            telephone_event: None,
            ssrc: 1,
            first_sequence: 1,
            first_timestamp: 1,
            cname: "first@packet".into(),
            rtcp_interval: Duration::from_secs(1_000),
            events,
            tap: None,
            srtp: None,
            media_timeout: None,
        })
        .map_err(std::io::Error::other)?;
    let codec = SampleCodec::Pcmu;
    let silence = vec![codec.silence(); 160];
    let prompt = Arc::new(EncodedPrompt::samples(codec, Sha256([0; 32]), silence));
    report("engine play", plays, |number| {
        // Past the end of the packet before, and at no fixed phase to it.
        std::thread::sleep(Duration::from_micros(25_000 + u64::from(number) * 137 % 3_000));
        let segments = vec![Segment { prompt: Arc::clone(&prompt), repeat: 1 }];
        let start = Instant::now();
        stream
            .play(PlayoutId(u128::from(number)), segments, true, false)
            .map_err(std::io::Error::other)?;
        ear.recv(&mut [0; 2_048])?;
        Ok(start.elapsed())
    })?;
    println!("{:?}", engine.stats());
    Ok(())
}

fn report(
    name: &str,
    plays: u32,
    mut once: impl FnMut(u32) -> std::io::Result<Duration>,
) -> std::io::Result<()> {
    let mut latencies = (0..plays).map(&mut once).collect::<std::io::Result<Vec<_>>>()?;
    latencies.sort();
    let quantile = |q: f64| latencies[((latencies.len() - 1) as f64 * q).round() as usize];
    println!(
        "{name}: p50 {:?}, p99 {:?}, max {:?} of {plays}",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
    Ok(())
}
