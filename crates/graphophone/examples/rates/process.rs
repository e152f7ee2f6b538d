//! The process on core 0, from outside (its CPU time, its counters) and from inside.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use graphophone::{
    Server,
    auth::{AuthSettings, Authority, Keys, unix_now},
    bench,
    outbox::{DeliverSettings, Deliverer, Outbox, Settings, Trust},
};
use graphophone_call::{AppId, CallId, TenantId};
use graphophone_store::{Commit, NewNotification, NotificationId, Store, UnixMillis, Written};
use graphophone_testkit::dev_config;
use serde_json::{Value, json};
use uuid::Uuid;

/// The child. Told to stop, and awaited, when dropped.
pub(crate) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// This program with other arguments, on core 0; from then on this thread is on core 1.
    pub(crate) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        bench::pin(0)?;
        let spawned = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        bench::pin(1)?;
        let mut child = spawned?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut process = Self { child, orders, answers };
        // Its first line says that it is ready.
        process.answer()?;
        Ok(process)
    }

    /// What its store has made durable.
    pub(crate) fn written(&mut self) -> anyhow::Result<Written> {
        writeln!(self.orders.as_mut().context("it was told to stop")?, "written")?;
        let counts = self.answer()?;
        let count = |key: &str| counts[key].as_u64().with_context(|| format!("no {key}"));
        Ok(Written {
            transactions: count("transactions")?,
            writes: count("writes")?,
            rows: count("rows")?,
        })
    }

    /// CPU time of its threads, in user mode and in the kernel.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        bench::cpu_time(self.child.id())
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the server's process ends");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// `after - before`.
pub(crate) fn difference(after: Written, before: Written) -> Written {
    Written {
        transactions: after.transactions - before.transactions,
        writes: after.writes - before.writes,
        rows: after.rows - before.rows,
    }
}

/// A server of the dev profile on free ports, as the binary runs it, until its input ends.
pub(crate) fn serve(directory: &Path) -> anyhow::Result<()> {
    start_logging();
    let runtime = tokio::runtime::Runtime::new()?;
    let mut config = dev_config(directory);
    // Calls that are being torn down count too.
    config.limits.calls = 10_000;
    // What is measured is where it breaks.
    config.admission.enabled = false;
    let server = runtime.block_on(Server::start(config))?;
    println!("{}", serde_json::to_string(server.ready())?);
    answer_orders(|| server.written())?;
    runtime.block_on(server.shut_down());
    Ok(())
}

/// A store and an outbox; commits `each` notifications for each of `calls` calls as soon as it is
/// told to, one after the other in each call.
pub(crate) fn outbox(directory: &Path, url: &str, calls: u64, each: u64) -> anyhow::Result<()> {
    start_logging();
    let runtime = tokio::runtime::Runtime::new()?;
    let store = Store::open(directory)?;
    let settings = AuthSettings { auto_provision: true, ..AuthSettings::default() };
    let authority = Authority::new(settings, Keys::open(directory)?)
        .map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let deliverer = Deliverer::new(
        Arc::new(|_, _| Ok(())),
        Arc::new(move |notification, _| {
            authority.sign_notification(notification.app, notification.tenant, unix_now())
        }),
        Arc::new(|| UnixMillis(i64::try_from(unix_now()).unwrap_or(0) * 1_000)),
        Trust::system_and(Vec::new()),
        DeliverSettings::default(),
    );
    let outbox = runtime.block_on(Outbox::start(store.clone(), deliverer, Settings::default()))?;
    println!("{}", json!({}));
    let mut is_begun = false;
    answer_orders(|| {
        if !std::mem::replace(&mut is_begun, true) {
            for call in 0..calls {
                let (store, outbox, url) = (store.clone(), outbox.clone(), url.to_owned());
                runtime.spawn(async move {
                    for number in 0..each {
                        let notifications = vec![notification(call, number, &url)];
                        let commit = Commit { notifications, ..Commit::default() };
                        match store.commit(commit).await {
                            Ok(committed) => outbox.enqueue(committed.notifications),
                            Err(error) => return tracing::error!(%error, "not committed"),
                        }
                    }
                });
            }
        }
        store.written()
    })?;
    runtime.block_on(async {
        outbox.shut_down(Duration::from_secs(5)).await;
        store.close().await;
    });
    Ok(())
}

/// The notification of that number of that call; about 1 KB.
pub(crate) fn notification(call: u64, number: u64, url: &str) -> NewNotification {
    let call_id = Uuid::from_u64_pair(7, call);
    let body = json!({
        "@odata.type": "#microsoft.graph.commsNotifications",
        "value": [{
            "@odata.type": "#microsoft.graph.commsNotification",
            "changeType": "updated",
            "resource": format!("/app/calls/{call_id}"),
            "resourceUrl": format!("/communications/calls/{call_id}"),
            "resourceData": { "call": call, "number": number, "filler": "x".repeat(640) },
        }],
    });
    NewNotification {
        id: NotificationId(Uuid::new_v4()),
        call_id: CallId::new(call_id),
        tenant: TenantId::new(Uuid::from_u128(1)),
        app: AppId::new(Uuid::from_u128(2)),
        url: url.to_owned(),
        body: Arc::from(body.to_string().into_bytes()),
        scenario_id: Uuid::from_u64_pair(8, call),
        created_at: UnixMillis(i64::try_from(unix_now()).unwrap_or(0) * 1_000),
    }
}

fn answer_orders(mut written: impl FnMut() -> Written) -> anyhow::Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        let Written { transactions, writes, rows } = written();
        println!("{}", json!({"transactions": transactions, "writes": writes, "rows": rows}));
    }
    Ok(())
}

/// As the binary does it by default.
fn start_logging() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(
            std::env::var("GRAPHOPHONE_LOG").as_deref().unwrap_or("warn"),
        ))
        .with_writer(std::io::stderr)
        .init();
}
