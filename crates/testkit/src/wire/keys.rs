//! What a [`WirePhone`] says: keys as the packets of RFC 4733, one by one, and A-law.

use std::{
    net::{IpAddr, SocketAddr},
    sync::PoisonError,
    time::Duration,
};

use tokio::time::interval;

use super::{ALAW, EVENT, WirePhone};

/// Samples of one packet, at 8 kHz.
const STEP: u16 = 160;
/// Packets of a key that is down, before the first with the E bit.
const DOWN: u16 = 4;
/// Packets with the E bit (RFC 4733 §2.5.1.4).
const ENDS: u16 = 3;

/// One packet of telephone-event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireEvent {
    /// When the key went down; the same in all packets of a press.
    pub timestamp: u32,
    /// Event code.
    pub code: u8,
    /// The E bit: the key is up.
    pub is_end: bool,
    /// How long it was down so far, in samples.
    pub duration: u16,
}

impl WireEvent {
    pub(super) fn read(timestamp: u32, payload: &[u8]) -> Self {
        Self {
            timestamp,
            code: payload[0],
            is_end: payload[1] & 0x80 != 0,
            duration: u16::from_be_bytes([payload[2], payload[3]]),
        }
    }
}

impl WirePhone {
    /// Presses keys, each for 100 ms. `number` counts presses from 0 and makes their timestamps;
    /// packets (7 for each press, 3 of them with the E bit) of which `is_lost` says so are not sent.
    ///
    /// # Panics
    /// Before there was a call.
    pub async fn press(
        &self,
        keys: impl IntoIterator<Item = (u32, u8)>,
        is_lost: impl Fn(u16) -> bool,
    ) {
        let mut tick = interval(Duration::from_millis(20));
        for (number, code) in keys {
            let timestamp = 160_000 + number * 1_600;
            for packet in 0..DOWN + ENDS {
                tick.tick().await;
                if is_lost(packet) {
                    continue;
                }
                let sequence = number as u16 * (DOWN + ENDS) + packet;
                let is_end = packet >= DOWN;
                let duration = STEP * (packet.min(DOWN) + 1);
                let marker = if packet == 0 { 0x80 } else { 0 };
                let mut payload = vec![code, if is_end { 0x8A } else { 0x0A }];
                payload.extend(duration.to_be_bytes());
                self.send_rtp(marker | EVENT, sequence, timestamp, &payload).await;
            }
        }
    }

    /// Says A-law, in packets of 20 ms and at their pace.
    ///
    /// # Panics
    /// Before there was a call.
    pub async fn speak(&self, alaw: &[u8]) {
        let mut tick = interval(Duration::from_millis(20));
        for (number, piece) in alaw.chunks(usize::from(STEP)).enumerate() {
            tick.tick().await;
            let timestamp = u32::from(STEP) * number as u32;
            self.send_rtp(ALAW, number as u16, timestamp, piece).await;
        }
    }

    async fn send_rtp(&self, kind: u8, sequence: u16, timestamp: u32, payload: &[u8]) {
        let caller = *self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        let caller = caller.expect("there was an INVITE with a session description");
        let mut bytes = vec![0x80, kind];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(0x5EED_u32.to_be_bytes());
        bytes.extend(payload);
        self.rtp.send_to(&bytes, caller).await.expect("loopback takes it");
    }
}

/// Where a session description wants audio (the `m=` line; on the host that sent it).
pub(super) fn audio_of(sdp: &str, host: IpAddr) -> Option<SocketAddr> {
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?;
    Some(SocketAddr::new(host, line.split(' ').next()?.parse().ok()?))
}
