//! One binary for all targets: `GRAPHOPHONE_FUZZ_TARGET` names the one that is fed, the arguments
//! are libFuzzer's. `run.py` builds and starts it.
#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// The variable that names the target.
const VARIABLE: &str = "GRAPHOPHONE_FUZZ_TARGET";

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = found else {
        let known: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!("{VARIABLE} must be one of {}", known.join(" "));
        std::process::exit(2);
    };
    *target
});

fuzz_target!(|data: &[u8]| TARGET(data));
