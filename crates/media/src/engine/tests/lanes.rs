//! Lanes spare the work of deciding, and change nothing else: whatever happens to a stream, it
//! sends, tells and counts the same as one that lends nothing.

use proptest::prelude::*;

use super::{super::lane::Lane, *};

#[derive(Clone, Debug)]
enum Step {
    Run(u64),
    Stall(u64),
    Play {
        packets: usize,
        repeat: u32,
        sealed: bool,
        looping: bool,
    },
    Extend {
        samples: usize,
        sealed: bool,
    },
    Stop,
    Tones(u8),
    Hold(bool),
    Refuse(bool),
    /// The far end sends from another port, which is latched.
    Speak(u16),
    /// It has heard everything but so many.
    Report {
        behind: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..400).prop_map(Step::Run),
        1 => (1u64..90).prop_map(Step::Stall),
        3 => (0usize..60, 1u32..3, any::<bool>(), any::<bool>()).prop_map(
            |(packets, repeat, sealed, looping)| Step::Play { packets, repeat, sealed, looping }
        ),
        1 => (0usize..9_000, any::<bool>())
            .prop_map(|(samples, sealed)| Step::Extend { samples, sealed }),
        1 => Just(Step::Stop),
        1 => (0u8..16).prop_map(Step::Tones),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => (4_000u16..4_010).prop_map(Step::Speak),
        2 => (0u16..20).prop_map(|behind| Step::Report { behind }),
    ]
}

/// Everything that can be seen of a stream from outside.
struct Seen {
    sent: Vec<(Duration, SocketAddr, Vec<u8>)>,
    events: Vec<StreamEvent>,
    stats: StreamStats,
    progress: Vec<String>,
}

fn perform(steps: &[Step], codec: Codec, srtp: bool, with_lanes: bool) -> Seen {
    let srtp = srtp.then(srtp_keys);
    let rtcp_interval = Duration::from_secs(1);
    let options = Options { codec, srtp, rtcp_interval, event_places: 1_000, ..Options::default() };
    let (mut rig, mut owner) = Rig::with(options);
    rig.shard.set_lanes(with_lanes);
    let (mut heard, mut playing) = (0, Vec::new());
    for (id, step) in (1..).zip(steps) {
        match *step {
            Step::Run(span) => rig.run(ms(span)),
            Step::Stall(span) => rig.stall(ms(span)),
            Step::Play { packets, repeat, sealed, looping } => {
                let segments = [prompt(codec, id, packets, repeat), prompt(codec, id + 7, 3, 1)];
                let progress = rig.play(&owner, id as u128, &segments, sealed, looping);
                playing.push((id, progress));
            }
            Step::Extend { samples, sealed } => {
                if let Some((id, progress)) = playing.last().cloned() {
                    let more = prompt(codec, id, samples / 160, 1);
                    rig.extend(&owner, id as u128, &[more], sealed, &progress);
                }
            }
            Step::Stop => {
                if let Some((id, _)) = playing.last() {
                    rig.stop(&owner, *id as u128);
                }
            }
            Step::Tones(code) => rig.tones(&owner, 7, vec![code], ms(70), ms(40)),
            Step::Hold(hold) => {
                rig.set_remote(&owner, Options::default().remote, !hold);
            }
            Step::Refuse(refuse) => rig.shard.sender().refuse = refuse,
            Step::Speak(port) => {
                heard += 1;
                let packet = rtp_bytes(far_header(heard, 0, payload_type(codec)), b"x");
                rig.deliver(&owner, Channel::Rtp, address(port), &packet);
            }
            Step::Report { behind } => {
                let sent = rig.shard.sender().sent.len() as u16;
                let highest = FIRST_SEQUENCE.wrapping_add(sent).wrapping_sub(behind);
                let report = reporting::report_about(0x1234_5678, highest.into(), 1);
                rig.deliver(&owner, Channel::Rtcp, address(4_001), &report);
            }
        }
    }
    // Brings every book up to date.
    let last = playing.last().map_or(0, |(id, _)| *id);
    rig.stop(&owner, last as u128);
    rig.run(ms(1));
    let sent = std::mem::take(&mut rig.shard.sender().sent);
    Seen {
        sent: sent.into_iter().map(seen).collect(),
        events: owner.events(),
        stats: owner.stats(),
        progress: playing.iter().map(|(_, progress)| format!("{progress:?}")).collect(),
    }
}

/// Of a report only that there was one: it may count a packet of the same tick or not.
fn seen(sent: Sent) -> (Duration, SocketAddr, Vec<u8>) {
    let is_report = crate::rtp::is_rtcp(&sent.bytes);
    (sent.at, sent.to, if is_report { Vec::new() } else { sent.bytes })
}

fn prompt(codec: Codec, seed: usize, packets: usize, repeat: u32) -> Segment {
    match codec {
        Codec::Opus => opus_segment(&frames(seed, &vec![40; packets]), repeat),
        // Not whole packets.
        Codec::Pcmu | Codec::Pcma => segment(&samples(seed, packets * 161), repeat),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_stream_that_lends_behaves_like_one_that_does_not(
        steps in proptest::collection::vec(step(), 1..40),
        opus in any::<bool>(),
        srtp in any::<bool>(),
    ) {
        let codec = if opus { Codec::Opus } else { Codec::Pcmu };
        let [with, without] = [true, false].map(|lanes| perform(&steps, codec, srtp, lanes));
        let first_other = with.sent.iter().zip(&without.sent).position(|(a, b)| a != b);
        prop_assert_eq!((with.sent.len(), first_other), (without.sent.len(), None));
        prop_assert_eq!(with.events, without.events);
        prop_assert_eq!(with.stats, without.stats);
        prop_assert_eq!(with.progress, without.progress);
    }
}

#[test]
fn what_a_stream_lends_fits_into_two_cache_lines() {
    assert!(size_of::<Lane>() <= 128, "{}", size_of::<Lane>());
}

#[test]
fn most_packets_of_a_long_prompt_are_routine() {
    let (mut rig, owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 160 * 500), 1)], true, false);
    rig.run(Duration::from_secs(11));
    assert_eq!(rig.rtp().len(), 500);
    let routine = rig.shard.sender().routine;
    assert!(routine > 400, "{routine} of 500");
}
