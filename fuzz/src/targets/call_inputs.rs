//! The call under any commands, leg events, prompts and timers, beside the model and the judge of
//! its own property test, in longer sequences.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use arbitrary::{Result, Unstructured};
use graphophone_call::{
    CancelScope, Command, LegEvent, ResultInfo, Settings, Tone,
    fuzzing::{Setting, Step, run as run_case},
};

/// Most steps of one input.
const MOST: usize = 300;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(crate) fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(setting) = setting(&mut input) else { return };
    let mut steps = Vec::new();
    while steps.len() < MOST && !input.is_empty() {
        let Ok(step) = step(&mut input) else { break };
        steps.push(step);
    }
    // The model is asserted inside, after each step.
    let outputs = run_case(*EPOCH, &setting, &steps);
    assert!(outputs == run_case(*EPOCH, &setting, &steps), "the same inputs, other outputs");
}

fn setting(input: &mut Unstructured<'_>) -> Result<Setting> {
    let incoming = input.arbitrary()?;
    let hosted = input.int_in_range(0..=15_u8)? != 0 || incoming;
    let settings = Settings {
        keep_alive: Duration::from_secs(100),
        queue_limit: input.int_in_range(1..=6)?,
        notify_cut_operations: input.arbitrary()?,
        ..Settings::default()
    };
    Ok(Setting { incoming, hosted, settings })
}

fn step(input: &mut Unstructured<'_>) -> Result<Step> {
    let bye = || LegEvent::Ended(ResultInfo::of_call(200, 560_000, "The far end hung up."));
    Ok(match input.int_in_range(0..=63_u8)? {
        0..=9 => Step::Play { prompts: input.int_in_range(1..=4)?, looping: input.ratio(1, 3)? },
        10..=12 => Step::Cancel(match input.arbitrary()? {
            true => CancelScope::All,
            false => CancelScope::Current,
        }),
        13..=16 => Step::Command(Command::Answer { service_hosted: input.ratio(3, 4)? }),
        17..=18 => Step::Command(Command::KeepAlive),
        19 => Step::Command(Command::HangUp),
        20..=24 => Step::Leg(LegEvent::Answered),
        25..=29 => Step::Leg(LegEvent::Media { active: input.ratio(3, 4)? }),
        30 => Step::Leg(LegEvent::Ringing),
        31 => Step::Leg(LegEvent::Tone(Tone::Star)),
        32 => Step::Leg(bye()),
        33..=44 => Step::Ready {
            operation: input.int_in_range(0..=6)?,
            index: input.int_in_range(0..=4)?,
            time: Duration::from_millis(input.arbitrary::<u16>()?.into()),
        },
        45..=48 => Step::Failed {
            operation: input.int_in_range(0..=6)?,
            index: input.int_in_range(0..=4)?,
        },
        49..=50 => Step::Finished { operation: input.int_in_range(0..=6)? },
        51 => Step::Broke { operation: input.int_in_range(0..=6)? },
        52..=57 => Step::PlayedOut,
        58..=61 => Step::Wait(Duration::from_millis(input.int_in_range(0..=60_000)?)),
        62 => Step::Timeout,
        _ => match input.ratio(1, 16)? {
            true => Step::ServerStops,
            false => Step::Timeout,
        },
    })
}
