//! One stream: what it has to send, when, and the books of what has left.

mod books;
mod layers;
mod live;
mod setup;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Now, PlayoutId, PlayoutProgress, Remote, Segment, StreamEvent, TappedPacket, TonesId,
    calendar::{Calendar, WIDTH},
    feed::{self, LiveFrames},
    incoming::{Formats, Incoming},
    lane::{self, Books, Lane},
    ledger::Ledger,
    mailbox::Mailbox,
    overlay::Overlays,
    playout::{MAX_PAYLOAD, Playout},
    progress::Block,
    reports::Reports,
    send_clock::{PACKET, SendClock},
    sender::{Batch, Channel, Content, Datagram},
    silence::Silence,
    stats::{LATE, ShardCounters, StreamCounters},
    tones::{Form, TonePacket, Tones, TonesOut},
};
use crate::{
    codec::Codec,
    dtmf::EVENT_LEN,
    rtcp::MAX_COMPOUND_LEN,
    rtp::{self, HEADER_LEN, Header},
    srtp::Protect,
};

/// Packets that may leave together after a late tick; more would overrun jitter buffers.
const MAX_BURST: usize = 3;

/// The most datagrams one tick of a stream lays down: a burst and a report.
pub(super) const MAX_PER_TICK: usize = MAX_BURST + 1;

/// Live frames are never more at once.
const _: () = assert!(feed::PLACES <= MAX_PER_TICK);

/// Where a stream that has no far end sends.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Deadlines this close are served with those that are due, so that many streams cost few wakes.
pub(super) const EARLY: Duration = WIDTH;

pub(super) use layers::LayerCommand;
pub(super) use setup::{Srtp, StreamSetup};

/// What an owner asks of its stream.
pub(super) enum StreamCommand {
    Play(Box<NewPlayout>),
    Layer(LayerCommand),
    Extend {
        id: PlayoutId,
        segments: Vec<Segment>,
        block: Arc<Block>,
        sealed: bool,
    },
    /// `done` is told whether the playout was cut, once nothing of it can be sent any more.
    Stop {
        id: PlayoutId,
        done: Option<oneshot::Sender<bool>>,
    },
    Tones(Tones),
    StopTones(TonesId),
    Tap(std::sync::mpsc::SyncSender<TappedPacket>),
    SetRemote {
        remote: Remote,
        sending: bool,
        receiving: bool,
    },
    /// Live audio, to be sent while there is nothing else.
    Feed(LiveFrames),
    /// A room that is to hear what comes in; or what goes out, of a stream without a far end.
    SpeakTo(std::sync::mpsc::SyncSender<TappedPacket>),
    /// Nothing but reports is to be sent any more.
    Cease,
}

pub(super) struct NewPlayout {
    pub(super) id: PlayoutId,
    pub(super) segments: Vec<Segment>,
    pub(super) block: Arc<Block>,
    pub(super) progress: Arc<PlayoutProgress>,
    pub(super) sealed: bool,
    pub(super) looping: bool,
}

pub(super) struct Stream {
    codec: Codec,
    payload_type: u8,
    telephone_event: Option<u8>,
    sending: bool,
    playout: Option<Playout>,
    /// What is mixed over it; `None` while there is nothing.
    overlays: Option<Box<Overlays>>,
    /// Whether it has no far end but a room.
    is_virtual: bool,
    live: Option<LiveFrames>,
    tones: TonesOut,
    clock: SendClock,
    /// When the next packet is due; `None` while there is nothing to send.
    due: Option<Instant>,
    ledger: Ledger,
    incoming: Incoming,
    protect: Option<Box<Protect>>,
    reports: Reports,
    began: Now,
    mailbox: Mailbox,
    counters: Arc<StreamCounters>,
    pub(super) abandoned: Arc<AtomicBool>,
}

