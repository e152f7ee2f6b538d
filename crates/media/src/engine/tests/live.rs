//! Live audio under a moved clock: what is sent of a feed, and what a stream without a far end
//! hears and says.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;
use crate::engine::feed::{LiveFrame, LiveFrames};

/// The feeder's side.
struct Feeder {
    frames: SyncSender<LiveFrame>,
}

impl Rig {
    fn feed(&mut self, owner: &Owner) -> Feeder {
        let (frames, taken) = sync_channel(crate::engine::feed::PLACES);
        self.command(owner, StreamCommand::Feed(LiveFrames::from(taken)));
        Feeder { frames }
    }

    /// Hands a frame over that is due now, and lets the thread take it.
    fn live(&mut self, owner: &Owner, feeder: &Feeder, payload: &[u8]) {
        let now = self.now();
        feeder.frames.try_send(LiveFrame::new(now.at, payload)).unwrap();
        self.shard.take_live(now, owner.id);
        self.tick();
    }

    /// So many frames of the same.
    fn talk(&mut self, owner: &Owner, feeder: &Feeder, frames: usize) {
        for _ in 0..frames {
            self.live(owner, feeder, &[1; 160]);
            self.run(ms(20));
        }
    }

    fn virtual_stream(&mut self) -> (Owner, Receiver<TappedPacket>) {
        let (events_in, events) = mpsc::channel(16);
        let (tap_in, tap) = sync_channel(64);
        let counters = Arc::new(StreamCounters::default());
        let id = StreamId(self.streams);
        self.streams += 1;
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let setup = StreamSetup {
            remote: Remote { rtp: nowhere, rtcp: None },
            codec: Codec::Pcmu,
            payload_type: 0,
            telephone_event: None,
            ssrc: 0,
            first_sequence: FIRST_SEQUENCE,
            first_timestamp: FIRST_TIMESTAMP,
            cname: String::new(),
            rtcp_interval: Duration::from_secs(5),
            events: events_in,
            tap: Some(tap_in),
            srtp: None,
            media_timeout: None,
            counters: Arc::clone(&counters),
            abandoned: Arc::new(AtomicBool::new(false)),
        };
        let now = self.now();
        self.shard.add_virtual(now, id, setup);
        let owner = Owner { id, slot: 0, events, tap, counters };
        let (room, voice) = sync_channel(64);
        self.command(&owner, StreamCommand::SpeakTo(room));
        (owner, voice)
    }
}

#[test]
fn frames_leave_as_they_come_and_what_is_missing_is_a_gap() {
    let (mut rig, owner) = Rig::with_stream();
    let feeder = rig.feed(&owner);
    for round in 0..6_u8 {
        if round != 3 {
            rig.live(&owner, &feeder, &[round; 160]);
        }
        rig.run(ms(20));
    }
    let sent = rig.rtp();
    let seen: Vec<_> = sent
        .iter()
        .map(|sent| {
            let Header { marker, sequence, timestamp, .. } = sent.header();
            let sequence = sequence.wrapping_sub(FIRST_SEQUENCE);
            let timestamp = timestamp.wrapping_sub(FIRST_TIMESTAMP);
            (sent.at.as_millis(), marker, sequence, timestamp, sent.packet().payload[0])
        })
        .collect();
    let expected = [
        (0, true, 0, 0, 0),
        (20, false, 1, 160, 1),
        (40, false, 2, 320, 2),
        (80, true, 3, 640, 4),
        (100, false, 4, 800, 5),
    ];
    assert_eq!(seen, expected);
    let counts = owner.stats().counts;
    assert_eq!((counts.packets_sent, counts.octets_sent), (5, 800));
    assert_eq!(counts.live_left_out, 0);
}

#[test]
fn a_playout_and_tones_replace_live_audio_while_they_last() {
    let (mut rig, mut owner) = Rig::with_stream();
    let feeder = rig.feed(&owner);
    rig.talk(&owner, &feeder, 3);
    rig.run(ms(7));
    rig.play(&owner, 1, &[segment(&[2; 160 * 5], 1)], true, false);
    rig.run(ms(13));
    rig.talk(&owner, &feeder, 8);
    let sent = rig.rtp();
    let firsts: Vec<_> = sent.iter().map(|sent| sent.packet().payload[0]).collect();
    assert_eq!(firsts.iter().filter(|first| **first == 2).count(), 5);
    let order: Vec<_> = firsts.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
    assert_eq!(order, [1, 2, 1], "one after another");
    // The timestamps are those of the moments: nothing overlaps.
    let times: Vec<_> = sent
        .iter()
        .map(|sent| {
            (sent.at.as_millis() as u32, sent.header().timestamp.wrapping_sub(FIRST_TIMESTAMP))
        })
        .collect();
    assert!(times.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 160), "{times:?}");
    assert!(times.iter().all(|(at, timestamp)| at * 8 == *timestamp), "{times:?}");
    let counts = owner.stats().counts;
    assert_eq!(counts.live_left_out + counts.packets_sent, 3 + 8 + 5);
    assert_eq!(owner.events(), [StreamEvent::Finished(PlayoutId(1))]);
}

#[test]
fn on_hold_nothing_live_is_sent_and_afterwards_only_what_is_new() {
    let (mut rig, owner) = Rig::with_stream();
    let feeder = rig.feed(&owner);
    let remote = Options::default().remote;
    for round in 0..9_u8 {
        if round == 3 || round == 6 {
            rig.set_remote(&owner, remote, round == 6);
        }
        rig.live(&owner, &feeder, &[round; 160]);
        rig.run(ms(20));
    }
    let sent = rig.rtp();
    let firsts: Vec<_> = sent.iter().map(|sent| sent.packet().payload[0]).collect();
    assert_eq!(firsts, [0, 1, 2, 6, 7, 8]);
    assert!(sent[3].header().marker);
    assert_eq!(sent[3].header().timestamp.wrapping_sub(FIRST_TIMESTAMP), 6 * 160);
    assert_eq!(owner.stats().counts.live_left_out, 3);
}

