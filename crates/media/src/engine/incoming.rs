//! The receiving half of a stream: sorts audio, key presses and reports, and counts.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
    time::Duration,
};

use super::{
    Now, Remote, StreamEvent, TappedPacket,
    feed::LiveFrame,
    mailbox::Mailbox,
    path::Path,
    sender::Channel,
    silence::Silence,
    sources::Sources,
    stats::{ShardCounters, StreamCounters},
    taps::Taps,
};
use crate::{
    codec::{Codec, SampleCodec},
    dtmf::KeyPresses,
    rtcp::{self, ntp, ntp_middle},
    rtp::{Header, Packet, Reception},
    srtp::Unprotect,
};

/// Protected datagrams that are longer are refused; nothing crosses an Ethernet that is.
const MAX_PROTECTED: usize = 1_500;

/// What the payloads of a stream are.
pub(super) struct Formats {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) telephone_event: Option<u8>,
}

/// What a stream knows of its far end.
pub(super) struct Incoming {
    codec: Codec,
    payload_type: u8,
    telephone_event: Option<u8>,
    rtp: Path,
    /// `None` if RTCP shares the RTP port.
    rtcp: Option<Path>,
    reception: Option<Reception>,
    sources: Sources,
    /// How long nothing came at all.
    pub(super) silence: Silence,
    presses: KeyPresses,
    receiving: bool,
    pub(super) taps: Taps,
    /// The room that the stream has joined.
    pub(super) room: Option<SyncSender<TappedPacket>>,
    /// Frames heard of a room, by a stream without a far end.
    frames: u16,
    /// With SRTP, nothing is heard that does not pass it.
    unprotect: Option<Box<Unprotect>>,
    /// The far end's last sender report: its middle NTP bits, and when it came.
    last_sender_report: Option<(u32, Now)>,
    counters: Arc<StreamCounters>,
}

impl Incoming {
    pub(super) fn new(
        formats: Formats,
        remote: Remote,
        tap: Option<SyncSender<TappedPacket>>,
        unprotect: Option<Box<Unprotect>>,
        silence: Silence,
        counters: Arc<StreamCounters>,
    ) -> Self {
        let Formats { codec, payload_type, telephone_event } = formats;
        Self {
            codec,
            payload_type,
            telephone_event,
            rtp: Path::new(remote.rtp),
            rtcp: remote.rtcp.map(Path::new),
            reception: None,
            sources: Sources::default(),
            silence,
            presses: KeyPresses::new(codec.rate()),
            receiving: false,
            taps: Taps::new(tap),
            room: None,
            frames: 0,
            unprotect,
            last_sender_report: None,
            counters,
        }
    }

    pub(super) fn set_remote(&mut self, remote: Remote) {
        self.rtp.signal(remote.rtp);
        match (&mut self.rtcp, remote.rtcp) {
            (Some(path), Some(address)) => path.signal(address),
            (path, address) => *path = address.map(Path::new),
        }
    }

    /// Where RTP goes.
    pub(super) fn rtp_target(&self) -> Option<SocketAddr> {
        self.rtp.target()
    }

    /// Where RTCP goes, and by which socket.
    pub(super) fn rtcp_target(&self) -> Option<(SocketAddr, Channel)> {
        match &self.rtcp {
            Some(path) => Some((path.target()?, Channel::Rtcp)),
            None => Some((self.rtp.target()?, Channel::Rtp)),
        }
    }

    pub(super) fn reception(&mut self) -> Option<&mut Reception> {
        self.reception.as_mut()
    }

    /// The fields LSR and DLSR of our next report (RFC 3550 §6.4.1).
    pub(super) fn last_sender_report(&self, now: Now) -> (u32, u32) {
        self.last_sender_report.map_or((0, 0), |(middle, at)| {
            let since = now.at.saturating_duration_since(at.at);
            (middle, u32::try_from(crate::rtp::units(since, 1 << 16)).unwrap_or(u32::MAX))
        })
    }

    /// Takes an RTP datagram.
    pub(super) fn rtp(
        &mut self,
        now: Now,
        from: SocketAddr,
        datagram: &[u8],
        mailbox: &mut Mailbox,
        shard: &ShardCounters,
    ) {
        if !self.rtp.accepts(from) {
            return self.counters.counts.foreign_packets.add(1);
        }
        let Some(unprotect) = &mut self.unprotect else {
            return self.clear_rtp(now, from, datagram, mailbox, shard);
        };
        let mut clear = [0; MAX_PROTECTED];
        match unprotect.rtp(datagram, &mut clear) {
            Ok(packet) => self.clear_rtp(now, from, packet, mailbox, shard),
            Err(_) => self.counters.counts.unauthentic_packets.add(1),
        }
    }

