//! Random media operations of every kind (queued, interrupting, laid over, recordings, tones, control
//! of single ones) in a [`World`](super::world::World) that does what the call asks for in any order, or
//! fails at it. What must hold is in the world; here is what is thrown at it.
//!
//! That it can fail was checked by breaking the core (2026-11-28). Each of these was found:
//! - a recording that is cancelled is not dropped, or its timers go on; a stop tone finishes it twice; a
//!   late Saved ends the next one; the next one does not start behind it, or starts before it is saved;
//!   its end is not told, or never comes as its longest time does not run;
//! - an interruption leaves one of those that it cuts; an overlay outlives a cancel of all, or is
//!   forgotten by the end of the call; a key ends what only waits; a stop of one that waits stops the head;
//! - who barges in cancels nothing.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    sim::{ALL, CURRENT, epoch},
    world::{Ask, Environment, Step, World},
};
use crate::{PlayControl, PlayMode, Tone};

/// Enough for each fault above.
const CASES: u32 = 1_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(CASES), ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_every_operation_ends_once_and_nothing_is_lost(
        steps in prop::collection::vec(step(), 1..90),
    ) {
        let start = epoch();
        let mut first = World::new(start);
        steps.iter().for_each(|step| first.step(step));
        first.settle();
        let mut again = World::new(start);
        steps.iter().for_each(|step| again.step(step));
        again.settle();
        prop_assert_eq!(first.log, again.log, "the same inputs, other outputs");
    }

    #[test]
    fn whatever_runs_ends_once_before_the_call_does(
        steps in prop::collection::vec(step(), 1..60),
        how in 0..3_u8,
    ) {
        let mut world = World::new(epoch());
        steps.iter().for_each(|step| world.step(step));
        world.end(how);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => ask().prop_map(Step::Ask),
        18 => environment().prop_map(Step::Environment),
        4 => prop_oneof![4 => 0..3_u64, 2 => 3..12_u64, 1 => 12..200_u64]
            .prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let mode = prop_oneof![
        4 => Just(PlayMode::Queue),
        2 => Just(PlayMode::Interrupt),
        2 => Just(PlayMode::Overlay),
    ];
    let key =
        prop_oneof![3 => Just(None), 1 => Just(Some(Tone::Pound)), 1 => Just(Some(Tone::Star))];
    let control = prop_oneof![
        Just(PlayControl::Pause),
        Just(PlayControl::Resume),
        Just(PlayControl::Stop),
        (0..12_u64).prop_map(|seconds| PlayControl::Seek(Duration::from_secs(seconds))),
    ];
    prop_oneof![
        6 => (1..4_usize, prop::bool::weighted(0.2), mode, key.clone(), any::<bool>()).prop_map(
            |(prompts, looping, mode, stop_tone, stop_on_speech)| {
                Ask::Play { prompts, looping, mode, stop_tone, stop_on_speech }
            }
        ),
        4 => (any::<bool>(), prop::bool::weighted(0.2), key).prop_map(
            |(prompt, barge_in, stop_tone)| Ask::Record { prompt, barge_in, stop_tone }
        ),
        1 => prop_oneof![Just(ALL), Just(CURRENT)].prop_map(Ask::Cancel),
        4 => (0..8_usize, control).prop_map(|(back, control)| Ask::Control { back, control }),
        1 => Just(Ask::Press),
    ]
}

fn environment() -> impl Strategy<Value = Environment> {
    let tone = prop_oneof![Just(Tone::Pound), Just(Tone::Star), Just(Tone::Tone1)];
    prop_oneof![
        12 => (0..9_usize, prop::bool::weighted(0.9), 0..4_u64)
            .prop_map(|(which, well, seconds)| Environment::Fetched { which, well, seconds }),
        5 => (0..4_usize, prop::bool::weighted(0.9))
            .prop_map(|(which, well)| Environment::Played { which, well }),
        8 => (0..8_u8, prop::bool::weighted(0.9)).prop_map(|(event, is_current)| {
            Environment::Recording { event, is_current }
        }),
        3 => tone.prop_map(Environment::Key),
        1 => Just(Environment::Speech),
        2 => prop::bool::weighted(0.8).prop_map(Environment::Media),
        1 => any::<bool>().prop_map(Environment::Tones),
    ]
}
