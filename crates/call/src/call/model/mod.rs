//! The call beside a reference: [`Model`] says how the call must stand after each input, and the
//! [`Judge`] reads the outputs one by one and knows what must never be among them. For the property
//! test (`call/tests/model.rs`) and for the fuzz target `call_inputs`.

mod judge;
pub(crate) mod named;
mod reference;

use std::time::{Duration, Instant};

use self::judge::Judge;
use self::named::{broke, cancel, failed, id, name, play, press, ready, subscribe};
use self::reference::Model;
use crate::{
    BridgeEvent, Call, CallState, CancelScope, Command, Input, LegEvent, Output, PlayoutEvent,
    ResultInfo, Settings, Tone, TonesEvent,
};

/// A case to be run.
#[derive(Clone, Debug)]
pub struct Setting {
    pub incoming: bool,
    pub hosted: bool,
    pub settings: Settings,
}

/// Operations are meant by their place in the queue, or behind it by their age; prompts by index.
#[derive(Clone, Debug)]
pub enum Step {
    Play {
        prompts: usize,
        looping: bool,
    },
    Cancel(CancelScope),
    Press,
    Subscribe,
    Command(Command),
    Leg(LegEvent),
    Bridge(BridgeEvent),
    TakenOver,
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
    /// The tones that are being sent have left, or cannot be sent.
    Pressed {
        well: bool,
    },
    /// What is playing was played to its end.
    PlayedOut,
    Wait(Duration),
    Timeout,
    ServerStops,
}

/// Runs a case from `start` and gives all outputs.
///
/// # Panics
/// When the call and its model part, or the judge sees what must never happen.
pub fn run(start: Instant, setting: &Setting, steps: &[Step]) -> Vec<Output> {
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
            Step::Press => Input::Command(press(self.next_letter(), &[Tone::Tone1, Tone::Pound])),
            Step::Subscribe => Input::Command(subscribe(self.next_letter())),
            Step::Command(command) => Input::Command(command),
            Step::Leg(event) => Input::Leg(event),
            Step::Bridge(event) => Input::Bridge(event),
            Step::TakenOver => Input::TakenOver,
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
            Step::Pressed { well } => {
                // Of a sequence that is not being sent, too: it is absorbed.
                let sent = self.judge.sending.or(self.judge.sequences.front().copied());
                let Some(operation) = sent else { return };
                Input::Tones(if well {
                    TonesEvent::Sent(operation)
                } else {
                    TonesEvent::Failed(operation, ResultInfo::tones_failed("The engine is gone."))
                })
            }
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
        assert_eq!(self.judge.sequences, self.model.sequences(), "sequences of tones");
        assert_eq!(self.judge.sending, self.model.sending(), "tones being sent");
        assert_eq!(self.call.last_tone().map(|(_, number)| number), self.model.last_tone());
        assert_eq!(self.judge.ended, self.model.ended, "ended operations");
        assert_eq!(self.judge.told, self.model.told, "notified operations");
        assert_eq!(self.judge.call_told, self.model.call_told, "what was told of the call");
        assert_eq!(self.judge.legs, self.model.legs, "what was asked of the leg");
        assert_eq!(self.judge.bridges, self.model.bridges, "what was asked of the bridge");
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
