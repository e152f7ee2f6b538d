//! The judge: what must be true of a round, whenever the kill came.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::journal::{CallSeen, Inside, Journal, LOOP, Number, OPERATIONS, Told, code};

/// Everything that was seen in all rounds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills: u32,
    pub(crate) faults: Vec<String>,
    /// Of each stop by SIGTERM: until `/readyz` said so, until the end.
    pub(crate) drained: Vec<(Duration, Duration)>,
    calls: u64,
    operations: u64,
    ended: BTreeMap<String, u64>,
    notifications: u64,
    repeated_posts: u64,
    dialogs: u64,
    slowest: Duration,
}

/// Waits until everything of a round is told and released, or the time is up.
pub(crate) async fn settled(journal: &Arc<Journal>, round: u32, deadline: Instant) -> bool {
    loop {
        let is_settled = {
            let inside = journal.lock();
            inside.of_round(round).all(|(_, call)| is_over(&inside, call))
        };
        if is_settled || Instant::now() >= deadline {
            return is_settled;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn is_over(inside: &Inside, call: &CallSeen) -> bool {
    let told = inside.told_of(call);
    let ends = |id: &String| told.iter().any(|one| one.taken > 0 && is_end_of(one, id));
    let is_told =
        call.id.is_none() || told.iter().any(|one| one.taken > 0 && state(one) == "terminated");
    let is_released =
        call.dialogs.values().all(|dialog| !dialog.acknowledged || dialog.ended.is_some());
    is_told && is_released && call.operations.iter().flatten().all(ends)
}

impl Tally {
    pub(crate) fn judge(&mut self, journal: &Journal, round: u32, settled: bool, after: Duration) {
        self.slowest = self.slowest.max(after);
        let inside = journal.lock();
        if !settled {
            let open: Vec<&Number> = inside
                .of_round(round)
                .filter(|(_, call)| !is_over(&inside, call))
                .map(|(number, _)| number)
                .collect();
            self.faults
                .push(format!("not told or not released {after:.1?} after the start: {open:?}"));
        }
        for (number, call) in inside.of_round(round) {
            let mut faults = call.contradictions.clone();
            self.judge_call(&inside, call, &mut faults);
            self.faults.extend(faults.into_iter().map(|fault| format!("call {number:?}: {fault}")));
        }
    }

    fn judge_call(&mut self, inside: &Inside, call: &CallSeen, faults: &mut Vec<String>) {
        let told = inside.told_of(call);
        self.calls += u64::from(call.id.is_some());
        self.dialogs += call.dialogs.values().filter(|dialog| dialog.acknowledged).count() as u64;
        self.notifications += told.len() as u64;
        self.repeated_posts +=
            told.iter().map(|one| u64::from(one.taken.saturating_sub(1))).sum::<u64>();
        if call.dialogs.len() > 1 {
            faults.push(format!("dialled {} times", call.dialogs.len()));
        }
        if told.iter().any(|one| one.value["fault"].is_string()) {
            faults.push("another body under the same webhook-id".into());
        }
        // One delivery may be repeated by each crash, and a round has two at most.
        if let Some(one) = told.iter().find(|one| one.taken > 3) {
            faults.push(format!("{} was taken {} times", one.id, one.taken));
        }
        if let Some(place) = told.iter().position(|one| state(one) == "terminated")
            && place + 1 != told.len()
        {
            faults.push(format!("told after the end: {:?}", states(told)));
        }
        for (operation, id) in call.operations.iter().enumerate() {
            let Some(id) = id else { continue };
            self.operations += 1;
            let ends: Vec<&Told> = told.iter().filter(|one| is_end_of(one, id)).collect();
            let [end] = ends.as_slice() else {
                faults.push(format!("operation {operation} ended {} times", ends.len()));
                continue;
            };
            let status = end.value["resourceData"]["status"].as_str().unwrap_or_default();
            *self.ended.entry(status.to_owned()).or_default() += 1;
            if !self.drained.is_empty() && operation != LOOP && status != "completed" {
                faults.push(format!("operation {operation} is {status}, cut by a drain"));
            }
            faults.extend(judge_audio(call, operation, status, &end.value["resourceData"]));
        }
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} calls, {} operations ({}), {} notifications ({} taken again), {} dialogs released, \
             settled {:.1?} after the start at the latest, {} faults",
            self.calls,
            self.operations,
            self.ended
                .iter()
                .map(|(status, n)| format!("{n} {status}"))
                .collect::<Vec<_>>()
                .join(", "),
            self.notifications,
            self.repeated_posts,
            self.dialogs,
            self.slowest,
            self.faults.len(),
        )
    }

    /// For docs/reliability.md.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            ("kills".to_owned(), u64::from(self.kills)),
            ("calls answered 201".to_owned(), self.calls),
            ("operations answered 200".to_owned(), self.operations),
        ];
        rows.extend(self.ended.iter().map(|(status, n)| (format!("of them told {status}"), *n)));
        rows.push(("notifications".to_owned(), self.notifications));
        rows.push(("of them taken more than once".to_owned(), self.repeated_posts));
        rows.push(("dialogs acknowledged, all released".to_owned(), self.dialogs));
        if let (Some(said), Some(took)) = (
            self.drained.iter().map(|(said, _)| *said).max(),
            self.drained.iter().map(|(_, took)| *took).max(),
        ) {
            println!("/readyz said so within {said:.1?}, the longest drain took {took:.1?}");
        }
        rows.push(("faults".to_owned(), self.faults.len() as u64));
        let rows: String = rows.iter().map(|(what, n)| format!("| {what} | {n} |\n")).collect();
        format!(
            "| seen | number |\n|---|--:|\n{rows}| last thing told after a start, at the latest | {:.1?} |",
            self.slowest
        )
    }
}

/// What was told of an operation against what its phone has heard.
fn judge_audio(call: &CallSeen, operation: usize, status: &str, told: &Value) -> Option<String> {
    for (prompt, ms) in OPERATIONS[operation].iter().enumerate() {
        let heard = call.heard.get(&code(operation, prompt)).copied().unwrap_or_default();
        let whole = u64::from(ms * 8);
        if status == "completed" && heard != whole {
            return Some(format!(
                "operation {operation} is completed, of prompt {prompt} {heard} of {whole} samples \
                 were heard: {told}"
            ));
        }
        if operation != LOOP && heard > whole {
            return Some(format!(
                "prompt {prompt} of operation {operation} has {whole} samples, {heard} were heard"
            ));
        }
    }
    (operation == LOOP && status == "completed").then(|| "a loop is completed".to_owned())
}

fn state(told: &Told) -> &str {
    told.value["resourceData"]["state"].as_str().unwrap_or_default()
}

fn states(told: &[Told]) -> Vec<&str> {
    told.iter().map(state).collect()
}

fn is_end_of(told: &Told, operation: &str) -> bool {
    told.value["resourceData"]["id"] == operation && told.value["changeType"] == "deleted"
}
