//! A running server: everything put together, and taken apart in order.

mod connections;
mod listeners;
mod retention;
mod settings;
mod upkeep;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use graphophone_media::{ear::Ears, engine::Engine, room::Rooms};
use graphophone_sip::{
    Endpoint, IncomingCall,
    phone::{Phone, PhoneConfig},
};
use graphophone_store::{Store, Written};
use reqwest::dns::Resolve;
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tracing::{info, warn};
use uuid::Uuid;

use listeners::{https_url, serve_http, serve_https};
use retention::Keep;
use settings::{
    admission_limits, auth_settings, call_settings, conference_rules, dial_limits, endpoint_config,
    engine_config, prompts_settings, recordings_settings,
};

use crate::{
    api::{self, AppState},
    auth::{Authority, Keys, tls},
    config::{self, Config, Profile},
    engine::{Calls, CallsParts, ConferenceAudio, DialRules, Door, recover, unix_millis},
    outbox::{Deliverer, Outbox, Trust},
    prompts::{Guard, Prompts, SystemResolver},
    recordings::Recordings,
};

/// How long a stopping server waits for its calls to end and its notifications to leave.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The part of it that is left to the last SIP messages (up to 2 s) and to the notifications,
/// however slowly far ends hang up.
const AFTER_CALLS: Duration = Duration::from_secs(5);
/// How long a stop in a hurry takes.
const STOP_NOW: Duration = Duration::from_millis(1_800);

/// Why a server does not start. The text names the setting or the file.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket cannot be bound.
    #[error("{setting} = {address}: the address cannot be used")]
    ConfigListen {
        /// Dotted name of the setting.
        setting: &'static str,
        /// The address it names.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The configuration, or a file that it names, cannot be used: another try will not help.
    #[error("{0}")]
    Config(String, #[source] anyhow::Error),
    /// Something else cannot be set up.
    #[error("{0}")]
    SetUp(String, #[source] anyhow::Error),
}

/// Addresses and credentials of a running server: the ready file of interface.md.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Base URL of plain HTTP.
    pub http: String,
    /// Base URL of HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// SIP addresses.
    pub sip: SipAddresses,
    /// The dev certificate authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// First tenant of the configuration (dev profile only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Uuid>,
    /// First application of the configuration (dev profile only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Uuid>,
    /// Its secret (dev profile only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// What signs its notifications, `whsec_…` (dev profile only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    /// Bearer token of the admin API (dev profile only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token: Option<String>,
    /// User id of the built-in phone, which answers by itself (dev profile only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Process id of the server.
    pub pid: u32,
}

/// Bound SIP sockets.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct SipAddresses {
    /// UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<SocketAddr>,
    /// TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddr>,
}

/// A running server. Dropping it without [`Server::shut_down`] leaves its tasks behind.
pub struct Server {
    ready: Ready,
    state: AppState,
    calls: Calls,
    outbox: Outbox,
    store: Store,
    sip: Endpoint,
    phone: Option<Phone>,
    stop: axum_server::Handle<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    upkeep: Vec<JoinHandle<()>>,
    drain: Duration,
    /// Ends with it.
    _issuers: JoinSet<()>,
}