    fn clear_rtp(
        &mut self,
        now: Now,
        from: SocketAddr,
        datagram: &[u8],
        mailbox: &mut Mailbox,
        shard: &ShardCounters,
    ) {
        let counters = &self.counters.counts;
        let Ok(packet) = Packet::parse(datagram) else { return counters.malformed_packets.add(1) };
        self.silence.heard(now.at);
        let header = packet.header;
        let is_event = self.telephone_event == Some(header.payload_type);
        let codec = self.codec_of(header.payload_type);
        if !is_event && codec.is_none() {
            counters.unknown_payloads.add(1);
            // Comfort noise and the like are numbered with the rest: not counting them is loss.
            if let Some(reception) = &mut self.reception
                && reception.ssrc() == header.ssrc
                && reception.packet(header.sequence, None, now.at)
            {
                self.sources.heard(now.at);
            }
            return;
        }
        if !self.count(packet, is_event, from, now) {
            return self.counters.counts.foreign_packets.add(1);
        }
        self.rtp.confirm(from);
        self.counters.counts.packets_received.add(1);
        shard.packets_received.add(1);
        if !self.receiving {
            self.receiving = true;
            mailbox.post(StreamEvent::Receiving, now.at);
        }
        if is_event {
            let counts = &self.counters.counts;
            self.presses.packet(header.marker, header.timestamp, packet.payload, |code| {
                if !mailbox.post(StreamEvent::Tone(code), now.at) {
                    counts.tones_dropped.add(1);
                }
            });
        } else if let Some(codec) = codec {
            if self.room.is_some() && !self.tell_room(packet, codec, now) {
                self.counters.counts.tap_dropped.add(1);
            }
            self.tap(packet, codec, now);
        }
    }

    fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        if payload_type == self.payload_type {
            return Some(self.codec);
        }
        // The far end may send any codec of the answer, and static numbers are unmistakable. With
        // another clock rate no answer of ours has had one.
        SampleCodec::ALL
            .into_iter()
            .find(|codec| codec.payload_type() == payload_type)
            .map(SampleCodec::codec)
            .filter(|codec| codec.rate() == self.codec.rate())
    }

    /// Counts a packet; false if it is of another source than the one that is heard, or out of
    /// its order.
    fn count(&mut self, packet: Packet<'_>, is_event: bool, from: SocketAddr, now: Now) -> bool {
        let header = packet.header;
        let rate = self.codec.rate();
        // What SRTP has found authentic needs no other proof, nor does the first one at an address
        // that was just signalled.
        let is_proved = self.unprotect.is_some() || self.rtp.is_open_to(from);
        let reception = match &mut self.reception {
            Some(reception) if reception.ssrc() == header.ssrc => reception,
            Some(_)
                if !is_proved && !self.sources.takes_over(header.ssrc, header.sequence, now.at) =>
            {
                return false;
            }
            // The first one, or another, as after a transfer at the far end.
            other => {
                self.presses = KeyPresses::new(rate);
                self.last_sender_report = None;
                other.insert(Reception::new(header.ssrc, rate, header.sequence, now.at))
            }
        };
        let timestamp = (!is_event).then_some(header.timestamp);
        let is_in_order = reception.packet(header.sequence, timestamp, now.at);
        if is_in_order {
            self.sources.heard(now.at);
            self.counters.reception(reception.lost(), reception.jitter());
        }
        is_in_order
    }

    fn tap(&mut self, packet: Packet<'_>, codec: Codec, now: Now) {
        let dropped = self.taps.give(|| TappedPacket {
            at: now.at,
            sequence: packet.header.sequence,
            timestamp: packet.header.timestamp,
            codec,
            payload: packet.payload.to_vec(),
        });
        self.counters.counts.tap_dropped.add(dropped);
    }

    /// Lets the room have a packet; false if there is none or it is full.
    pub(super) fn tell_room(&mut self, packet: Packet<'_>, codec: Codec, now: Now) -> bool {
        let Some(room) = &self.room else { return false };
        let told = room.try_send(TappedPacket {
            at: now.at,
            sequence: packet.header.sequence,
            timestamp: packet.header.timestamp,
            codec,
            payload: packet.payload.to_vec(),
        });
        if matches!(told, Err(TrySendError::Disconnected(_))) {
            self.room = None;
        }
        told.is_ok()
    }

    /// Hears a frame of the room as if it were a packet of a far end, whose timestamps count from
    /// when the stream `began`.
    pub(super) fn hear(&mut self, now: Now, frame: &LiveFrame, began: Now, mailbox: &mut Mailbox) {
        if !self.receiving {
            self.receiving = true;
            mailbox.post(StreamEvent::Receiving, now.at);
        }
        let since = frame.at.saturating_duration_since(began.at);
        let header = Header {
            marker: false,
            payload_type: self.payload_type,
            sequence: self.frames,
            timestamp: crate::rtp::units(since, self.codec.rate()) as u32,
            ssrc: 0,
        };
        self.frames = self.frames.wrapping_add(1);
        self.counters.counts.packets_received.add(1);
        self.tap(Packet { header, payload: frame.payload() }, self.codec, now);
    }

    /// Takes an RTCP datagram; calls `acknowledge` with the extended highest sequence number
    /// and the cumulative loss of each report block about `our_ssrc`. A BYE of the far end ends
    /// nothing: signalling does.
    pub(super) fn rtcp(
        &mut self,
        now: Now,
        from: SocketAddr,
        channel: Channel,
        datagram: &[u8],
        our_ssrc: u32,
        acknowledge: impl FnMut(u32, i32),
    ) {
        if !self.rtcp_path(channel).accepts(from) {
            return self.counters.counts.foreign_packets.add(1);
        }
        let Some(unprotect) = &mut self.unprotect else {
            return self.clear_rtcp(now, from, channel, datagram, our_ssrc, acknowledge);
        };
        let mut clear = [0; MAX_PROTECTED];
        match unprotect.rtcp(datagram, &mut clear) {
            Ok(compound) => self.clear_rtcp(now, from, channel, compound, our_ssrc, acknowledge),
            Err(_) => self.counters.counts.unauthentic_packets.add(1),
        }
    }

    /// The path that RTCP of a socket comes by.
    fn rtcp_path(&self, channel: Channel) -> &Path {
        match (channel, &self.rtcp) {
            (Channel::Rtcp, Some(path)) => path,
            (Channel::Rtcp, None) | (Channel::Rtp | Channel::Room, _) => &self.rtp,
        }
    }

    fn clear_rtcp(
        &mut self,
        now: Now,
        from: SocketAddr,
        channel: Channel,
        datagram: &[u8],
        our_ssrc: u32,
        mut acknowledge: impl FnMut(u32, i32),
    ) {
        let counters = &self.counters.counts;
        let Ok(items) = rtcp::parse(datagram) else { return counters.malformed_packets.add(1) };
        self.silence.heard(now.at);
        if let (Channel::Rtcp, Some(path)) = (channel, &mut self.rtcp) {
            path.confirm(from);
        }
        counters.reports_received.add(1);
        for item in items {
            match item {
                rtcp::Item::SenderReport { ssrc, ntp } => {
                    let known = self.reception.as_ref().map(Reception::ssrc);
                    if known.is_none_or(|known| known == ssrc) {
                        self.last_sender_report = Some((ntp_middle(ntp), now));
                    }
                }
                rtcp::Item::Block(block) if block.ssrc == our_ssrc => {
                    acknowledge(block.highest_sequence, block.cumulative_lost);
                    self.note_remote(now, &block);
                }
                rtcp::Item::Block(_) | rtcp::Item::Bye { .. } => {}
            }
        }
    }

    fn note_remote(&self, now: Now, block: &rtcp::ReportBlock) {
        let jitter = u64::from(block.jitter) * 1_000_000_000 / u64::from(self.codec.rate());
        self.counters.remote_report(i64::from(block.cumulative_lost), Duration::from_nanos(jitter));
        if block.last_sender_report != 0 {
            // RFC 3550 §6.4.1, figure 2; in units of 1/65536 s.
            let round_trip = ntp_middle(ntp(now.wall))
                .wrapping_sub(block.last_sender_report)
                .wrapping_sub(block.delay_since_sender_report);
            // Negative after rounding, or when the far end says nonsense.
            let round_trip = u64::from(if round_trip > u32::MAX / 2 { 0 } else { round_trip });
            self.counters.round_trip(Duration::from_nanos((round_trip * 1_000_000_000) >> 16));
        }
    }
}
