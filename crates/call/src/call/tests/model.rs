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

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::judge::{Judge, Playout};
use super::sim::{ALL, CURRENT, broke, bye, cancel, epoch, failed, id, name, play, ready};
use crate::{
    Call, CallState, CancelScope, Command, Input, LegEvent, OperationId, Output, PlayoutEvent,
    PromptEvent, Rejection, Settings, Tone,
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

#[derive(Clone, Debug)]
struct Setting {
    incoming: bool,
    hosted: bool,
    settings: Settings,
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

/// One operation of the model: per prompt nothing, its playing time, or broken.
struct Queued {
    id: OperationId,
    prompts: Vec<Option<Result<Duration, ()>>>,
    looping: bool,
}

/// The call as a person would describe it: no outputs, only how things stand.
struct Model {
    setting: Setting,
    state: CallState,
    media: bool,
    queue: VecDeque<Queued>,
    /// What of the queue's head is playing.
    playout: Option<Playout>,
    timers: BTreeMap<&'static str, Instant>,
    /// Subcode the call ends with, once that is settled.
    end: Option<u32>,
    /// Final operations with their subcodes, in order.
    ended: Vec<(OperationId, u32)>,
    told: Vec<OperationId>,
}

impl Model {
    fn new(now: Instant, setting: Setting) -> Self {
        let s = &setting.settings;
        let (state, timers) = if setting.incoming {
            (CallState::Incoming, BTreeMap::from([("answer", now + s.answer_within)]))
        } else {
            let net = now + s.ring_for + s.terminate_within;
            let timers = BTreeMap::from([("net", net), ("keepAlive", now + s.keep_alive)]);
            (CallState::Establishing, timers)
        };
        let (queue, ended, told) = Default::default();
        Self { setting, state, media: false, queue, playout: None, timers, end: None, ended, told }
    }

    fn running(&self) -> VecDeque<OperationId> {
        self.queue.iter().map(|operation| operation.id).collect()
    }

    fn playing(&self) -> Option<(OperationId, Playout)> {
        self.queue.front().map(|head| head.id).zip(self.playout)
    }

    fn input(&mut self, now: Instant, input: &Input) -> Result<(), Rejection> {
        match input {
            Input::Command(command) => self.command(now, command)?,
            Input::Leg(event) => self.leg(event),
            Input::Prompt(PromptEvent::Ready { operation, index, duration }) => {
                self.prompt(*operation, *index, Ok(*duration));
            }
            Input::Prompt(PromptEvent::Failed { operation, index, .. }) => {
                self.prompt(*operation, *index, Err(()));
            }
            Input::Playout(PlayoutEvent::Finished(id)) => {
                if let Some((head, (ready, true, false))) = self.playing()
                    && head == *id
                {
                    let whole = self.queue[0].prompts.len() == ready;
                    self.end_head(if whole { 0 } else { 8536 }, true);
                }
            }
            Input::Playout(PlayoutEvent::Failed(operation)) => {
                if self.playing().is_some_and(|(head, _)| head == *operation) {
                    self.end_head(8511, true);
                }
            }
            Input::Timeout => self.timeout(now),
        }
        self.settle(now);
        Ok(())
    }

    fn command(&mut self, now: Instant, command: &Command) -> Result<(), Rejection> {
        use CallState::{Established, Establishing, Incoming, Terminated, Terminating};
        let Setting { hosted, settings: s, .. } = self.setting.clone();
        let media_refused = match self.state {
            Terminating | Terminated => return Err(Rejection::Terminated),
            Incoming | Establishing => Err(Rejection::NotEstablished),
            Established if !hosted => Err(Rejection::NotServiceHosted),
            Established => Ok(()),
        };
        match command {
            Command::Answer | Command::KeepAlive
                if (self.state == Incoming) != (*command == Command::Answer) =>
            {
                return Err(Rejection::WrongState);
            }
            Command::Answer => {
                self.state = Establishing;
                self.timers.clear();
                self.timers.insert("net", now + s.terminate_within);
                self.timers.insert("keepAlive", now + s.keep_alive);
            }
            Command::KeepAlive => {
                self.timers.insert("keepAlive", now + s.keep_alive);
            }
            Command::HangUp => {
                self.end_all();
                self.end = Some(7000);
                self.state = Terminating;
                self.timers.insert("terminate", now + s.terminate_within);
            }
            Command::PlayPrompt { operation, prompts, looping, .. } => {
                media_refused?;
                if self.queue.len() == s.queue_limit {
                    return Err(Rejection::QueueFull);
                }
                let prompts = vec![None; prompts.len()];
                self.queue.push_back(Queued { id: *operation, prompts, looping: *looping });
            }
            Command::CancelMediaProcessing { operation, scope, .. } => {
                media_refused?;
                self.ended.push((*operation, 0));
                let count = if *scope == ALL { self.queue.len() } else { 1 };
                for _ in 0..count {
                    self.end_head(8508, true);
                }
            }
        }
        Ok(())
    }

    fn leg(&mut self, event: &LegEvent) {
        use CallState::{Established, Establishing, Incoming, Terminated, Terminating};
        match (self.state, event) {
            (Establishing, LegEvent::Answered) => {
                self.state = Established;
                self.timers.remove("net");
            }
            (Incoming | Establishing | Established, LegEvent::Media { active }) => {
                self.media = *active;
            }
            (_, LegEvent::Ended(result)) => self.terminate(result.subcode),
            (_, LegEvent::Ringing | LegEvent::Tone(_))
            | (Incoming | Established | Terminating | Terminated, LegEvent::Answered)
            | (Terminating | Terminated, LegEvent::Media { .. }) => {}
        }
    }

    fn prompt(&mut self, id: OperationId, index: usize, outcome: Result<Duration, ()>) {
        let operation = self.queue.iter_mut().find(|operation| operation.id == id);
        if let Some(prompt @ None) = operation.and_then(|queued| queued.prompts.get_mut(index)) {
            *prompt = Some(outcome);
        }
    }

    fn timeout(&mut self, now: Instant) {
        let expired: Vec<_> = self.timers.extract_if(.., |_, at| *at <= now).collect();
        for (timer, _) in expired {
            match (timer, self.setting.incoming) {
                ("grace", _) => {
                    if let (true, Some(head)) = (self.media, self.queue.front()) {
                        self.playout = Some((head.good(), false, false));
                    }
                }
                ("answer", _) => self.terminate(8587),
                ("keepAlive", _) => self.terminate(8537),
                ("net", true) => self.terminate(1106),
                ("net", false) => self.terminate(10057),
                _ => self.terminate(7000),
            }
        }
    }

    /// Does what the rules of the queue ask for as things stand.
    fn settle(&mut self, now: Instant) {
        let audible = self.media && self.state == CallState::Established;
        while let Some(head) = self.queue.front() {
            let (good, all) = (head.good(), head.prompts.len());
            let broken = matches!(head.prompts.get(good), Some(Some(Err(()))));
            let known = broken || good == all;
            let silent = head.prompts[..good].iter().all(|p| *p == Some(Ok(Duration::ZERO)));
            if let Some((_, _, looping)) = self.playout {
                self.playout = Some((good, known, looping));
            } else if silent && broken {
                self.end_head(8536, true);
                continue;
            } else if silent && known && head.looping {
                self.end_head(8535, true);
                continue;
            } else if audible && known {
                self.playout = Some((good, true, head.looping && !broken));
                self.timers.remove("grace");
            } else if audible && good > 0 && !head.looping {
                self.timers.entry("grace").or_insert(now + self.setting.settings.start_grace);
            }
            return;
        }
    }

    fn end_head(&mut self, subcode: u32, told: bool) {
        if let Some(head) = self.queue.pop_front() {
            self.ended.push((head.id, subcode));
            self.told.extend(told.then_some(head.id));
        }
        self.playout = None;
        self.timers.remove("grace");
    }

    fn end_all(&mut self) {
        while !self.queue.is_empty() {
            self.end_head(8508, self.setting.settings.notify_cut_operations);
        }
        self.timers.clear();
    }

    fn terminate(&mut self, subcode: u32) {
        self.end.get_or_insert(subcode);
        self.end_all();
        self.state = CallState::Terminated;
    }
}

impl Queued {
    fn good(&self) -> usize {
        self.prompts.iter().take_while(|prompt| matches!(prompt, Some(Ok(_)))).count()
    }
}
