//! A far end on a clock that tests move: packets misordered, lost, late, and from another clock.

use super::*;
use crate::codec::{Codec, SampleCodec};

const ROOM: Cushion =
    Cushion { least: Duration::from_millis(10), most: Duration::from_millis(200) };
const SAMPLES: usize = 160;

/// A buffer, its clock, and everything that was heard.
struct Rig {
    buffer: JitterBuffer,
    began: Instant,
    heard: Vec<i16>,
    played: Vec<Played>,
    /// When the next frame is due, in milliseconds.
    due: u64,
}

impl Rig {
    /// Frames are due at 20 ms and so on.
    fn new() -> Self {
        let (buffer, began) = (JitterBuffer::new(8_000, ROOM), Instant::now());
        Self { buffer, began, heard: Vec::new(), played: Vec::new(), due: 20 }
    }

    /// Packets of 20 ms by their numbers, in milliseconds of their arrival.
    fn arrive(&mut self, arrivals: &[(u16, f64)]) {
        for (number, at) in arrivals {
            let packet = packet(*number, SAMPLES, self.began + Duration::from_secs_f64(at / 1e3));
            self.take(&packet);
        }
    }

    /// A packet arrives; before it, everything is played that is due by then.
    fn take(&mut self, packet: &TappedPacket) {
        while self.began + Duration::from_millis(self.due) < packet.at {
            self.play();
        }
        self.buffer.push(packet);
    }

    fn play(&mut self) -> Played {
        let mut frame = [1; SAMPLES];
        let played = self.buffer.pop(self.began + Duration::from_millis(self.due), &mut frame);
        self.due += 20;
        self.heard.extend(frame);
        self.played.push(played);
        played
    }

    fn play_on(&mut self, frames: usize) {
        for _ in 0..frames {
            self.play();
        }
    }

    fn first_heard(&self) -> usize {
        self.played.iter().position(|played| *played == Played::Heard).unwrap()
    }
}

/// Codes that are never silent, and say where they are from.
fn code(at: usize) -> u8 {
    let code = (at * 37 + at / 127) as u8 & 0x7F;
    if at & 1 == 0 { code & 0x6F } else { code & 0x6F | 0x80 }
}

fn said(range: std::ops::Range<usize>) -> Vec<i16> {
    SampleCodec::Pcmu.decode(&range.map(code).collect::<Vec<_>>())
}

fn packet(number: u16, samples: usize, at: Instant) -> TappedPacket {
    let first = usize::from(number) * samples;
    TappedPacket {
        at,
        // Both wrap soon.
        sequence: number.wrapping_add(0xFFFD),
        timestamp: (first as u32).wrapping_add(0xFFFF_FF00),
        codec: Codec::Pcmu,
        payload: (first..first + samples).map(code).collect(),
    }
}

/// Packets that come regularly from `first_at` on.
fn regular(count: u16, first_at: f64) -> Vec<(u16, f64)> {
    (0..count).map(|number| (number, first_at + 20.0 * f64::from(number))).collect()
}

#[test]
fn what_comes_regularly_is_heard_whole_and_10_to_30_ms_after_its_arrival() {
    for first_at in [0.5, 5.0, 9.5, 10.5, 15.0, 19.5] {
        let mut rig = Rig::new();
        rig.arrive(&regular(100, first_at));
        rig.play_on(2);
        let first = rig.first_heard();
        let delay = 20.0 * (first + 1) as f64 - first_at;
        assert!((10.0..=30.0).contains(&delay), "{first_at}: {delay} ms");
        assert!(rig.heard[first * SAMPLES..][..100 * SAMPLES] == said(0..100 * SAMPLES));
        let counts = rig.buffer.counts();
        assert_eq!((counts.packets, counts.late, counts.grown, counts.left_out), (100, 0, 0, 0));
    }
}