impl Server {
    /// Binds, recovers what an earlier process left behind, and serves.
    ///
    /// # Errors
    /// [`StartError`]; then nothing serves.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_names(config, Arc::new(SystemResolver)).await
    }

    /// The same, with another resolver than the system's for the hosts of prompts, callbacks and
    /// issuers.
    ///
    /// # Errors
    /// [`StartError`]; then nothing serves.
    pub async fn start_with_names(
        config: Config,
        names: Arc<dyn Resolve>,
    ) -> Result<Self, StartError> {
        tls::install_crypto_provider();
        let is_dev = config.profile == Profile::Dev;
        let directory = config.store.path.clone();
        let store = Store::open(&directory.join("store")).map_err(|error| {
            let fault = if error.is_configuration() { refused } else { set_up };
            fault("store.path: the store does not open", error.into())
        })?;
        let keys = Keys::open(&directory).map_err(|error| {
            let fault = if error.is_configuration() { refused } else { set_up };
            fault("store.path: the signing keys do not load", error.into())
        })?;
        let authority = Authority::new(auth_settings(&config), keys).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            refused("the configuration is refused", anyhow::anyhow!(faults.join("; ")))
        })?;

        let issuers = authority.watch_issuers(&names, &api::own_listeners(&config));
        let outbox = start_outbox(&config, &store, &authority, Arc::clone(&names)).await?;
        let left = recover(&store, &outbox)
            .await
            .map_err(|error| set_up("store.path: the store cannot be recovered", error.into()))?;

        let engine = Engine::start(engine_config(&config)).map_err(|error| {
            set_up("media.threads, media.io: the playout engine does not start", error.into())
        })?;
        let guard = Guard::with_resolver(api::prompt_guard(&config), names);
        let prompts = Prompts::new(prompts_settings(&config), guard).map_err(|error| {
            refused("store.path: the prompt cache cannot be used", error.into())
        })?;
        let recordings = Recordings::open(recordings_settings(&config), Arc::new(unix_millis))
            .map_err(|error| refused("store.path: the recordings cannot be used", error.into()))?;
        let ears = Ears::start(engine_config(&config).threads)
            .map_err(|error| set_up("media.threads: nobody can listen", error.into()))?;
        let rooms = Rooms::start(engine_config(&config).threads).map_err(|error| {
            set_up("media.threads: the conference mixer does not start", error.into())
        })?;
        let door = Door::new(admission_limits(&config));
        let calls = Calls::new(CallsParts {
            store: store.clone(),
            outbox: outbox.clone(),
            prompts: prompts.clone(),
            ears,
            recordings: recordings.clone(),
            settings: call_settings(&config),
            dial: DialRules::new(&config),
            dial_limits: dial_limits(&config),
            max_calls: config.limits.calls,
            door: door.clone(),
            audio: ConferenceAudio { engine: engine.clone(), rooms },
            conferences: conference_rules(&config),
            refers: config.sip.outgoing_refer == config::OutgoingRefer::Try,
        });
        let drain = config.server.drain.0;
        let admit = door.admit_incoming();
        let (sip, incoming) =
            Endpoint::bind_admitting(endpoint_config(&config), engine.clone(), admit)
                .await
                .map_err(|source| StartError::ConfigListen {
                    setting: "sip.listen",
                    address: config
                        .sip
                        .listen
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(", "),
                    source,
                })?;
        calls.attach(sip.clone());
        upkeep::release(&sip, &left).await;

        let addresses = SipAddresses {
            udp: sip.udp_addrs().first().copied(),
            tcp: sip.tcp_addrs().first().copied(),
        };
        let state = AppState::new(
            &config,
            authority,
            calls.clone(),
            (store.clone(), outbox.clone()),
            addresses.udp,
        );
        let router = api::router(state.clone());
        let stop = axum_server::Handle::new();
        let upkeep = vec![
            tokio::spawn(door.watch(engine.clone(), store.clone(), calls.clone())),
            tokio::spawn(retention::prune(store.clone(), Keep::of(&config))),
            tokio::spawn(recordings.delete_on_schedule()),
            tokio::spawn(upkeep::make_room(store.clone(), prompts)),
            tokio::spawn(upkeep::forget_dialogs(store.clone(), left)),
        ];
        let mut tasks = vec![tokio::spawn(take_incoming(incoming, state.clone()))];
        let room = Arc::new(Semaphore::new(config.limits.connections));
        let http = serve_http(&config, router.clone(), &room, &stop, &mut tasks).await?;
        let (https, ca) = serve_https(&config, router, &room, &stop, &mut tasks).await?;

        let phone = match is_dev.then_some(addresses.udp).flatten() {
            Some(server) => Some(start_phone(server, engine).await?),
            None => None,
        };
        if let Some(phone) = &phone {
            state.set_phone(phone.clone());
        }
        let app = config.apps.first().filter(|_| is_dev);
        let ready = Ready {
            http: format!("http://{http}"),
            https: https.and_then(|at| https_url(&config, at)),
            sip: addresses,
            ca,
            tenant: app.map(|app| app.tenant),
            client_id: app.map(|app| app.id),
            client_secret: app.and_then(|app| app.secret.as_ref()).map(|s| s.expose().to_owned()),
            webhook_secret: app
                .and_then(|app| app.webhook_secret.as_ref())
                .map(|s| s.expose().to_owned()),
            admin_token: config
                .admin
                .token
                .as_ref()
                .filter(|_| is_dev)
                .map(|t| t.expose().to_owned()),
            phone: phone.as_ref().map(|_| config::DEV_PHONE_USER_ID.to_owned()),
            pid: std::process::id(),
        };
        info!(http = ready.http, https = ready.https, "serving");
        Ok(Self {
            ready,
            state,
            calls,
            outbox,
            store,
            sip,
            phone,
            stop,
            tasks,
            upkeep,
            drain,
            _issuers: issuers,
        })
    }

    /// Addresses and, in the dev profile, credentials.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The built-in phone of the dev profile.
    pub fn phone(&self) -> Option<&Phone> {
        self.phone.as_ref()
    }

    /// What its store has made durable since the start.
    pub fn written(&self) -> Written {
        self.store.written()
    }

    /// Refuses new work from now on (`/readyz` says so), ends calls that play nothing, and waits for
    /// the prompts of the others, `server.drain` at most. Cancel-safe: what it began goes on.
    pub async fn drain(&self) {
        self.state.set_stopping();
        self.calls.door().close();
        if !self.drain.is_zero() {
            self.calls.drain(Instant::now() + self.drain).await;
        }
    }

    /// Refuses new work, ends all calls, delivers what can be delivered, and stops, within
    /// ten seconds.
    pub async fn shut_down(self) {
        self.stop(STOP_WITHIN, AFTER_CALLS).await;
    }

    /// The same in a hurry, within two seconds: what is not told by then is told by the next start.
    pub async fn shut_down_now(self) {
        self.stop(STOP_NOW, STOP_NOW / 2).await;
    }

    async fn stop(self, within: Duration, after_calls: Duration) {
        let deadline = Instant::now() + within;
        self.state.set_stopping();
        self.calls.door().close();
        self.calls.shut_down(deadline - after_calls).await;
        if let Some(phone) = &self.phone {
            phone.shut_down().await;
        }
        // Peers have up to 2 s to confirm.
        let _ = tokio::time::timeout_at(deadline - after_calls / 4, self.sip.shut_down()).await;
        self.outbox.shut_down(deadline.saturating_duration_since(Instant::now())).await;
        self.stop.graceful_shutdown(Some(Duration::from_millis(500)));
        for task in self.tasks {
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                warn!("a listener does not stop in time");
            }
        }
        self.upkeep.iter().for_each(JoinHandle::abort);
        self.store.close().await;
    }
}

