//! `graphophone bench`: that it measures what was played. Nothing here asserts on time.

use std::process::Stdio;

use graphophone_testkit::patience;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout_at,
};

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphophone"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true).arg("bench").args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn json_of(mut command: Command) -> Value {
    let output = timeout_at(patience(), command.output()).await.expect("in time").unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn a_ladder_hears_every_packet_of_every_call_and_finds_the_prompt_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let plot = directory.path().join("plot.svg");
    let size = ["--start", "3", "--step", "3", "--max", "3", "--seconds", "1"];
    for case in ["pcmu", "two-way"] {
        let mut command = bench(&["--case", case, "--json", "--latency-rounds", "1"]);
        command.args(size).args(["--prompt-seconds", "0.33", "--plot"]).arg(&plot);
        let report = json_of(command).await;
        let step = &report["steps"][0];
        assert_eq!(step["calls"], 3, "{report}");
        // About 150; a slow machine may start or end a window in the middle of a burst.
        assert!(step["checked"].as_u64().unwrap() > 60, "{report}");
        assert_eq!(step["checked"], step["packets"], "{report}");
        for nothing in ["wrong", "lost", "reordered", "doubled"] {
            assert_eq!(step[nothing], 0, "{nothing} in {report}");
        }
    }
    assert!(std::fs::read_to_string(&plot).unwrap().ends_with("</svg>\n"));
}

#[tokio::test]
async fn rooms_of_three_are_gathered_and_everybody_in_them_hears_something() {
    let mut command = bench(&["--case", "rooms", "--json", "--latency-rounds", "0"]);
    command.args(["--start", "2", "--step", "1", "--max", "2", "--seconds", "1"]);
    let report = json_of(command).await;
    let step = &report["steps"][0];
    assert_eq!((&step["calls"], &step["streams"]), (&json!(2), &json!(6)), "{report}");
    // About 300.
    assert!(step["packets"].as_u64().unwrap() > 120, "{report}");
    assert_eq!(step["lost"], 0, "{report}");
}

#[tokio::test]
async fn recorded_calls_have_every_packet_of_their_own_far_end() {
    let mut command = bench(&["--case", "record", "--json", "--seconds", "1"]);
    command.args(["--start", "3", "--step", "1", "--max", "3"]);
    let report = json_of(command).await;
    let step = &report["steps"][0];
    assert_eq!((&step["calls"], &step["recordings"]), (&json!(3), &json!(3)), "{report}");
    assert!(step["periods"].as_u64().unwrap() > 300, "{report}");
    for nothing in ["missing", "wrongLength", "foreign"] {
        assert_eq!(step[nothing], 0, "{nothing} in {report}");
    }
}

#[tokio::test]
async fn calls_of_a_rate_are_set_up_and_hung_up() {
    let mut command = bench(&["--case", "signalling", "--play", "--json", "--seconds", "1"]);
    command.args(["--start", "4", "--step", "1", "--max", "4"]);
    let report = json_of(command).await;
    let step = &report["steps"][0];
    assert_eq!(step["calls"], 4, "{report}");
    assert_eq!(step["failed"], 0, "{report}");
    assert_eq!(step["setUpMs"]["n"], 4, "{report}");
    assert!(step["transactionsPerSecond"].as_f64().unwrap() > 0.0, "{report}");
    assert!(step["writesPerTransaction"].as_f64().unwrap() >= 1.0, "{report}");
}

#[tokio::test]
async fn the_meter_dials_and_is_dialled_and_hears_silence_as_silence() {
    let mut listener =
        bench(&["meter", "--listen", "127.0.0.1:0", "--calls", "2", "--seconds", "1", "--json"])
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(listener.stderr.take().unwrap()).lines();
    let line = timeout_at(patience(), lines.next_line()).await.expect("in time").unwrap().unwrap();
    let uri = line.strip_prefix("Dial ").expect(&line).replace("NUMBER", "7");
    let dialled =
        json_of(bench(&["meter", "--dial", &uri, "--calls", "2", "--seconds", "1", "--json"]))
            .await;
    assert_eq!(dialled["window"]["calls"], 2, "{dialled}");
    assert_eq!(dialled["window"]["silent"], 2, "{dialled}");
    assert_eq!(dialled["refused"], serde_json::json!({}), "{dialled}");
    let output = timeout_at(patience(), listener.wait_with_output()).await.expect("in time");
    let heard: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(heard["window"]["silent"], heard["window"]["calls"], "{heard}");
}

#[tokio::test]
async fn the_bare_sender_is_heard_whole() {
    let report = json_of({
        let mut command = bench(&["--case", "bare", "--json", "--seconds", "1"]);
        command.args(["--start", "5", "--step", "5", "--max", "5"]);
        command
    })
    .await;
    let step = &report["steps"][0];
    assert!(step["packets"].as_u64().unwrap() > 100, "{report}");
    assert_eq!(step["lost"], 0, "{report}");
    assert_eq!(step["silent"], 0, "{report}");
}