impl Stream {
    pub(super) fn new(setup: StreamSetup, now: Now) -> Self {
        let seed = u64::from(setup.ssrc) << 32
            ^ u64::from(setup.first_timestamp) << 16
            ^ u64::from(setup.first_sequence);
        let (protect, unprotect) = setup.srtp.map(|srtp| (srtp.protect, srtp.unprotect)).unzip();
        Self {
            codec: setup.codec,
            payload_type: setup.payload_type,
            telephone_event: setup.telephone_event,
            sending: true,
            playout: None,
            overlays: None,
            is_virtual: false,
            live: None,
            tones: TonesOut::new(setup.codec),
            clock: SendClock::new(
                setup.ssrc,
                setup.codec,
                setup.first_sequence,
                setup.first_timestamp,
            ),
            due: None,
            ledger: Ledger::new(setup.codec.packet_units()),
            incoming: Incoming::new(
                Formats {
                    codec: setup.codec,
                    payload_type: setup.payload_type,
                    telephone_event: setup.telephone_event,
                },
                setup.remote,
                setup.tap,
                unprotect,
                Silence::new(setup.media_timeout, now.at),
                Arc::clone(&setup.counters),
            ),
            protect,
            reports: Reports::new(setup.cname, setup.rtcp_interval, seed, now.at),
            began: now,
            mailbox: Mailbox::new(setup.events),
            counters: setup.counters,
            abandoned: setup.abandoned,
        }
    }

    /// When the next packet is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// When [`Self::tick`] should be called, even if no packet is due.
    pub(super) fn chores(&self) -> Instant {
        let others = [self.mailbox.retry_at(), self.incoming.silence.look_at()];
        others.into_iter().flatten().fold(self.reports.next(), Instant::min)
    }

    /// Where RTP goes.
    pub(super) fn rtp_target(&self) -> Option<SocketAddr> {
        if self.is_virtual { Some(NOWHERE) } else { self.incoming.rtp_target() }
    }

    /// What encrypts packets, with SRTP.
    pub(super) fn protect(&self) -> Option<&Protect> {
        self.protect.as_deref()
    }

    /// Lends the next packets, if they need no decision.
    pub(super) fn lend(&self, calendar: &Calendar) -> Option<Lane> {
        let due = self.due.filter(|due| self.clock.free_at() == Some(*due))?;
        if !self.tones.is_empty() || self.is_virtual || self.overlays.is_some() {
            return None;
        }
        let (excerpt, left) = self.playout.as_ref()?.excerpt(lane::LONGEST)?;
        let (header, index) = self.clock.routine(self.payload_type)?;
        let (due, to) = (calendar.moment(due), self.incoming.rtp_target()?);
        let is_protected = self.protect.is_some();
        Some(Lane { due, header, index, to, excerpt, left, is_protected, books: Books::default() })
    }

    /// Takes a command. Packets that it makes due leave with the next tick.
    pub(super) fn handle(&mut self, now: Now, command: StreamCommand) {
        match command {
            StreamCommand::Play(new) => self.play(now, *new),
            StreamCommand::Layer(command) => self.layer(now, command),
            StreamCommand::Extend { id, segments, block, sealed } => {
                if let Some(playout) = &mut self.playout
                    && playout.id == id
                    && !playout.is_sealed()
                {
                    playout.append(segments, &block);
                    if sealed {
                        playout.seal();
                    }
                    self.finish_if_over(now);
                }
            }
            StreamCommand::Stop { id, done } => {
                let cut = self.playout.take_if(|playout| playout.id == id);
                let cut = cut.is_some() || self.stop_overlay(id);
                if cut {
                    self.mailbox.post(StreamEvent::Stopped(id), now.at);
                }
                if let Some(done) = done {
                    // Nobody may be waiting any more.
                    let _ = done.send(cut);
                }
            }
            StreamCommand::Tones(tones) => self.queue_tones(now, tones),
            StreamCommand::StopTones(id) => {
                if self.tones.stop(id) {
                    self.mailbox.post(StreamEvent::TonesStopped(id), now.at);
                }
            }
            StreamCommand::Tap(tap) => self.incoming.taps.add(tap),
            StreamCommand::SetRemote { remote, sending, receiving } => {
                if !self.is_virtual {
                    self.incoming.set_remote(remote);
                }
                // Who holds the call owes nothing.
                self.incoming.silence.expect(sending && receiving, now.at);
                self.sending = sending;
            }
            StreamCommand::Feed(frames) => self.live = Some(frames),
            StreamCommand::SpeakTo(room) => self.incoming.room = Some(room),
            StreamCommand::Cease => {
                self.incoming.silence.expect(false, now.at);
                self.sending = false;
            }
        }
        self.reschedule(now);
    }

