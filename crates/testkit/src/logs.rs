//! What servers log while they are tested, kept where `./test.sh` looks for secrets afterwards.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, OnceLock},
};

use tracing_subscriber::EnvFilter;

/// Directory for logs; without it none are kept.
const DIRECTORY: &str = "GRAPHOPHONE_TEST_LOGS";
/// Everything that an operator is likely to turn on. TRACE has a test of its own (`it/canary.rs`).
pub(crate) const LEVEL: &str = "debug";

/// Begins to log for all servers of this process; once, however often it is called.
pub(crate) fn begin() {
    static BEGUN: OnceLock<()> = OnceLock::new();
    BEGUN.get_or_init(|| {
        let Some(directory) = directory() else { return };
        let program = std::env::current_exe().expect("this program has a name");
        let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = create(&directory, &name);
        let _ = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(LEVEL))
            .with_ansi(false)
            .with_writer(Arc::new(file))
            .try_init();
    });
}

/// Where a server in a process of its own logs to: a file, if logs are kept.
pub(crate) fn of_process(name: &str) -> Option<Stdio> {
    directory().map(|directory| create(&directory, name).into())
}

fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn create(directory: &Path, name: &str) -> File {
    std::fs::create_dir_all(directory).expect("the directory of the logs can be made");
    let file = tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .suffix(".log")
        .tempfile_in(directory)
        .expect("a log file can be made");
    file.keep().expect("the log file stays").0
}
