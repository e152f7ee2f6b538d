//! The live view of a playPromptOperation: a bar for each prompt, on a terminal only.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::bot::PromptFile;

/// Bars on stderr, one for each prompt.
pub(super) struct Progress {
    bars: Vec<ProgressBar>,
}

impl Progress {
    /// Shows nothing if `quiet`, or if nobody looks.
    pub(super) fn new(files: &[PromptFile], quiet: bool) -> Self {
        if quiet || !std::io::stderr().is_terminal() {
            return Self { bars: Vec::new() };
        }
        let style = ProgressStyle::with_template(
            "  {msg:<20!} {bar:40.cyan/blue} {pos:>6} of {len} ms {prefix}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let all = MultiProgress::new();
        let bar = |file: &PromptFile| {
            let bar = all.add(ProgressBar::no_length()).with_style(style.clone());
            bar.set_message(file.name.clone());
            bar
        };
        Self { bars: files.iter().map(bar).collect() }
    }

    /// Takes an operation with its receipt.
    pub(super) fn show(&self, operation: &Value) {
        let receipts = operation["graphophoneReceipt"]["prompts"].as_array();
        for (bar, receipt) in self.bars.iter().zip(receipts.into_iter().flatten()) {
            let sent = receipt["millisecondsSent"].as_u64().unwrap_or(0);
            let whole = receipt["durationMs"].as_u64().unwrap_or(0);
            // A bar of no length would be drawn full.
            if whole > 0 {
                bar.set_length(whole.max(sent));
            }
            bar.set_position(sent);
            bar.set_prefix(receipt["reason"].as_str().unwrap_or_default().to_owned());
        }
    }

    pub(super) fn finish(&self) {
        for bar in &self.bars {
            bar.abandon();
        }
    }
}
