//! The 93 files of the shared WAV corpus, served over HTTP and played into calls: the outcome that
//! the index says, and as much audio sent as it says. What each sounds like is tested beside the
//! decoder (`crates/media/tests/wav_corpus.rs`).

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use futures::future::join_all;
use graphophone::config::CompatMode;
use graphophone_testkit::{TestServer, prompt_host::PromptHost, sent_ms};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::line::{Line, result_of};

/// The corpus has some 60 seconds of audio to play; so many calls share it.
const CALLS: usize = 20;

struct Row {
    file: String,
    /// Verdict of the mode under test.
    verdict: String,
    milliseconds: f64,
}

fn rows(column: &str) -> Vec<Row> {
    let index = std::fs::read(shared().join("wav/index.json")).expect("the corpus index");
    let index: Vec<Value> = serde_json::from_slice(&index).expect("it is JSON");
    assert_eq!(index.len(), 93);
    let row = |row: &Value| Row {
        file: row["file"].as_str().expect("a name").to_owned(),
        verdict: row[column].as_str().expect("a verdict").to_owned(),
        milliseconds: row["seconds"].as_f64().expect("a length") * 1_000.0,
    };
    index.iter().map(row).collect()
}

fn shared() -> PathBuf {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    assert!(shared.is_dir(), "the shared corpus is missing: no {}", shared.display());
    shared
}

#[tokio::test]
async fn every_file_ends_as_the_index_says_on_open_and_on_strict_servers() {
    let folder = tempfile::tempdir().unwrap();
    let mut generator = Command::new("python3");
    generator.arg(shared().join("gen_wav.py")).arg(folder.path());
    let made = generator.stdout(Stdio::null()).status().await;
    assert!(made.expect("python3 runs the corpus generator").success());
    tokio::join!(
        play_all(folder.path(), CompatMode::Open, "superset"),
        play_all(folder.path(), CompatMode::StrictV1, "teams"),
    );
}

async fn play_all(folder: &Path, mode: CompatMode, column: &str) {
    let rows = rows(column);
    let file = |row: &Row| {
        let bytes = std::fs::read(folder.join(&row.file)).expect("a file of the index");
        (format!("/{}", row.file), bytes)
    };
    let host = PromptHost::serving(rows.iter().map(file).collect()).await;
    let server = TestServer::start_with(|config| config.compat.mode = mode).await;
    let mut lines = Vec::new();
    for _ in 0..CALLS {
        lines.push(Line::open(&server).await);
    }
    let mut shares: Vec<Vec<&Row>> = lines.iter().map(|_| Vec::new()).collect();
    for (index, row) in rows.iter().enumerate() {
        shares[index % CALLS].push(row);
    }
    let played = lines.into_iter().zip(shares).map(|(line, share)| play_share(line, share, &host));
    let faults: Vec<String> = join_all(played).await.concat();
    assert!(faults.is_empty(), "{mode:?}: {} faults:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(host.requests().len(), rows.len(), "each is fetched once");
    server.stop().await;
}

/// Queues the whole share at once, and judges each end.
async fn play_share(mut line: Line, share: Vec<&Row>, host: &PromptHost) -> Vec<String> {
    let mut asked = Vec::new();
    for row in share {
        let prompt = json!({
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {"uri": host.uri(&format!("/{}", row.file))},
        });
        let answer = line.post("/playPrompt", json!({"prompts": [prompt]})).await;
        assert_eq!(answer.status, 200, "{}: {}", row.file, answer.body);
        asked.push((row, answer.body["id"].as_str().expect("an id").to_owned()));
    }
    let mut faults = Vec::new();
    for (row, operation) in &asked {
        let judged = if row.milliseconds > 10_000.0 && row.verdict == "play" {
            begun(&line, row, operation).await
        } else {
            judge(row, &line.end_of(operation).await)
        };
        faults.extend(judged.err().map(|fault| format!("{}: {fault}", row.file)));
    }
    faults
}

/// Nobody waits for five minutes: it plays, and its receipt has the whole length. The others of
/// this share are behind it, so it is cancelled alone.
async fn begun(line: &Line, row: &Row, operation: &str) -> Result<(), String> {
    let wait = async {
        loop {
            let seen = line.bot.operation(&line.call, operation).await.expect("it can be read");
            if sent_ms(&seen) > 0 || seen["status"] != "running" {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout_at(graphophone_testkit::patience(), wait).await;
    let seen = seen.map_err(|_| "does not begin".to_owned())?;
    let length = seen["graphophoneReceipt"]["prompts"][0]["durationMs"].as_f64();
    if length != Some(row.milliseconds) || seen["status"] != "running" {
        return Err(format!("{seen}"));
    }
    let cancelled = line.post("/cancelMediaProcessing", json!({"all": false})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.body);
    Ok(())
}

fn judge(row: &Row, end: &Value) -> Result<(), String> {
    match (row.verdict.as_str(), end["status"].as_str()) {
        ("fail" | "play|fail", Some("failed")) => {
            let (code, subcode, message) = result_of(end);
            // Beyond the fixed text and the address there must be what was found.
            let found = message.rsplit_once(&row.file).map_or("", |(_, found)| found);
            if (code, subcode) != (400, 8535) || found.len() < 20 || sent_ms(end) != 0 {
                return Err(format!("{}", end["resultInfo"]));
            }
            Ok(())
        }
        ("play" | "play|fail", Some("completed")) => {
            let sent = sent_ms(end) as f64;
            // Files that need not be played have no length in the index.
            if row.verdict == "play|fail" && row.milliseconds == 0.0 {
                return Ok(());
            }
            // The last packet is padded to 20 ms at most once.
            if (sent - row.milliseconds).abs() > 20.0 {
                return Err(format!("{sent} ms sent instead of {}", row.milliseconds));
            }
            Ok(())
        }
        (verdict, status) => Err(format!("{status:?} instead of {verdict}: {}", end["resultInfo"])),
    }
}