#[test]
fn misordered_and_doubled_packets_are_put_right() {
    let mut rig = Rig::new();
    let mut arrivals = regular(50, 5.0);
    for pair in arrivals[1..].chunks_exact_mut(4) {
        let (first, second) = (pair[0].0, pair[1].0);
        (pair[0].0, pair[1].0) = (second, first);
        pair[1].1 = pair[0].1 + 1.0;
        pair[2].1 = pair[1].1 + 1.0;
    }
    let doubled: Vec<_> = arrivals.iter().flat_map(|it| [*it, *it]).collect();
    rig.arrive(&doubled);
    rig.play_on(2);
    let first = rig.first_heard();
    assert!(rig.heard[first * SAMPLES..][..50 * SAMPLES] == said(0..50 * SAMPLES));
    assert_eq!((rig.buffer.counts().packets, rig.buffer.counts().doubled), (50, 50));
}

#[test]
fn a_lost_packet_leaves_a_fading_echo_in_its_place_and_moves_nothing() {
    let mut rig = Rig::new();
    let kept = regular(60, 5.0).into_iter().filter(|(number, _)| !(30..35).contains(number));
    rig.arrive(&kept.collect::<Vec<_>>());
    rig.play_on(2);
    let first = rig.first_heard();
    let heard = &rig.heard[first * SAMPLES..];
    assert!(heard[..30 * SAMPLES] == said(0..30 * SAMPLES));
    assert!(heard[35 * SAMPLES..60 * SAMPLES] == said(35 * SAMPLES..60 * SAMPLES));
    let (concealed, silence) = (Played::Concealed, Played::Silence);
    let hole = [concealed, concealed, concealed, silence, silence];
    assert_eq!(rig.played[first + 30..first + 35], hole);
    let loudness = |frame: usize| -> u64 {
        heard[frame * SAMPLES..][..SAMPLES].iter().map(|it| u64::from(it.unsigned_abs())).sum()
    };
    assert!(loudness(29) > loudness(30) && loudness(30) > 2 * loudness(32) && loudness(32) > 0);
    assert_eq!(loudness(33), 0);
    assert_eq!(rig.buffer.counts().concealed, 3 + 1, "and one after the end");
}

#[test]
fn packets_of_any_length_are_played_as_one_signal() {
    for samples in [80, 240, 320, 480] {
        let mut rig = Rig::new();
        let count = 9_600 / samples;
        for number in 0..count {
            let at = 3.0 + (number * samples) as f64 / 8.0;
            let at = rig.began + Duration::from_secs_f64(at / 1e3);
            rig.take(&packet(number as u16, samples, at));
        }
        rig.play_on(4);
        let begin = rig.heard.iter().position(|sample| *sample != 0).unwrap();
        assert!(rig.heard[begin..][..9_600] == said(0..9_600), "{samples}");
        assert_eq!(rig.buffer.counts().late, 0);
    }
}

#[test]
fn jitter_makes_the_delay_grow_until_nothing_is_late_and_calm_shrinks_it_again() {
    let mut rig = Rig::new();
    // Every third packet is 45 ms behind, for 6 s; then it is calm for 20 s.
    let delayed = |number: u16| number < 300 && number.is_multiple_of(3);
    let mut arrivals: Vec<_> = regular(1_300, 5.0)
        .into_iter()
        .map(|(number, at)| (number, at + if delayed(number) && number > 0 { 45.0 } else { 0.0 }))
        .collect();
    arrivals.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (rough, calm) = arrivals.split_at(300);
    rig.arrive(rough);
    let counts = rig.buffer.counts();
    assert!((2..=4).contains(&counts.grown), "{counts:?}");
    assert!(counts.late <= 8, "{counts:?}");
    rig.arrive(calm);
    let calmed = rig.buffer.counts();
    assert!(calmed.late <= counts.late + 1, "{calmed:?}");
    // What is less than a frame too much stays.
    assert!(calmed.left_out + 1 >= calmed.grown, "{calmed:?}");
}

