//! The receiving half of a stream: datagrams of any content from any address at any time. Each is
//! counted once, nothing is heard or sent but from and to the far end, and a key press is a press.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use arbitrary::{Arbitrary, Result, Unstructured};
use graphophone_media::{
    codec::Codec,
    engine::{Remote, StreamEvent, fuzzing::Receiving},
    rtp::{HEADER_LEN, Header},
    srtp::{MasterKey, Protect, SRTP_OVERHEAD, SrtpKeys},
};

/// Most steps of one input.
const MOST: usize = 200;
const PAYLOAD_TYPE: u8 = 96;
const EVENT: u8 = 101;

#[derive(Arbitrary)]
enum Step<'a> {
    Pass(u16),
    PassLong(u32),
    Bytes { from: u8, rtcp: bool, bytes: &'a [u8] },
    Packet { from: u8, payload_type: u8, marker: bool, sequence: i8, timestamp: i16, source: bool },
    Key { code: u8, end: bool, duration: u16, timestamp: i16 },
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = play(&mut input);
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let (muxed, protected): (bool, bool) = input.arbitrary()?;
    let far_end = |port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, 9), port));
    let remote = Remote { rtp: far_end(4_000), rtcp: (!muxed).then_some(far_end(4_001)) };
    let key = |byte| MasterKey { key: [byte; 16], salt: [byte; 12] };
    let keys = protected.then(|| SrtpKeys { local: key(1), remote: key(2) });
    let seal = protected.then(|| Protect::new(&key(2)));
    let mut stream = Receiving::new(Codec::Pcmu, PAYLOAD_TYPE, Some(EVENT), remote, keys.as_ref());
    let (mut given, mut keys_heard, mut events) = (0_u64, 0_u64, 0_u64);
    let (mut sequence, mut timestamp, mut wraps) = (0_u16, 0_u32, 0_u64);
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        let step: Step<'_> = input.arbitrary()?;
        let packet = match step {
            Step::Pass(millis) => {
                check_sent(&stream.pass(Duration::from_millis(millis.into())));
                continue;
            }
            Step::PassLong(seconds) => {
                check_sent(&stream.pass(Duration::from_secs(seconds.into())));
                continue;
            }
            Step::Bytes { from, rtcp, bytes } => {
                given += 1;
                events += bytes.len() as u64 / 4;
                stream.datagram(from_address(from), rtcp, bytes);
                continue;
            }
            Step::Packet {
                from,
                payload_type,
                marker,
                sequence: ahead,
                timestamp: later,
                source,
            } => {
                let next = sequence.wrapping_add_signed(ahead.into());
                wraps += u64::from(ahead > 0 && next < sequence);
                sequence = next;
                timestamp = timestamp.wrapping_add_signed(later.into());
                let ssrc = if source { 8 } else { 7 };
                let header = Header { marker, payload_type, sequence, timestamp, ssrc };
                (from, header, vec![0xFF; 160])
            }
            Step::Key { code, end, duration, timestamp: later } => {
                sequence = sequence.wrapping_add(1);
                wraps += u64::from(sequence == 0);
                timestamp = timestamp.wrapping_add_signed(later.into());
                let header = Header {
                    marker: later != 0,
                    payload_type: EVENT,
                    sequence,
                    timestamp,
                    ssrc: 7,
                };
                let [high, low] = duration.to_be_bytes();
                (0, header, vec![code, if end { 0x8A } else { 0x0A }, high, low])
            }
        };
        let (from, header, payload) = packet;
        let mut bytes = vec![0; HEADER_LEN + payload.len()];
        header.write(bytes.first_chunk_mut().expect("room for a header"));
        bytes[HEADER_LEN..].copy_from_slice(&payload);
        if let Some(seal) = &seal {
            let length = bytes.len();
            bytes.resize(length + SRTP_OVERHEAD, 0);
            // The fuzzer's own nonces may come twice: it keeps no secret.
            seal.rtp(&mut bytes, length, wraps << 16 | u64::from(header.sequence));
        }
        given += 1;
        events += payload.len() as u64 / 4;
        stream.datagram(from_address(from), false, &bytes);
        for event in stream.told() {
            match event {
                StreamEvent::Tone(code) => {
                    assert!(code <= 16);
                    keys_heard += 1;
                }
                StreamEvent::Receiving => {}
                // Told when nothing came for a minute.
                StreamEvent::Silent => {}
                StreamEvent::Finished(_)
                | StreamEvent::Stopped(_)
                | StreamEvent::TonesSent(_)
                | StreamEvent::TonesStopped(_) => panic!("nothing is played or pressed"),
            }
        }
    }
    let counts = stream.stats().counts;
    let counted = counts.packets_received
        + counts.reports_received
        + counts.foreign_packets
        + counts.malformed_packets
        + counts.unauthentic_packets
        + counts.unknown_payloads;
    assert!(counted <= given, "{counted} counted of {given}");
    assert!(keys_heard <= events, "{keys_heard} keys of {events} events");
    assert_eq!(counts.packets_sent, 0);
    Ok(())
}

/// The far end's address, another port of it, its RTCP port, or somebody else's address.
fn from_address(from: u8) -> SocketAddr {
    match from {
        0..128 => (Ipv4Addr::new(192, 0, 2, 9), 4_000).into(),
        128..160 => (Ipv4Addr::new(192, 0, 2, 9), u16::from(from)).into(),
        160..192 => (Ipv4Addr::new(192, 0, 2, 9), 4_001).into(),
        192.. => (Ipv4Addr::new(192, 0, 2, from), 4_000).into(),
    }
}

/// Reports only, and to nobody but the far end.
fn check_sent(sent: &[(SocketAddr, usize)]) {
    for (to, length) in sent {
        assert_eq!(to.ip(), Ipv4Addr::new(192, 0, 2, 9), "sent to somebody else");
        assert!(*length <= 300);
    }
}
