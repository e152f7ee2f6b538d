//! Everything around a call that carries out what it asks for: a host of prompts, a playout engine with
//! overlays, an ear with its disk, a sender of tones. It holds the call to the contract: what is started
//! is started once and stops once, in order, and every operation ends once and is told once.

mod outputs;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::sim::{bye, cancel, id, press};
use crate::{
    AccessToken, Call, CancelScope, Command, Input, LegEvent, MediaPrompt, Operation, OperationId,
    OperationKind, PlayControl, PlayMode, PlayOptions, PlayoutEvent, PromptEvent, RecordSettings,
    Recorded, RecordingEvent, ResultInfo, Settings, StopOn, Tone, TonesEvent, call::CallState,
};

/// More than any wait of a recording.
const LONG: Duration = Duration::from_secs(300);
const INITIAL_SILENCE: Duration = Duration::from_secs(5);
const MAX_SILENCE: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(20);
/// Overlays of a call (`media_queue.rs`).
const MOST_OVERLAYS: usize = 4;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Ask(Ask),
    Environment(Environment),
    Wait(Duration),
}

/// What the bot asks for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Play {
        prompts: usize,
        looping: bool,
        mode: PlayMode,
        stop_tone: Option<Tone>,
        stop_on_speech: bool,
    },
    Record {
        prompt: bool,
        barge_in: bool,
        stop_tone: Option<Tone>,
    },
    Cancel(CancelScope),
    /// Of the operation asked for so many before the last one.
    Control {
        back: usize,
        control: PlayControl,
    },
    Press,
}

/// What happens around the call; what has no occasion does not happen.
#[derive(Clone, Debug)]
pub(super) enum Environment {
    Fetched { which: usize, well: bool, seconds: u64 },
    Played { which: usize, well: bool },
    Recording { event: u8, is_current: bool },
    Key(Tone),
    Speech,
    Media(bool),
    Tones(bool),
}

/// A playout or an overlay.
#[derive(Clone, Copy, Debug)]
struct Sound {
    operation: OperationId,
    ready: usize,
    sealed: bool,
    looping: bool,
    paused: bool,
}

/// When a recording may end by itself.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Nobody has spoken by then.
    initial: Option<Instant>,
    /// It is as long as it may be.
    longest: Option<Instant>,
    /// The pause is as long as it may be.
    silence: Option<Instant>,
}

/// What the ear does for a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ear {
    Listens,
    /// The file is to be completed.
    Finishes,
}

pub(super) struct World {
    call: Call,
    now: Instant,
    made: u32,
    /// Accepted, in order, and how each has ended.
    operations: BTreeMap<OperationId, Option<Operation>>,
    told: Vec<OperationId>,
    /// Sequences of tones, which no cancel concerns.
    presses: Vec<OperationId>,
    fetching: Vec<(OperationId, usize)>,
    playing: Option<Sound>,
    overlays: Vec<Sound>,
    ear: Option<(OperationId, Ear)>,
    times: Times,
    /// A timer is what the call hears of.
    is_timeout: bool,
    /// Recordings that are on the disk.
    saved: Vec<OperationId>,
    sending: Option<OperationId>,
    /// The last one of the queue that was played.
    last_begun: Option<OperationId>,
    pub(super) log: Vec<String>,
}