#[test]
fn a_far_end_whose_clock_is_not_ours_is_followed() {
    for parts_per_million in [-300.0, 300.0] {
        let mut rig = Rig::new();
        let period = 20.0 * (1.0 + parts_per_million / 1e6);
        // 20 minutes: 360 ms of drift.
        let arrivals: Vec<_> =
            (0..60_000).map(|number| (number, 5.0 + period * f64::from(number))).collect();
        rig.arrive(&arrivals);
        let counts = rig.buffer.counts();
        let frames = if parts_per_million > 0.0 { counts.grown } else { counts.left_out };
        assert!((15..=20).contains(&frames), "{counts:?}");
        assert!(counts.late <= 3 * frames, "{counts:?}");
        assert!(rig.buffer.waiting() <= 4 * SAMPLES);
    }
}

#[test]
fn the_delay_never_grows_beyond_what_is_allowed() {
    let mut rig = Rig::new();
    // A network that stands still for half a second, again and again.
    let stalled = |at: f64| (at / 500.0).ceil() * 500.0;
    let arrivals: Vec<_> =
        regular(1_000, 5.0).into_iter().map(|(number, at)| (number, stalled(at))).collect();
    rig.arrive(&arrivals);
    assert!(rig.buffer.counts().grown > 0);
    assert!(rig.buffer.waiting() <= (8 * 500 + 8 * 220) as usize);
}

#[test]
fn after_a_pause_or_another_count_the_far_end_is_heard_anew() {
    let mut rig = Rig::new();
    rig.arrive(&regular(10, 5.0));
    // Two seconds of silence, and a timestamp that has not gone on.
    let later: Vec<_> = regular(20, 2_005.0).into_iter().skip(10).collect();
    rig.arrive(&later);
    rig.play_on(2);
    assert_eq!(rig.buffer.counts().restarts, 1);
    let heard = |rig: &Rig| rig.played.iter().filter(|it| **it == Played::Heard).count();
    assert_eq!(heard(&rig), 20);
    // Another source: numbers of its own, without a pause.
    let at = rig.began + Duration::from_millis(rig.due - 15);
    rig.take(&TappedPacket { timestamp: 77_777, sequence: 5, ..packet(3, SAMPLES, at) });
    assert_eq!(rig.buffer.counts().restarts, 2);
    rig.play();
    assert!(rig.heard.ends_with(&said(3 * SAMPLES..4 * SAMPLES)));
}

#[test]
fn what_cannot_be_decoded_is_counted_and_silence_is_heard_without_packets() {
    let mut rig = Rig::new();
    assert_eq!(rig.play(), Played::Silence);
    let mut opus = packet(0, SAMPLES, rig.began + Duration::from_millis(25));
    opus.codec = Codec::Opus;
    rig.take(&opus);
    let empty = TappedPacket { codec: Codec::Pcma, payload: Vec::new(), ..opus.clone() };
    rig.take(&empty);
    rig.take(&TappedPacket { payload: vec![0; 8_000], ..empty });
    assert_eq!(rig.buffer.counts().foreign, 3);
    assert_eq!(rig.play(), Played::Silence);
    assert!(rig.heard.iter().all(|sample| *sample == 0));
}

#[test]
fn taking_and_playing_allocates_nothing() {
    let mut rig = Rig::new();
    let packets: Vec<_> = regular(500, 5.0)
        .into_iter()
        .map(|(number, at)| packet(number, SAMPLES, rig.began + Duration::from_secs_f64(at / 1e3)))
        .collect();
    rig.heard.reserve(200_000);
    rig.played.reserve(2_000);
    rig.take(&packets[0]);
    rig.play_on(2);
    let allocations = allocation_counter::measure(|| {
        packets[1..].iter().for_each(|packet| rig.take(packet));
    });
    assert_eq!(allocations.count_total, 0);
}
