//! The process that is killed, always at the same addresses.

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;
use tokio::time::{Instant, sleep};

const STARTS_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct ServerUnderFire {
    binary: PathBuf,
    directory: PathBuf,
    child: Option<Child>,
    pub(crate) http: SocketAddr,
    /// What the ready file said.
    pub(crate) credentials: Value,
}

impl ServerUnderFire {
    pub(crate) async fn start(binary: PathBuf, directory: &Path) -> anyhow::Result<Self> {
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let sip = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = format!(
            "[http]\nlisten = \"{http}\"\n[https]\nlisten = \"127.0.0.1:0\"\n\
             [sip]\nlisten = [\"udp:{sip}\"]\ndigest = [\"MD5\"]\n\
             [rtp]\nports = \"20000-31999\"\nbind = \"127.0.0.1\"\n\
             [callbacks]\ntimeout = \"5s\"\n[server]\ndrain = \"60s\"\n",
        );
        std::fs::write(directory.join("kill.toml"), config)?;
        let directory = directory.to_owned();
        let mut server = Self { binary, directory, child: None, http, credentials: Value::Null };
        server.spawn()?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        let _ = std::fs::remove_file(self.ready_file());
        let log = self.directory.join("server.log");
        let log: File = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(&self.binary)
            .args(["dev", "--json", "--config"])
            .arg(self.directory.join("kill.toml"))
            .arg("--data")
            .arg(self.directory.join("data"))
            .arg("--ready-file")
            .arg(self.ready_file())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the server does not start")?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            if let Ok(text) = std::fs::read(self.ready_file()) {
                self.credentials = serde_json::from_slice(&text)?;
                return Ok(());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            anyhow::ensure!(
                ended.is_none(),
                "the server ends at its start: {ended:?}, see server.log"
            );
            anyhow::ensure!(Instant::now() < deadline, "the server does not start in time");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGTERM; waits for the end. How long `/readyz` took to say so, and how long the drain took.
    pub(crate) async fn drain(&mut self) -> anyhow::Result<(Duration, Duration)> {
        let mut child = self.child.take().context("it was stopped before")?;
        let pid = rustix::process::Pid::from_child(&child);
        // Made before: that takes longer than what is measured.
        let http = reqwest::Client::new();
        let begun = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let url = format!("http://{}/readyz", self.http);
        while http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            sleep(Duration::from_millis(1)).await;
        }
        let said = begun.elapsed();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None => sleep(Duration::from_millis(5)).await,
            }
        };
        anyhow::ensure!(status.success(), "a drained server ends with {status}");
        Ok((said, begun.elapsed()))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn ready_file(&self) -> PathBuf {
        self.directory.join("ready.json")
    }
}

impl Drop for ServerUnderFire {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
