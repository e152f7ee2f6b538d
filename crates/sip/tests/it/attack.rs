//! Somebody on another address who sprays the RTP ports of a call from before it begins to after its
//! end, ten times as fast as its far end sends (P20, P21).

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use graphophone_call::{LegCommand, Tone};
use graphophone_media::engine::StreamEvent;
use graphophone_sip::{EndpointConfig, phone::PhoneTransport};

use crate::bench::*;

/// Ten packets for each of the far end's.
const PACE: Duration = Duration::from_millis(2);

/// Sends until it is stopped; gives what it sent and what came back.
struct Attacker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

impl Attacker {
    fn start(rtp_port: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut sent, mut received) = (0_u64, 0);
            while !stopped.load(Ordering::Relaxed) {
                let payload_type = [0, 8, 101][sent as usize % 3];
                // A fresh start of a stream, and one that goes on, in turns.
                let sequence = (sent as u16).to_be_bytes();
                let ssrc = [0xBA, 0xD0, 0, (sent % 2) as u8];
                let head = [0x80, payload_type, sequence[0], sequence[1], 0, 0, 0, sequence[1]];
                let body: &[u8] = if payload_type == 101 { &[5, 0x80, 3, 0x20] } else { &[0; 160] };
                let packet = [&head[..], &ssrc, body].concat();
                for port in [rtp_port, rtp_port + 1] {
                    let to = SocketAddr::new(LOOPBACK, port);
                    // Refused until somebody listens there.
                    sent += u64::from(socket.send_to(&packet, to).is_ok());
                }
                while socket.recv(&mut [0; 2_048]).is_ok() {
                    received += 1;
                }
                std::thread::sleep(PACE);
            }
            (sent, received)
        });
        Self { stop, thread }
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// An even port and its neighbour, both free a moment ago.
fn free_pair() -> u16 {
    loop {
        let port = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port() & !1;
        let free = |port| UdpSocket::bind((LOOPBACK, port)).is_ok();
        if port > 1_024 && free(port) && free(port + 1) {
            return port;
        }
    }
}

#[tokio::test]
async fn a_stranger_who_sprays_all_ports_hears_nothing_and_is_not_heard() {
    let port = free_pair();
    let server = Server::with(EndpointConfig { rtp_ports: port..=port + 1, ..config() }).await;
    let phone = server.phone(PhoneTransport::Udp).await;
    let attacker = Attacker::start(port);

    let mut leg = server.call("sip:alice@registered").await;
    let stream = leg.active().await;
    let call = soon(phone.next_call()).await;
    soon(call.established()).await.unwrap();
    call.press(&[Tone::Tone1, Tone::Pound]).unwrap();
    let (mut keys, mut finished) = (Vec::new(), false);
    play(&stream, 440.0, Duration::from_secs(2));
    while keys.len() < 2 || !finished {
        match leg.stream_event().await {
            StreamEvent::Tone(code) => keys.push(code),
            StreamEvent::Finished(_) => finished = true,
            StreamEvent::Stopped(_)
            | StreamEvent::Receiving
            | StreamEvent::Silent
            | StreamEvent::TonesSent(_)
            | StreamEvent::TonesStopped(_) => {}
        }
    }
    let stats = stream.stats();
    leg.command(LegCommand::HangUp);
    leg.ended().await;
    soon(call.ended()).await;
    let (sent, received) = attacker.stop();

    assert_eq!(received, 0, "of what the phone was to hear, the stranger gets nothing");
    assert_eq!(keys, [1, 11], "and presses no key");
    let heard = call.heard();
    assert_eq!((heard.samples.len(), heard.lost), (16_000, 0), "the phone misses nothing");
    let counts = stats.counts;
    assert!(sent > 500 && counts.foreign_packets > sent / 4, "{sent} {counts:?}");
    // The keys: three packets to begin, one each 20 ms, three to end.
    assert!((6..60).contains(&counts.packets_received), "{counts:?}");
}
