//! The server under test: this very program as a child process on a core of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    cpu::{self, Cores},
    process,
};

/// A server that does not serve by then is broken.
const START_WITHIN: Duration = Duration::from_secs(20);
/// It hangs up thousands of calls.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Between looks at something that another process does.
const LOOK: Duration = Duration::from_millis(10);

/// Nothing may refuse a call but the machine itself, and admission where that is measured.
const CONFIG: &str = r#"
[rtp]
media_timeout = "0s"
ports = "20000-59999"
[limits]
calls = 100000
[calls]
keep_alive = "24h"
without_bot = "0s"
[media]
threads = 1
[recordings]
disk_budget = "1TiB"
[admission]
enabled = "#;

/// The child; killed when dropped.
pub(super) struct ServerProcess {
    child: Child,
    data: PathBuf,
    ready: Value,
}

impl ServerProcess {
    /// Starts it with its data in `directory`, and waits until it serves.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub(super) fn start(directory: &Path, cores: Cores, admission: bool) -> anyhow::Result<Self> {
        let (config, ready) = (directory.join("bench.toml"), directory.join("ready.json"));
        std::fs::write(&config, format!("{CONFIG}{admission}\n"))?;
        // A ready file of an earlier server would be believed.
        let _ = std::fs::remove_file(&ready);
        let data = directory.join("data");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["dev", "--json", "--http", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(&data)
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // A child inherits the cores of the thread that starts it.
        let start = move || {
            cpu::pin(cores.server).context("the server's core cannot be had")?;
            command.spawn().context("the server does not start")
        };
        let child = std::thread::spawn(start)
            .join()
            .map_err(|_| anyhow::anyhow!("the starting thread panicked"))??;
        let mut server = Self { child, data, ready: Value::Null };
        let deadline = Instant::now() + START_WITHIN;
        while server.ready.is_null() {
            if let Ok(text) = std::fs::read(&ready) {
                server.ready = serde_json::from_slice(&text).context("the ready file")?;
            } else if let Some(status) = server.child.try_wait()? {
                bail!("the server ends at once: {status}");
            } else if Instant::now() > deadline {
                bail!("the server does not serve in time");
            } else {
                std::thread::sleep(LOOK);
            }
        }
        Ok(server)
    }

    /// A text of its ready file.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn ready(&self, key: &str) -> anyhow::Result<&str> {
        self.ready[key].as_str().with_context(|| format!("no {key} in the ready file"))
    }

    /// Where its recordings are.
    pub(super) fn recordings(&self) -> PathBuf {
        self.data.join("recordings")
    }

    /// Its processor time so far.
    ///
    /// # Errors
    /// When it has died.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        process::cpu_time(self.child.id())
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// When it has died.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        process::resident(self.child.id())
    }

    /// Asks it to stop; kills it when it takes too long.
    pub(super) fn stop(mut self) {
        let Ok(raw) = i32::try_from(self.child.id()) else { return };
        let Some(pid) = Pid::from_raw(raw) else { return };
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