#[test]
fn live_audio_is_protected_with_srtp() {
    let options = Options { srtp: Some(srtp_keys()), ..Options::default() };
    let (mut rig, owner) = Rig::with(options);
    let feeder = rig.feed(&owner);
    let mut unprotect = Unprotect::new(&srtp_keys().local);
    for round in 0..3_u8 {
        rig.live(&owner, &feeder, &[round; 160]);
        rig.run(ms(20));
    }
    let heard: Vec<_> = rig
        .rtp()
        .iter()
        .map(|sent| {
            let mut clear = [0; 1_500];
            let packet = unprotect.rtp(&sent.bytes, &mut clear).unwrap();
            Packet::parse(packet).unwrap().payload.to_vec()
        })
        .collect();
    assert_eq!(heard, [[0; 160], [1; 160], [2; 160]]);
    assert_eq!(owner.stats().counts.octets_sent, 480);
}

#[test]
fn a_feeder_who_goes_or_is_replaced_leaves_silence() {
    let (mut rig, owner) = Rig::with_stream();
    let first = rig.feed(&owner);
    rig.live(&owner, &first, &[1; 160]);
    rig.run(ms(20));
    let second = rig.feed(&owner);
    assert!(first.frames.try_send(LiveFrame::new(rig.now().at, &[3; 160])).is_err());
    rig.live(&owner, &second, &[2; 160]);
    rig.run(ms(20));
    drop(second);
    let now = rig.now();
    rig.shard.take_live(now, owner.id);
    rig.run(ms(100));
    let firsts: Vec<_> = rig.rtp().iter().map(|sent| sent.packet().payload[0]).collect();
    assert_eq!(firsts, [1, 2]);
}

#[test]
fn a_stream_without_a_far_end_says_its_playout_to_the_room() {
    let mut rig = Rig::new();
    let (mut owner, voice) = rig.virtual_stream();
    let prompt = samples(1, 160 * 9 + 40);
    let progress = rig.play(&owner, 1, &[segment(&prompt, 1)], true, false);
    rig.run(ms(300));
    assert!(rig.rtp().is_empty(), "nothing leaves by a socket");
    let heard: Vec<_> = voice.try_iter().collect();
    assert_eq!(heard.len(), 10);
    let bytes: Vec<u8> = heard.iter().flat_map(|packet| packet.payload.clone()).collect();
    assert_eq!(bytes[..prompt.len()], prompt);
    let apart = heard.windows(2).all(|pair| {
        pair[1].timestamp == pair[0].timestamp.wrapping_add(160)
            && pair[1].sequence == pair[0].sequence.wrapping_add(1)
            && pair[1].at - pair[0].at == ms(20)
    });
    assert!(apart);
    assert_eq!(owner.events(), [StreamEvent::Finished(PlayoutId(1))]);
    let segment = progress.segments()[0];
    assert_eq!(segment.samples_sent, prompt.len() as u64);
    assert_eq!(segment.samples_acknowledged, None);
    assert_eq!(owner.stats().counts.packets_sent, 10);
}

#[test]
fn what_no_room_takes_was_not_sent() {
    let mut rig = Rig::new();
    let (mut owner, voice) = rig.virtual_stream();
    drop(voice);
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 800), 1)], true, false);
    rig.run(ms(300));
    assert_eq!(owner.events(), [StreamEvent::Finished(PlayoutId(1))], "time passes all the same");
    assert_eq!(progress.segments()[0].samples_sent, 0);
    assert_eq!(owner.stats().counts.send_errors, 5);
}

#[test]
fn a_stream_without_a_far_end_hears_what_it_is_fed_also_while_it_plays() {
    let mut rig = Rig::new();
    let (mut owner, voice) = rig.virtual_stream();
    let feeder = rig.feed(&owner);
    rig.play(&owner, 1, &[segment(&samples(1, 320), 1)], true, false);
    for round in 0..4_u8 {
        rig.live(&owner, &feeder, &[round; 160]);
        rig.run(ms(20));
    }
    let heard: Vec<_> = owner.tap.try_iter().collect();
    let firsts: Vec<_> = heard.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(firsts, [0, 1, 2, 3]);
    assert!(heard.windows(2).all(|pair| pair[1].timestamp == pair[0].timestamp + 160));
    assert_eq!(voice.try_iter().count(), 2);
    let events = [StreamEvent::Receiving, StreamEvent::Finished(PlayoutId(1))];
    assert_eq!(owner.events(), events);
}

#[test]
fn sending_live_audio_allocates_nothing() {
    let mut rig = Rig::new();
    let owners: Vec<_> =
        (0..8).map(|ssrc| rig.stream(Options { ssrc, ..Options::default() })).collect();
    let feeders: Vec<_> = owners.iter().map(|owner| rig.feed(owner)).collect();
    rig.shard.sender().forget = true;
    let round = |rig: &mut Rig| {
        for (owner, feeder) in owners.iter().zip(&feeders) {
            rig.live(owner, feeder, &[7; 160]);
        }
        rig.run(ms(20));
    };
    round(&mut rig);
    let allocations = allocation_counter::measure(|| (0..100).for_each(|_| round(&mut rig)));
    assert_eq!(allocations.count_total, 0);
    assert_eq!(rig.counters.packets_sent.get(), 808);
}