fn set_up(what: &str, error: anyhow::Error) -> StartError {
    StartError::SetUp(what.to_owned(), error)
}

fn refused(what: &str, error: anyhow::Error) -> StartError {
    StartError::Config(what.to_owned(), error)
}

async fn take_incoming(mut incoming: mpsc::Receiver<IncomingCall>, state: AppState) {
    while let Some(call) = incoming.recv().await {
        let state = state.clone();
        tokio::spawn(async move { api::incoming::take(&state, call).await });
    }
}

async fn start_phone(server: SocketAddr, engine: Engine) -> Result<Phone, StartError> {
    let config = PhoneConfig::new(config::DEV_PHONE_USER, config::DEV_PHONE_PASSWORD, server);
    Phone::start(config, engine)
        .await
        .map_err(|error| set_up("the built-in phone does not register", error.into()))
}

async fn start_outbox(
    config: &Config,
    store: &Store,
    authority: &Authority,
    names: Arc<dyn Resolve>,
) -> Result<Outbox, StartError> {
    let guard = Guard::new(api::callback_guard(config));
    let signer = authority.clone();
    let deliverer = Deliverer::new(
        Arc::new(move |url, address| {
            guard.check_addr(url, address).map_err(|refusal| refusal.to_string())
        }),
        Arc::new(move |notification, now| {
            let now = u64::try_from(now.0 / 1_000).unwrap_or(0);
            signer.sign_notification(notification.app, notification.tenant, now)
        }),
        Arc::new(unix_millis),
        Trust::system_and(Vec::new()),
        config.deliver_settings(),
    )
    .with_names(names)
    .signing_with(config.webhook_secrets());
    Outbox::start(store.clone(), deliverer, config.outbox_settings())
        .await
        .map_err(|error| set_up("store.path: owed notifications cannot be read", error.into()))
}
