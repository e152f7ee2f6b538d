//! The real binary as a process of its own, for what only a process can suffer: SIGKILL.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use graphophone::bot::{Bot, Credentials};
use graphophone_call::AppId;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{logs, seen, soon};

/// `graphophone dev` on free ports; killed when dropped.
pub struct ServerProcess {
    child: Child,
    ready: Value,
}

impl ServerProcess {
    /// Starts `binary` with its data in `data`, and waits until it serves.
    pub async fn start(binary: &str, data: &Path) -> Self {
        Self::start_with(binary, data, &[]).await
    }

    /// The same with environment variables.
    pub async fn start_with(binary: &str, data: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_as(binary, data, environment, &[]).await
    }

    /// The same with flags.
    pub async fn start_as(
        binary: &str,
        data: &Path,
        environment: &[(&str, &str)],
        flags: &[&str],
    ) -> Self {
        let ready_file = data.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut command = Command::new(binary);
        command
            .args(["dev", "--json", "--http", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(flags)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(log) = logs::of_process("dev") {
            command.args(["--log", logs::LEVEL]).stderr(log);
        }
        let child = command.spawn().expect("the binary starts");
        let mut process = Self { child, ready: Value::Null };
        process.ready = seen("the ready file", || async {
            let text = std::fs::read(&ready_file).ok()?;
            Some(serde_json::from_slice(&text).expect("the ready file is JSON"))
        })
        .await;
        process
    }

    /// What it wrote to the ready file.
    pub fn ready(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} in {}", self.ready))
    }

    /// Where it listens for SIP over UDP.
    pub fn sip(&self) -> SocketAddr {
        let at = self.ready["sip"]["udp"].as_str().and_then(|at| at.parse().ok());
        at.unwrap_or_else(|| panic!("sip.udp in {}", self.ready))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `GET /graphophone/v1/…` with the admin token.
    pub async fn admin(&self, path: &str) -> Value {
        let url = format!("{}/graphophone/v1/{path}", self.ready("http"));
        let client = graphophone::bot::http_client().expect("a client");
        let response = client.get(url).bearer_auth(self.ready("adminToken")).send().await;
        response.expect("a response").json().await.expect("JSON")
    }

    /// The Graph identity of the built-in phone.
    pub fn phone_identity(&self) -> Value {
        serde_json::json!({"user": {"id": self.ready("phone")}})
    }

    /// A bot of the first application.
    pub async fn bot(&self) -> Bot {
        self.bot_at(TcpListener::bind("127.0.0.1:0").await.expect("a free port")).await
    }

    /// The same, where it is told of calls.
    pub async fn bot_at(&self, listener: TcpListener) -> Bot {
        let credentials = Credentials {
            tenant: self.ready("tenant").to_owned(),
            client_id: AppId::new(self.ready("clientId").parse().expect("a GUID")),
            client_secret: self.ready("clientSecret").to_owned(),
        };
        Bot::start(self.ready("http"), credentials, listener).await.expect("the bot starts")
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    }

    /// Waits until it has ended by itself; its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = soon("the end of the process", async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        status.await.code()
    }

    /// SIGKILL: no destructor, no last word.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