impl World {
    /// An established call whose far end hears us.
    pub(super) fn new(now: Instant) -> Self {
        let keep_alive = Duration::from_secs(1_000_000);
        let settings = Settings { keep_alive, queue_limit: 6, ..Settings::default() };
        let mut world = Self {
            call: Call::outgoing(now, settings, true),
            now,
            made: 0,
            operations: BTreeMap::new(),
            told: Vec::new(),
            presses: Vec::new(),
            fetching: Vec::new(),
            playing: None,
            overlays: Vec::new(),
            ear: None,
            times: Times { initial: None, longest: None, silence: None },
            is_timeout: false,
            saved: Vec::new(),
            sending: None,
            last_begun: None,
            log: Vec::new(),
        };
        world.drain();
        world.input(Input::Leg(LegEvent::Answered));
        world.input(Input::Leg(LegEvent::Media { active: true }));
        world
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Ask(ask) => self.ask(ask),
            Step::Environment(event) => self.environment(event),
            Step::Wait(time) => self.wait(*time),
        }
    }

    /// Everybody does what they owe: then everything that was asked for has ended.
    pub(super) fn settle(&mut self) {
        self.input(Input::Leg(LegEvent::Media { active: true }));
        for _ in 0..1_000 {
            if let Some((operation, index)) = self.fetching.pop() {
                let duration = Duration::from_secs(1);
                self.input(Input::Prompt(PromptEvent::Ready { operation, index, duration }));
            } else if let Some(sound) = self.sounds().into_iter().find(|sound| sound.looping) {
                self.accept(Command::Control {
                    operation: sound.operation,
                    control: PlayControl::Stop,
                });
            } else if let Some(sound) = self.sounds().into_iter().find(|sound| sound.paused) {
                self.accept(Command::Control {
                    operation: sound.operation,
                    control: PlayControl::Resume,
                });
            } else if let Some(sound) = self.sounds().into_iter().find(|sound| sound.sealed) {
                self.finish(sound.operation);
            } else if let Some((operation, ear)) = self.ear {
                match ear {
                    Ear::Listens => self.wait(LONG),
                    Ear::Finishes => self.save(operation),
                }
            } else if let Some(operation) = self.sending.take() {
                self.input(Input::Tones(TonesEvent::Sent(operation)));
            } else {
                break;
            }
        }
        let lost: Vec<_> = self.operations.iter().filter(|(_, end)| end.is_none()).collect();
        assert!(lost.is_empty(), "nobody owes anything, and these have not ended: {lost:?}");
        for (id, operation) in &self.operations {
            let count = self.told.iter().filter(|told| *told == id).count();
            let operation = operation.as_ref().expect("it has ended");
            assert_eq!(count, usize::from(is_told(operation)), "told so often: {operation:?}");
        }
        assert!(self.playing.is_none() && self.overlays.is_empty() && self.ear.is_none());
        assert!(!self.call.is_playing_to_an_end(), "something is left");
    }

    /// The call ends, in one way or another: all that runs ends with it.
    pub(super) fn end(&mut self, how: u8) {
        match how {
            0 => self.input(Input::Leg(bye())),
            1 => self.input(Input::ServerStops),
            _ => {
                self.accept(Command::HangUp);
                self.input(Input::Leg(bye()));
            }
        }
        assert_eq!(self.call.state(), CallState::Terminated);
        assert!(self.playing.is_none() && self.overlays.is_empty() && self.ear.is_none());
        let lost: Vec<_> = self.operations.iter().filter(|(_, end)| end.is_none()).collect();
        assert!(lost.is_empty(), "the call is over, and these have not ended: {lost:?}");
        // What comes late is absorbed.
        let before = self.log.len();
        let late = self.operations.keys().copied().collect::<Vec<_>>();
        for operation in late {
            let duration = Duration::ZERO;
            self.input(Input::Prompt(PromptEvent::Ready { operation, index: 0, duration }));
            self.input(Input::Playout(PlayoutEvent::Finished(operation)));
            self.input(Input::Tones(TonesEvent::Sent(operation)));
            self.input(Input::Recording(saved(operation)));
        }
        self.wait(LONG);
        assert_eq!(self.log.len(), before, "something comes behind the end");
    }

    fn ask(&mut self, ask: &Ask) {
        let operation = id(char::from_u32(0x1_0000 + self.made).expect("few operations"));
        let command = match ask {
            Ask::Play { prompts, looping, mode, stop_tone, stop_on_speech } => {
                let tones = stop_tone.iter().copied().collect();
                let stop_on = StopOn { tones, speech: *stop_on_speech };
                Command::PlayPrompt {
                    operation,
                    prompts: (0..*prompts).map(|_| prompt()).collect(),
                    looping: *looping,
                    options: PlayOptions { mode: *mode, stop_on, ..PlayOptions::default() },
                    client_context: None,
                }
            }
            Ask::Record { prompt: has_prompt, barge_in, stop_tone } => {
                let settings = RecordSettings {
                    prompts: has_prompt.then(prompt).into_iter().collect(),
                    barge_in: *barge_in,
                    initial_silence: INITIAL_SILENCE,
                    max_silence: MAX_SILENCE,
                    longest: LONGEST,
                    beep: true,
                    stop_tones: stop_tone.iter().copied().collect(),
                    root: String::new(),
                };
                let settings = settings.into();
                Command::RecordResponse { operation, settings, client_context: None }
            }
            Ask::Cancel(scope) => {
                let Command::CancelMediaProcessing { scope, client_context, .. } =
                    cancel('-', *scope)
                else {
                    unreachable!("it is one");
                };
                Command::CancelMediaProcessing { operation, scope, client_context }
            }
            Ask::Control { back, control } => {
                let Some(operation) = self.operations.keys().rev().nth(*back).copied() else {
                    return;
                };
                return self.control(operation, *control);
            }
            Ask::Press => {
                self.presses.push(operation);
                let Command::SendDtmfTones { tones, delay, client_context, .. } =
                    press('-', &[Tone::Tone1])
                else {
                    unreachable!("it is one");
                };
                Command::SendDtmfTones { operation, tones, delay, client_context }
            }
        };
        self.made += 1;
        let known = self.operations.len();
        let cuts_all =
            matches!(ask, Ask::Cancel(CancelScope::All) | Ask::Record { barge_in: true, .. });
        let before: Vec<_> = self.running().filter(|id| !self.presses.contains(id)).collect();
        let answer = self.call.handle_input(self.now, Input::Command(command));
        let outputs = self.drain();
        match answer {
            Ok(()) => {
                assert_eq!(self.operations.len(), known + 1, "accepted, and committed");
                let left = before.iter().find(|id| self.operations[*id].is_none());
                assert!(!cuts_all || left.is_none(), "not cancelled: {left:?}");
            }
            Err(_) => assert_eq!(outputs, 0, "a refused command has outputs"),
        }
    }

    fn control(&mut self, operation: OperationId, control: PlayControl) {
        let sounded = self.sound(operation).is_some();
        let ended = self.operations.get(&operation).is_some_and(Option::is_some);
        let command = Command::Control { operation, control };
        let answer = self.call.handle_input(self.now, Input::Command(command));
        let outputs = self.drain();
        assert!(answer.is_ok() || outputs == 0, "a refused command has outputs");
        assert!(answer.is_err() || !ended, "control of what has ended");
        if answer.is_ok() && control == PlayControl::Stop {
            assert!(self.operations[&operation].is_some(), "stopped, and not ended");
        } else if answer.is_ok() {
            assert!(sounded && self.sound(operation).is_some(), "{control:?} ends nothing");
        }
    }

    fn environment(&mut self, event: &Environment) {
        match event {
            Environment::Fetched { which, well, seconds } => {
                let count = self.fetching.len();
                if count == 0 {
                    return;
                }
                let (operation, index) = self.fetching.swap_remove(which % count);
                let duration = Duration::from_secs(*seconds);
                let result = ResultInfo::download_failed("The host answered 404.");
                self.input(Input::Prompt(match well {
                    true => PromptEvent::Ready { operation, index, duration },
                    false => PromptEvent::Failed { operation, index, result },
                }));
            }
            Environment::Played { which, well } => {
                let sounds = self.sounds();
                let Some(sound) = sounds.get(which % sounds.len().max(1)) else { return };
                let can_finish = sound.sealed && !sound.looping && !sound.paused;
                if !well {
                    self.input(Input::Playout(PlayoutEvent::Failed(sound.operation)));
                } else if can_finish {
                    self.finish(sound.operation);
                }
            }
            Environment::Recording { event, is_current } => self.record(*event, *is_current),
            Environment::Key(tone) => self.input(Input::Leg(LegEvent::Tone(*tone))),
            Environment::Speech => self.input(Input::Speech),
            Environment::Media(active) => {
                self.input(Input::Leg(LegEvent::Media { active: *active }));
            }
            Environment::Tones(well) => {
                let Some(operation) = self.sending.take() else { return };
                let result = ResultInfo::tones_failed("The engine is gone.");
                self.input(Input::Tones(match well {
                    true => TonesEvent::Sent(operation),
                    false => TonesEvent::Failed(operation, result),
                }));
            }
        }
    }

    /// News of the recording that is made, or late ones of another.
    fn record(&mut self, event: u8, is_current: bool) {
        let other = self.operations.keys().next().copied().filter(|_| !is_current);
        let Some(operation) = other.or(self.ear.map(|(operation, _)| operation)) else { return };
        let ear = self.ear.filter(|(current, _)| *current == operation).map(|(_, ear)| ear);
        let ago = Duration::from_millis(200);
        if ear == Some(Ear::Listens) {
            let heard_at = self.now - ago;
            match (event, self.times.longest) {
                (1 | 2, None) => {
                    self.times.initial = None;
                    self.times.longest = Some(heard_at + LONGEST);
                }
                (3, Some(_)) => self.times.silence = Some(heard_at + MAX_SILENCE),
                (4, Some(_)) => self.times.silence = None,
                _ => {}
            }
        }
        let event = match (event, ear) {
            (0, _) => RecordingEvent::Hearing(operation),
            (1 | 2, _) => RecordingEvent::Began { operation, ago },
            (3, _) => RecordingEvent::FellSilent { operation, ago },
            (4, _) => RecordingEvent::Spoke(operation),
            (5, _) => {
                let result = ResultInfo::record_failed("The disk is full.");
                RecordingEvent::Failed { operation, result }
            }
            // An ear saves what it was asked to.
            (_, Some(Ear::Finishes)) => return self.save(operation),
            (_, Some(Ear::Listens)) => return,
            (_, None) => saved(operation),
        };
        self.input(Input::Recording(event));
    }

    fn save(&mut self, operation: OperationId) {
        self.ear = None;
        self.saved.push(operation);
        self.input(Input::Recording(saved(operation)));
        assert!(self.operations[&operation].is_some(), "it is saved, and has not ended");
    }

    fn finish(&mut self, operation: OperationId) {
        self.playing.take_if(|sound| sound.operation == operation);
        self.overlays.retain(|sound| sound.operation != operation);
        self.input(Input::Playout(PlayoutEvent::Finished(operation)));
    }

    fn accept(&mut self, command: Command) {
        let text = format!("{command:?}");
        let answer = self.call.handle_input(self.now, Input::Command(command));
        assert_eq!(answer, Ok(()), "{text}");
        self.drain();
    }

    fn input(&mut self, input: Input) {
        self.call.handle_input(self.now, input).expect("only commands are refused");
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.call.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.is_timeout = true;
            self.input(Input::Timeout);
            self.is_timeout = false;
            assert!(self.call.poll_timeout().is_none_or(|next| next > self.now), "stuck timer");
        }
        self.now = end;
    }

    fn sounds(&self) -> Vec<Sound> {
        self.playing.iter().chain(&self.overlays).copied().collect()
    }

    fn sound(&mut self, operation: OperationId) -> Option<&mut Sound> {
        let mut sounds = self.playing.iter_mut().chain(&mut self.overlays);
        sounds.find(|sound| sound.operation == operation)
    }

    fn drain(&mut self) -> usize {
        let before = self.log.len();
        while let Some(output) = self.call.poll_output() {
            self.log.push(format!("{output:?}"));
            self.see(output);
        }
        if self.call.state() == CallState::Established && self.running().next().is_none() {
            let next = self.call.poll_timeout();
            assert!(next.is_none_or(|at| at > self.now + LONG), "a timer without a purpose");
        }
        self.log.len() - before
    }

    fn running(&self) -> impl Iterator<Item = OperationId> {
        self.operations.iter().filter(|(_, end)| end.is_none()).map(|(id, _)| *id)
    }
}

fn prompt() -> MediaPrompt {
    let uri = "http://127.0.0.1/x.wav".to_owned();
    MediaPrompt { uri, resource_id: None, repeat: 1, shaping: Default::default() }
}

fn saved(operation: OperationId) -> RecordingEvent {
    let recorded = Recorded { location: String::new(), access_token: AccessToken(String::new()) };
    RecordingEvent::Saved { operation, recorded }
}

/// Those that are completed in their response are not told again.
fn is_told(operation: &Operation) -> bool {
    match operation.kind {
        OperationKind::PlayPrompt { .. }
        | OperationKind::RecordResponse { .. }
        | OperationKind::SendDtmfTones { .. } => true,
        OperationKind::CancelMediaProcessing
        | OperationKind::SubscribeToTone
        | OperationKind::Group(_) => false,
    }
}
