//! Writes `docs/states/*.md` from the machine itself, and fails when the committed pages differ.
//! `UPDATE_DOCS=1 cargo test -p graphophone-call` writes them anew.

use std::{env, fmt::Write as _, fs, path::PathBuf, time::Duration};

use super::sim::{ALL, ANSWER, CURRENT, Sim, bye, cancel, play, press, subscribe};
use crate::{
    BridgeEvent, CallState, Command, Input, LegEvent, ReferTo, RejectReason, Rejection, ResultInfo,
    Tone,
};

/// What an input did: the outputs, or why it was refused.
type Effect = Result<Vec<String>, Rejection>;
type Start = (&'static str, fn() -> Sim);
type Stimulus = (&'static str, fn(&mut Sim) -> Effect);

#[test]
fn the_page_of_call_states_is_what_the_machine_does() {
    let starts: [Start; 9] = [
        ("incoming", Sim::incoming),
        ("establishing (outgoing)", Sim::outgoing),
        ("establishing (incoming)", || after(Sim::incoming(), |sim| sim.command(ANSWER))),
        ("established", Sim::talking),
        ("transferring", || after(Sim::talking(), |sim| sim.command(transfer()))),
        ("transferaccepted", || {
            let mut sim = after(Sim::talking(), |sim| sim.command(transfer()));
            sim.leg(LegEvent::ReferAccepted);
            sim
        }),
        ("redirecting", || after(Sim::incoming(), |sim| sim.command(redirect()))),
        ("terminating", || after(Sim::talking(), Sim::hang_up)),
        ("terminated", || after(Sim::talking(), Sim::bye)),
    ];
    let inputs: [Stimulus; 26] = [
        ("answer", |sim| sim.try_command(ANSWER)),
        ("reject", |sim| sim.try_command(Command::Reject(RejectReason::Busy))),
        ("redirect", |sim| sim.try_command(redirect())),
        ("transfer", |sim| sim.try_command(transfer())),
        ("DELETE", |sim| sim.try_command(Command::HangUp)),
        ("keepAlive", |sim| sim.try_command(Command::KeepAlive)),
        ("playPrompt", |sim| sim.try_command(play('a', 1, false))),
        ("cancelMediaProcessing", |sim| sim.try_command(cancel('z', ALL))),
        ("subscribeToTone", |sim| sim.try_command(subscribe('a'))),
        ("sendDtmfTones", |sim| sim.try_command(press('a', &[Tone::Tone1, Tone::Pound]))),
        ("leg: ringing", |sim| Ok(sim.leg(LegEvent::Ringing))),
        ("leg: answered", |sim| Ok(sim.leg(LegEvent::Answered))),
        ("leg: media active", |sim| Ok(sim.media(true))),
        ("leg: media inactive", |sim| Ok(sim.media(false))),
        ("leg: tone", |sim| Ok(sim.leg(LegEvent::Tone(Tone::Star)))),
        ("leg: refer accepted", |sim| Ok(sim.leg(LegEvent::ReferAccepted))),
        ("leg: refer refused", |sim| Ok(sim.leg(LegEvent::ReferRefused))),
        ("leg: refer reached its target", |sim| Ok(sim.leg(LegEvent::ReferEnded(Ok(()))))),
        ("leg: refer failed", |sim| Ok(sim.leg(LegEvent::ReferEnded(Err(nobody()))))),
        ("bridge: ringing", |sim| Ok(bridge(sim, BridgeEvent::Ringing))),
        ("bridge: answered", |sim| Ok(bridge(sim, BridgeEvent::Answered))),
        ("bridge: nobody answers", |sim| Ok(bridge(sim, BridgeEvent::Failed(nobody())))),
        ("taken over by another call", |sim| Ok(sim.input(Input::TakenOver))),
        ("leg: ended", |sim| Ok(sim.leg(bye()))),
        ("server stops", |sim| Ok(sim.input(Input::ServerStops))),
        ("time passes", |sim| Ok(sim.wait_s(60 * 60))),
    ];
    let head = "# Call states\n\nOne call, as `crates/call` carries it out. A state that a bot sees \
        is the word before the brackets. `a` is an operation, numbers are `code/subcode`; \
        *no effect* means absorbed: late and doubled events are no errors.\n";
    let frame = "    [*] --> incoming : INVITE\n    [*] --> establishing : POST calls\n    \
        terminated --> [*]\n";
    check("call.md", &page(head, frame, &starts, &inputs, &state_of_call));
}

#[test]
fn the_page_of_operation_states_is_what_the_machine_does() {
    let starts: [Start; 9] = [
        ("waiting: fetching", || after(Sim::talking(), |sim| sim.play('a', 2))),
        ("waiting: first prompt ready", some_ready),
        ("waiting: ready, no audio yet", || {
            let mut sim = Sim::outgoing();
            sim.leg(LegEvent::Answered);
            after(sim, |sim| sim.play_ready('a', 2))
        }),
        ("waiting: ready, behind another", || {
            after(after(Sim::talking(), |sim| sim.play_ready('x', 1)), |sim| sim.play_ready('a', 2))
        }),
        ("playing, more to come", || after(some_ready(), |sim| sim.wait_s(2))),
        ("playing", || after(some_ready(), |sim| sim.ready('a', 1))),
        ("playing what stands before a broken prompt", || {
            after(some_ready(), |sim| sim.failed('a', 1))
        }),
        ("playing for ever", || {
            after(after(Sim::talking(), |sim| sim.play_loop('a', 1)), |sim| sim.ready('a', 0))
        }),
        ("completed", || after(played(), |sim| sim.finished('a'))),
    ];
    let inputs: [Stimulus; 15] = [
        ("first prompt ready", |sim| Ok(sim.ready('a', 0))),
        ("first prompt broken", |sim| Ok(sim.failed('a', 0))),
        ("second prompt ready", |sim| Ok(sim.ready('a', 1))),
        ("second prompt broken", |sim| Ok(sim.failed('a', 1))),
        ("audio becomes active", |sim| Ok(sim.media(true))),
        ("hold", |sim| Ok(sim.media(false))),
        ("2 s pass", |sim| Ok(sim.wait(Duration::from_secs(2)))),
        ("last packet left", |sim| Ok(sim.finished('a'))),
        ("playout breaks", |sim| Ok(sim.broke('a'))),
        ("operation before it ends", |sim| Ok(sim.finished('x'))),
        ("cancelMediaProcessing", |sim| sim.try_command(cancel('z', ALL))),
        ("cancelMediaProcessing of the current one", |sim| sim.try_command(cancel('z', CURRENT))),
        ("DELETE call", |sim| sim.try_command(Command::HangUp)),
        ("leg: ended", |sim| Ok(sim.leg(bye()))),
        ("server stops", |sim| Ok(sim.input(Input::ServerStops))),
    ];
    let head = "# States of a playPrompt operation\n\nOperation `a` with two prompts (one, when it \
        plays for ever), as `crates/call` carries it out. A bot sees `running` until it is \
        `completed` or `failed`; the finer states are ours. `x` is an operation before it, `z` the \
        cancelMediaProcessing; numbers are `code/subcode`.\n";
    let frame = "    [*] --> waiting : playPrompt\n    completed --> [*]\n    failed --> [*]\n";
    check("operation.md", &page(head, frame, &starts, &inputs, &state_of_operation));
}

fn transfer() -> Command {
    let target = "sip:carol@127.0.0.1".to_owned();
    let refer = Some(ReferTo { target, replaces: None });
    Command::Transfer { transferee: None, refer, is_consultative: false }
}

fn redirect() -> Command {
    Command::Redirect { ring_for: Duration::from_secs(30) }
}

/// What those say who are called on behalf of the call; a far end that refers calls them itself.
fn bridge(sim: &mut Sim, event: BridgeEvent) -> Vec<String> {
    let mut outputs = match sim.call.state() {
        CallState::Transferring => sim.leg(LegEvent::ReferRefused),
        CallState::Incoming
        | CallState::Establishing
        | CallState::Established
        | CallState::TransferAccepted
        | CallState::Redirecting
        | CallState::Terminating
        | CallState::Terminated => Vec::new(),
    };
    outputs.extend(sim.input(Input::Bridge(event)));
    outputs
}

fn nobody() -> ResultInfo {
    ResultInfo::of_call(480, 10076, "Nobody answers.")
}

fn some_ready() -> Sim {
    after(after(Sim::talking(), |sim| sim.play('a', 2)), |sim| sim.ready('a', 0))
}

fn played() -> Sim {
    after(some_ready(), |sim| sim.ready('a', 1))
}

fn after(mut sim: Sim, act: impl FnOnce(&mut Sim) -> Vec<String>) -> Sim {
    act(&mut sim);
    sim
}

fn state_of_call(sim: &Sim) -> String {
    format!("{:?}", sim.call.state()).to_lowercase()
}

/// Read from what was put out about `a` last.
fn state_of_operation(sim: &Sim) -> String {
    let about = |line: &&String| line.split(' ').nth(1) == Some("a") && !line.starts_with("fetch");
    let words = sim.log.iter().rfind(about).map_or("", String::as_str);
    match words.split(' ').next() {
        Some("start" | "extend") if words.ends_with("looping") => "looping",
        Some("start" | "extend") if words.ends_with("sealed") => "playing",
        Some("start" | "extend") => "playing_open",
        Some("commit" | "notify") if words.contains("completed") => "completed",
        Some("commit" | "notify") if words.contains("failed") => "failed",
        Some("commit") => "waiting",
        other => unreachable!("{other:?} of {words}"),
    }
    .into()
}

fn page(
    head: &str,
    frame: &str,
    starts: &[Start],
    inputs: &[Stimulus],
    state: &dyn Fn(&Sim) -> String,
) -> String {
    let mut edges: Vec<(String, String, Vec<&str>)> = Vec::new();
    let mut table = String::new();
    for (title, start) in starts {
        let from = state(&start());
        let mut silent = Vec::new();
        for (input, act) in inputs {
            let mut sim = start();
            let effect = act(&mut sim);
            let to = state(&sim);
            match &effect {
                Ok(outputs) if outputs.is_empty() => silent.push(*input),
                Ok(outputs) => {
                    let outputs = outputs.join(" · ");
                    _ = writeln!(table, "| {title} | {input} | {} | {outputs} |", name(&to));
                }
                Err(why) => {
                    _ = writeln!(table, "| {title} | {input} | | refused: {why:?} |");
                }
            }
            if from != to {
                match edges.iter_mut().find(|(a, b, _)| (a, b) == (&from, &to)) {
                    Some((_, _, labels)) if labels.contains(input) => {}
                    Some((_, _, labels)) => labels.push(input),
                    None => edges.push((from.clone(), to, vec![input])),
                }
            }
        }
        if !silent.is_empty() {
            _ = writeln!(
                table,
                "| {title} | {} | | *no effect to the outside* |",
                silent.join(", ")
            );
        }
    }
    let mut page = format!(
        "{head}\n*Generated by `crates/call/src/call/tests/state_docs.rs`; do not edit. \
         `UPDATE_DOCS=1 cargo test -p graphophone-call` writes it anew.*\n\n```mermaid\n\
         stateDiagram-v2\n{frame}"
    );
    for (from, to, labels) in &edges {
        // A colon ends the label's start in mermaid; a break keeps long labels readable.
        let label = labels.join(" /<br/>").replace("leg: ", "leg ");
        _ = writeln!(page, "    {from} --> {to} : {label}");
    }
    _ = write!(
        page,
        "```\n\n| state | input | next | outputs, in order |\n|---|---|---|---|\n{table}"
    );
    page
}

fn name(state: &str) -> String {
    state.replace('_', " ")
}

#[expect(clippy::disallowed_methods, reason = "UPDATE_DOCS says that the pages are to be written")]
fn check(file: &str, page: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/states").join(file);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().expect("it has one")).expect("docs/states can be made");
        fs::write(&path, page).expect("the page can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/states/{file} is out of date: UPDATE_DOCS=1 cargo test -p graphophone-call"
    );
}
