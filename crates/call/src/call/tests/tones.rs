//! Key presses of the far end, and tones to it.

use super::sim::{ALL, Sim, id, press, subscribe};
use crate::{Command, Input, LegEvent, Rejection, ResultInfo, Settings, Tone, TonesEvent};

fn sent(sim: &mut Sim, name: char) -> Vec<String> {
    sim.input(Input::Tones(TonesEvent::Sent(id(name))))
}

#[test]
fn presses_are_told_in_order_from_one_once_the_bot_has_subscribed() {
    let mut sim = Sim::talking();
    assert!(sim.leg(LegEvent::Tone(Tone::Tone1)).is_empty());
    assert_eq!(sim.command(subscribe('s')), ["commit s completed 200/0"]);
    assert_eq!(sim.leg(LegEvent::Tone(Tone::Tone2)), ["notify tone2 1"]);
    assert_eq!(sim.command(subscribe('t')), ["commit t completed 200/0"], "twice is no harm");
    assert_eq!(sim.leg(LegEvent::Tone(Tone::Tone2)), ["notify tone2 2"]);
    assert_eq!(sim.leg(LegEvent::Tone(Tone::Pound)), ["notify pound 3"]);
    assert_eq!(sim.call.last_tone(), Some((Tone::Pound, 3)));
    sim.cancel('z', ALL);
    assert_eq!(sim.leg(LegEvent::Tone(Tone::Flash)), ["notify flash 4"], "a cancel ends it not");
}

#[test]
fn sequences_of_tones_are_sent_one_after_the_other() {
    let mut sim = Sim::talking();
    assert_eq!(
        sim.command(press('a', &[Tone::Tone1, Tone::Pound])),
        ["commit a running", "send a [Tone1, Pound] 300"]
    );
    assert_eq!(sim.command(press('b', &[Tone::A])), ["commit b running"]);
    assert!(sent(&mut sim, 'b').is_empty(), "it is not being sent");
    assert_eq!(
        sent(&mut sim, 'a'),
        [
            "commit a completed successfully 200/0",
            "notify a completed successfully 200/0",
            "send b [A] 300"
        ]
    );
    assert!(sent(&mut sim, 'a').is_empty(), "told twice");
    let broken = ResultInfo::tones_failed("The engine is gone.");
    assert_eq!(
        sim.input(Input::Tones(TonesEvent::Failed(id('b'), broken))),
        ["commit b completed unknown 500/9999", "notify b completed unknown 500/9999"]
    );
}

#[test]
fn tones_wait_for_audio_and_play_no_part_in_the_media_queue() {
    let mut sim = Sim::outgoing();
    sim.leg(LegEvent::Answered);
    assert_eq!(sim.command(press('a', &[Tone::Tone0])), ["commit a running"]);
    assert_eq!(sim.media(true), ["notify media active", "send a [Tone0] 300"]);
    assert_eq!(sim.cancel('z', ALL), ["commit z completed 200/0"]);
    assert_eq!(sim.play_ready('p', 1).last().expect("it plays"), "start p 1 sealed");
    assert_eq!(sent(&mut sim, 'a').len(), 2);
}

#[test]
fn a_hang_up_cuts_tones_without_telling_and_a_stop_of_the_server_tells() {
    let mut sim = Sim::talking();
    sim.command(press('a', &[Tone::Tone0]));
    sim.command(press('b', &[Tone::Tone0]));
    assert_eq!(
        sim.hang_up()[..2],
        ["commit a failed cancelled 400/8508", "commit b failed cancelled 400/8508"]
    );
    let mut sim = Sim::talking();
    sim.command(press('a', &[Tone::Tone0]));
    assert_eq!(
        sim.input(Input::ServerStops)[1..3],
        ["commit a failed unknown 500/9999", "notify a failed unknown 500/9999"]
    );
}

#[test]
fn too_many_sequences_at_a_time_are_refused() {
    let mut sim = Sim::talking_with(Settings { queue_limit: 1, ..Settings::default() });
    sim.command(press('a', &[Tone::Tone0]));
    assert_eq!(sim.try_command(press('b', &[Tone::Tone0])), Err(Rejection::QueueFull));
    assert!(sim.try_command(Command::HangUp).is_ok());
}