    fn play(&mut self, now: Now, new: NewPlayout) {
        if let Some(cut) = self.playout.take() {
            self.mailbox.post(StreamEvent::Stopped(cut.id), now.at);
        }
        let mut playout = Playout::new(new.id, new.progress, self.codec, new.sealed, new.looping);
        playout.append(new.segments, &new.block);
        self.playout = Some(playout);
        self.finish_if_over(now);
    }

    /// Ends a playout of which nothing is left, or never was anything.
    fn finish_if_over(&mut self, now: Now) {
        if let Some(over) = self.playout.take_if(|playout| playout.is_finished()) {
            self.mailbox.post(StreamEvent::Finished(over.id), now.at);
        }
    }

    /// Every sequence ends with one event, also one that cannot be sent.
    fn queue_tones(&mut self, now: Now, tones: Tones) {
        let id = tones.id;
        let has_form = match tones.form {
            Form::Events { .. } => self.telephone_event.is_some(),
            Form::Sound { .. } => self.codec.sample().is_some(),
        };
        let refused = if has_form { self.tones.push(tones) } else { Err(tones.len() as u64) };
        match refused {
            Ok(()) => {}
            Err(0) => {
                self.mailbox.post(StreamEvent::TonesSent(id), now.at);
            }
            Err(refused) => {
                self.counters.counts.tones_refused.add(refused);
                self.mailbox.post(StreamEvent::TonesStopped(id), now.at);
            }
        }
    }

    fn wants_to_send(&self) -> bool {
        self.sending
            && (!self.tones.is_empty()
                || self.playout.as_ref().is_some_and(Playout::has_packet)
                || self.overlays.as_ref().is_some_and(|overlays| overlays.has_packet()))
            && self.rtp_target().is_some()
    }

    fn reschedule(&mut self, now: Now) {
        if !self.wants_to_send() {
            self.due = None;
        } else if self.due.is_none() {
            // At once, unless the packet before still plays at the far end.
            self.due = Some(self.clock.free_at().map_or(now.at, |free_at| free_at.max(now.at)));
        }
    }

    /// Lays down what is due, at most [`MAX_PER_TICK`] datagrams.
    pub(super) fn tick(&mut self, now: Now, slot: usize, batch: &mut Batch, shard: &ShardCounters) {
        let horizon = now.at + EARLY;
        for burst in 0.. {
            let Some(due) = self.due.filter(|due| *due <= horizon) else { break };
            let Some(to) = self.rtp_target() else { break };
            if burst == MAX_BURST {
                // Behind by more than a burst may make up for: everything moves back, by whole
                // packets, so that a stall does not put all streams on one moment for good.
                self.counters.counts.slips.add(1);
                let behind = (horizon - due).as_nanos() / PACKET.as_nanos();
                let next = due + PACKET * u32::try_from(behind + 1).unwrap_or(u32::MAX);
                self.clock.slip(next);
                self.due = Some(next);
                break;
            }
            let lateness = now.at.saturating_duration_since(due);
            self.counters.counts.late_packets.add(u64::from(lateness >= LATE));
            self.counters.lateness(lateness);
            shard.lateness(lateness);
            let datagram = batch.push();
            datagram.slot = slot;
            datagram.channel = if self.is_virtual { Channel::Room } else { Channel::Rtp };
            datagram.to = to;
            self.lay_down(now, due, datagram);
            self.due = self.clock.free_at().filter(|_| self.wants_to_send());
        }
        if self.reports.next() <= horizon {
            self.report(now, slot, batch, false);
            self.reports.schedule(now.at);
        }
        if self.incoming.silence.is_over(horizon) {
            self.mailbox.post(StreamEvent::Silent, now.at);
        }
        if self.mailbox.retry_at().is_some_and(|retry_at| retry_at <= horizon) {
            self.mailbox.deliver(now.at);
        }
    }

