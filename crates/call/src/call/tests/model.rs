//! Random inputs: a reference [`Model`] says how the call must stand after each input, and the
//! [`Judge`] reads the outputs one by one and knows what must never be among them.
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

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::judge::Judge;
use super::reference::{Model, Setting};
use super::sim::{ALL, CURRENT, broke, bye, cancel, epoch, failed, id, name, play, ready};
use crate::{
    Call, CallState, CancelScope, Command, Input, LegEvent, Output, PlayoutEvent, Settings, Tone,
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

/// Operations are meant by their place in the queue, or behind it by their age; prompts by index.
#[derive(Clone, Debug)]
enum Step {
    Play {
        prompts: usize,
        looping: bool,
    },
    Cancel(CancelScope),
    Command(Command),
    Leg(LegEvent),
    Ready {
        operation: usize,
        index: usize,
        time: Duration,
    },
    Failed {
        operation: usize,
        index: usize,
    },
    Finished {
        operation: usize,
    },
    Broke {
        operation: usize,
    },
    /// What is playing was played to its end.
    PlayedOut,
    Wait(Duration),
    Timeout,
    ServerStops,
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![3 => Just(Duration::from_secs(1)), 1 => Just(Duration::ZERO)];
    prop_oneof![
        9 => (1..4_usize, prop::bool::weighted(0.3))
            .prop_map(|(prompts, looping)| Step::Play { prompts, looping }),
        2 => prop_oneof![Just(ALL), Just(CURRENT)].prop_map(Step::Cancel),
        4 => prop_oneof![
            12 => Just(Command::Answer), 6 => Just(Command::KeepAlive), 1 => Just(Command::HangUp)
        ].prop_map(Step::Command),
        9 => prop_oneof![
            20 => Just(LegEvent::Answered),
            20 => prop::bool::weighted(0.8).prop_map(|active| LegEvent::Media { active }),
            1 => Just(LegEvent::Ringing),
            1 => Just(LegEvent::Tone(Tone::Star)),
            1 => Just(bye()),
        ].prop_map(Step::Leg),
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

fn run(start: Instant, setting: &Setting, steps: &[Step]) -> Vec<Output> {
    let Setting { incoming, hosted, settings } = setting.clone();
    let call = if incoming {
        Call::incoming(start, settings.clone())
    } else {
        Call::outgoing(start, settings.clone(), hosted)
    };
    let model = Model::new(start, setting.clone());
    let mut run = Run { call, model, judge: Judge::default(), now: start, made: 0, log: vec![] };
    run.drain();
    for step in steps {
        run.step(step);
    }
    run.log
}

/// The call under test with its model and its judge.
struct Run {
    call: Call,
    model: Model,
    judge: Judge,
    now: Instant,
    /// Operations asked for so far; their letters count up from `a`.
    made: u32,
    log: Vec<Output>,
}

impl Run {
    fn step(&mut self, step: &Step) {
        let input = match step.clone() {
            Step::Play { prompts, looping } => {
                Input::Command(play(self.next_letter(), prompts, looping))
            }
            Step::Cancel(scope) => Input::Command(cancel(self.next_letter(), scope)),
            Step::Command(command) => Input::Command(command),
            Step::Leg(event) => Input::Leg(event),
            Step::Ready { operation, index, time } => {
                Input::Prompt(ready(self.letter(operation), index, time))
            }
            Step::Failed { operation, index } => {
                Input::Prompt(failed(self.letter(operation), index))
            }
            Step::Finished { operation } => {
                Input::Playout(PlayoutEvent::Finished(id(self.letter(operation))))
            }
            Step::Broke { operation } => Input::Playout(broke(self.letter(operation))),
            Step::PlayedOut => match self.judge.playing {
                Some((operation, _)) => Input::Playout(PlayoutEvent::Finished(operation)),
                None => return,
            },
            Step::Wait(time) => return self.wait(time),
            Step::Timeout => Input::Timeout,
            Step::ServerStops => Input::ServerStops,
        };
        self.input(input);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.call.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now, "poll_timeout lies in the past");
            self.now = at;
            self.input(Input::Timeout);
            assert!(self.call.poll_timeout().is_none_or(|next| next > self.now), "stuck timer");
        }
        self.now = end;
    }

    fn input(&mut self, input: Input) {
        let expected = self.model.input(self.now, &input);
        self.judge.hear(&input);
        let answer = self.call.handle_input(self.now, input);
        assert_eq!(answer, expected);
        let outputs = self.drain();
        assert!(answer.is_ok() || outputs == 0, "a refused command has outputs");
        assert_eq!(self.call.state(), self.model.state);
        assert_eq!(self.call.media_active(), self.model.media, "media");
        assert_eq!(self.call.poll_timeout(), self.model.timers.values().min().copied(), "timers");
        if let Some((CallState::Terminated, Some(result))) = &self.judge.state {
            assert_eq!(Some(result.subcode), self.model.end, "end of the call");
        }
        assert_eq!(self.judge.running, self.model.running(), "queue");
        assert_eq!(self.judge.playing, self.model.playing(), "playout");
        assert_eq!(self.judge.ended, self.model.ended, "ended operations");
        assert_eq!(self.judge.told, self.model.told, "notified operations");
        assert_eq!(self.judge.call_told, self.model.call_told, "what was told of the call");
        assert_eq!(self.judge.legs, self.model.legs, "what was asked of the leg");
    }

    fn drain(&mut self) -> usize {
        let before = self.log.len();
        while let Some(output) = self.call.poll_output() {
            self.judge.see(&output);
            self.log.push(output);
        }
        self.log.len() - before
    }

    fn next_letter(&mut self) -> char {
        self.made += 1;
        self.letter_back(0)
    }

    fn letter(&self, place: usize) -> char {
        match self.judge.running.get(place) {
            Some(id) => name(*id),
            None => self.letter_back(place - self.judge.running.len()),
        }
    }

    fn letter_back(&self, back: usize) -> char {
        let back = u32::try_from(back).expect("small").min(self.made);
        char::from_u32(u32::from('a') + self.made - back).expect("few operations")
    }
}
