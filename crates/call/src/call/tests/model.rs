//! Random inputs to the call beside its [`model`](crate::call::model).
//!
//! That they can fail was checked by breaking the core, one line at a time, and running this test
//! (2026-11-23). Each of these was found, the slowest after some hundred cases; the shrunk seeds stand in
//! `proptest-regressions/`:
//! - a Finished of a loop completes it; a late Finished ends the next operation; the next
//!   operation does not start, or a broken playout is not stopped; a new operation goes first; the queue takes one too many;
//! - a cancel forgets StopPlayout, or StopPlayout comes behind the commit; the grace timer
//!   survives a cancel, or starts a loop; an extension is sent though nothing has changed;
//! - a loop with a broken prompt plays as a loop; a loop of no samples is played; a hold does not
//!   keep the next playback back; early media is forgotten;
//! - a notification comes before its commit; cut operations are notified always; a refused
//!   command leaves an output; keepAlive does not move its timer;
//! - a hang-up, or the end of the leg, leaves the queue as it is; a BYE that answers our own is
//!   ignored, or gives the call its result.

use std::time::Duration;

use proptest::prelude::*;

use super::sim::{ALL, CURRENT, bye, epoch};
use crate::{
    BridgeEvent, Command, GroupCommand, LegEvent, ReferTo, RejectReason, ResultInfo, Settings,
    Tone,
    call::model::{Setting, Step, run},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2_000), ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_the_call_stands_as_the_model_says_and_speaks_in_order(
        setting in setting(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let start = epoch();
        let first = run(start, &setting, &steps);
        prop_assert_eq!(first, run(start, &setting, &steps), "the same inputs, other outputs");
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    (any::<bool>(), prop::bool::weighted(0.95), any::<bool>()).prop_map(
        |(incoming, hosted, cut)| {
            let settings = Settings {
                keep_alive: Duration::from_secs(100),
                queue_limit: 4,
                notify_cut_operations: cut,
                ..Settings::default()
            };
            Setting { incoming, hosted: hosted || incoming, settings }
        },
    )
}

fn transfer(refers: bool) -> Command {
    let target = "sip:carol@127.0.0.1".to_owned();
    let refer = refers.then_some(ReferTo { target, replaces: None });
    Command::Transfer { transferee: None, refer, is_consultative: !refers }
}

fn outcome(well: bool) -> Result<(), ResultInfo> {
    if well { Ok(()) } else { Err(nobody(false)) }
}

fn nobody(busy: bool) -> ResultInfo {
    let (code, subcode) = if busy { (486, 8539) } else { (480, 10076) };
    ResultInfo::of_call(code, subcode, "Nobody answers.")
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![3 => Just(Duration::from_secs(1)), 1 => Just(Duration::ZERO)];
    prop_oneof![
        9 => (1..4_usize, prop::bool::weighted(0.3))
            .prop_map(|(prompts, looping)| Step::Play { prompts, looping }),
        2 => prop_oneof![Just(ALL), Just(CURRENT)].prop_map(Step::Cancel),
        2 => prop_oneof![Just(Step::Press), Just(Step::Subscribe)],
        2 => prop::bool::weighted(0.8).prop_map(|well| Step::Pressed { well }),
        4 => prop_oneof![
            12 => prop::bool::weighted(0.9)
                .prop_map(|service_hosted| Command::Answer { service_hosted }), 6 => Just(Command::KeepAlive), 1 => Just(Command::HangUp),
            1 => Just(Command::Group(GroupCommand::DeleteRoutingGroup("g".to_owned()))),
            1 => Just(Command::Reject(RejectReason::Busy)),
            1 => Just(Command::Redirect { ring_for: Duration::from_secs(30) }),
            2 => prop::bool::ANY.prop_map(transfer),
        ].prop_map(Step::Command),
        9 => prop_oneof![
            20 => Just(LegEvent::Answered),
            20 => prop::bool::weighted(0.8).prop_map(|active| LegEvent::Media { active }),
            1 => Just(LegEvent::Ringing),
            3 => Just(LegEvent::Tone(Tone::Star)),
            1 => Just(bye()),
            2 => Just(LegEvent::ReferAccepted),
            1 => Just(LegEvent::ReferRefused),
            1 => prop::bool::ANY.prop_map(|well| LegEvent::ReferEnded(outcome(well))),
        ].prop_map(Step::Leg),
        2 => prop_oneof![
            Just(BridgeEvent::Ringing),
            Just(BridgeEvent::Answered),
            (any::<bool>()).prop_map(|busy| BridgeEvent::Failed(nobody(busy))),
        ].prop_map(Step::Bridge),
        1 => prop::bool::weighted(0.1)
            .prop_map(|taken| if taken { Step::TakenOver } else { Step::Timeout }),
        20 => (0..5_usize, 0..4_usize, time)
            .prop_map(|(operation, index, time)| Step::Ready { operation, index, time }),
        4 => (0..5_usize, 0..4_usize)
            .prop_map(|(operation, index)| Step::Failed { operation, index }),
        2 => (0..5_usize).prop_map(|operation| Step::Finished { operation }),
        1 => (0..3_usize).prop_map(|operation| Step::Broke { operation }),
        6 => Just(Step::PlayedOut),
        5 => prop_oneof![6 => 0..3_u64, 2 => 3..10_u64, 1 => 10..50_u64]
            .prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        1 => Just(Step::Timeout),
        1 => prop::bool::weighted(0.05)
            .prop_map(|stops| if stops { Step::ServerStops } else { Step::Timeout }),
    ]
}