    /// Lays the next RTP packet down. Tones go before audio: RFC 4733 leaves it to the sender to
    /// block audio during events, and a playout that waits for them loses nothing.
    fn lay_down(&mut self, now: Now, due: Instant, datagram: &mut Datagram) {
        if let Some((packet, over)) = self.tones.next() {
            datagram.content = Content::Event;
            let payload = &mut datagram.bytes[HEADER_LEN..];
            let (header, index, octets) = match packet {
                TonePacket::Event(event) => {
                    let wait = span(event.wait, self.codec.rate());
                    payload[..EVENT_LEN].copy_from_slice(&event.payload);
                    // Without a number for it none was queued.
                    let payload_type = self.telephone_event.unwrap_or_default();
                    let (header, index) = self.clock.event(payload_type, due, event.first, wait);
                    (header, index, EVENT_LEN)
                }
                TonePacket::Sound(bytes) => {
                    payload[..bytes.len()].copy_from_slice(bytes);
                    let (header, index) = self.clock.audio(self.payload_type, due);
                    (header, index, bytes.len())
                }
            };
            if let Some(id) = over {
                self.mailbox.post(StreamEvent::TonesSent(id), now.at);
            }
            return self.finish(datagram, header, octets, index);
        }
        let (header, index) = self.clock.audio(self.payload_type, due);
        let payload: &mut [u8; MAX_PAYLOAD] = (&mut datagram.bytes
            [HEADER_LEN..HEADER_LEN + MAX_PAYLOAD])
            .try_into()
            .expect("the range has this length");
        if let Some(overlays) = &mut self.overlays
            && let Some(codec) = self.codec.sample()
        {
            let octets = overlays.mix(codec, self.playout.as_mut(), index, payload);
            datagram.content = Content::Mixed { index };
            return self.finish(datagram, header, octets, index);
        }
        let playout = self.playout.as_mut().expect("due only with a tone or a playout");
        let (filled, octets) = playout.fill(payload);
        datagram.content = Content::Audio { filled, index };
        self.finish(datagram, header, octets, index);
    }

    /// Puts the header before a payload and protects both.
    fn finish(&self, datagram: &mut Datagram, header: Header, octets: usize, index: u64) {
        let place = datagram.bytes.first_chunk_mut::<HEADER_LEN>();
        header.write(place.expect("datagrams are longer than a header"));
        datagram.len = HEADER_LEN + octets;
        if let Some(protect) = &self.protect {
            datagram.len = protect.rtp(&mut datagram.bytes, datagram.len, index);
        }
    }

    /// Lays a report down, with `bye` the last one.
    pub(super) fn report(&mut self, now: Now, slot: usize, batch: &mut Batch, bye: bool) {
        let Some((to, channel)) = self.incoming.rtcp_target() else { return };
        if bye && self.clock.last_index().is_none() && self.counters.counts.reports_sent.get() == 0
        {
            // Who never sent anything does not say good-bye (RFC 3550 §6.3.7).
            return;
        }
        if self.protect.as_ref().is_some_and(|protect| !protect.can_report()) {
            return;
        }
        let datagram = batch.push();
        datagram.slot = slot;
        datagram.channel = channel;
        datagram.to = to;
        datagram.content = Content::Report;
        datagram.len = self.reports.write(
            now.counted_from(self.began),
            bye,
            &self.clock,
            &mut self.incoming,
            &self.counters,
            datagram
                .bytes
                .first_chunk_mut::<MAX_COMPOUND_LEN>()
                .expect("datagrams are longer than a compound"),
        );
        if let Some(protect) = &mut self.protect {
            datagram.len = protect.rtcp(&mut datagram.bytes, datagram.len);
        }
    }

    /// Takes a datagram of the far end, or of somebody else.
    pub(super) fn receive(
        &mut self,
        now: Now,
        channel: Channel,
        from: SocketAddr,
        datagram: &[u8],
        shard: &ShardCounters,
    ) {
        if !is_rtcp(channel, datagram) {
            return self.incoming.rtp(now, from, datagram, &mut self.mailbox, shard);
        }
        let (ssrc, last) = (self.clock.ssrc(), self.clock.last_index());
        let now = now.counted_from(self.began);
        self.incoming.rtcp(now, from, channel, datagram, ssrc, |highest, lost| {
            if let Some(last) = last {
                self.ledger.acknowledge(highest, lost, last);
            }
        });
    }
}

/// Tells reports from audio, by the socket or where they share it (RFC 5761).
pub(super) fn is_rtcp(channel: Channel, datagram: &[u8]) -> bool {
    channel == Channel::Rtcp || rtp::is_rtcp(datagram)
}

/// Timestamp units as time.
fn span(units: u32, rate: u32) -> Duration {
    Duration::from_nanos(u64::from(units) * 1_000_000_000 / u64::from(rate))
}
