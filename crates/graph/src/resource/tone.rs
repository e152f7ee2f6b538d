//! `tone` and `toneInfo`: keys pressed at the far end.

use graphophone_call::Tone;
use serde_json::{Value, json};

/// Graph's text for a tone.
pub const fn name(tone: Tone) -> &'static str {
    match tone {
        Tone::Tone0 => "tone0",
        Tone::Tone1 => "tone1",
        Tone::Tone2 => "tone2",
        Tone::Tone3 => "tone3",
        Tone::Tone4 => "tone4",
        Tone::Tone5 => "tone5",
        Tone::Tone6 => "tone6",
        Tone::Tone7 => "tone7",
        Tone::Tone8 => "tone8",
        Tone::Tone9 => "tone9",
        Tone::Star => "star",
        Tone::Pound => "pound",
        Tone::A => "a",
        Tone::B => "b",
        Tone::C => "c",
        Tone::D => "d",
        Tone::Flash => "flash",
    }
}

/// `toneInfo`; `sequence` counts the tones of a call from 1.
pub fn render_info(tone: Tone, sequence: u64) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.toneInfo",
        "sequenceId": sequence,
        "tone": name(tone),
    })
}
