//! The map of live calls: making them, finding them, asking them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use graphophone_call::{
    AppId, Call, CallId, CallState, Command, Operation, OperationId, ResultInfo, Settings, TenantId,
};
use graphophone_graph::resource::{call::CallDetails, receipt::Receipt};
use graphophone_sip::{Endpoint, LegHandle, LegSinks, OutgoingCall};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use super::{
    call_task::{CallTask, CommandError, Line, Request, View},
    dial::{DialError, DialRules, Route, Target},
    ledger::Ledger,
};
use crate::{outbox::Outbox, prompts::Prompts};

/// Requests waiting for one call's task. A bot that asks for more waits in its HTTP request.
const REQUESTS: usize = 64;

/// All live calls of this server. Clones share them.
#[derive(Clone)]
pub struct Calls {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) prompts: Prompts,
    settings: Settings,
    dial: DialRules,
    max_calls: usize,
    sip: OnceLock<Endpoint>,
    calls: Mutex<HashMap<CallId, Entry>>,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Entry {
    made: Instant,
    requests: mpsc::Sender<Request>,
    view: watch::Receiver<View>,
}

/// What a [`Calls`] is made of.
pub struct CallsParts {
    /// Where facts become durable.
    pub store: graphophone_store::Store,
    /// Where notifications go.
    pub outbox: Outbox,
    /// Where audio comes from.
    pub prompts: Prompts,
    /// Times and limits of every call.
    pub settings: Settings,
    /// What may be dialled.
    pub dial: DialRules,
    /// Most calls at one time.
    pub max_calls: usize,
}

/// Why a call is not made. Nothing was dialled or stored.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The target is refused.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server has as many calls as it is allowed.
    #[error("The server is at its limit of calls (limits.calls): try again later")]
    TooManyCalls,
    /// The call could not be made durable.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Calls {
    /// No calls yet; [`Calls::attach`] names the SIP endpoint.
    pub fn new(parts: CallsParts) -> Self {
        Self {
            shared: Arc::new(Shared {
                ledger: Ledger { store: parts.store, outbox: parts.outbox },
                prompts: parts.prompts,
                settings: parts.settings,
                dial: parts.dial,
                max_calls: parts.max_calls,
                sip: OnceLock::new(),
                calls: Mutex::default(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Names the endpoint that carries the calls. The first one stays.
    pub fn attach(&self, sip: Endpoint) {
        let _ = self.shared.sip.set(sip);
    }

    /// The outbox, to hold a call's notifications back until a response is written.
    pub fn outbox(&self) -> &Outbox {
        &self.shared.ledger.outbox
    }

    /// The prompt cache.
    pub fn prompts(&self) -> &Prompts {
        &self.shared.prompts
    }

    /// Makes an outgoing call and dials once it is durable.
    ///
    /// # Errors
    /// [`CreateError`]; whatever goes wrong after dialling is told by notifications.
    pub async fn create(
        &self,
        details: CallDetails,
        target: &Target,
        service_hosted: bool,
    ) -> Result<View, CreateError> {
        let route = self.shared.dial.route(target)?;
        let now = Instant::now().into_std();
        let mut settings = self.shared.settings.clone();
        settings.ring_for = ring_for(&settings, &details);
        let call = Call::outgoing(now, settings, service_hosted);
        self.start(call, details, Line::Dial(route)).await
    }

    /// Takes in an incoming leg for a bot and notifies it.
    ///
    /// # Errors
    /// [`CreateError`]; the leg is then dropped, which refuses it.
    pub async fn incoming(
        &self,
        details: CallDetails,
        leg: LegHandle,
    ) -> Result<View, CreateError> {
        let now = Instant::now().into_std();
        let call = Call::incoming(now, self.shared.settings.clone());
        self.start(call, details, Line::Ringing(leg)).await
    }

    async fn start(
        &self,
        call: Call,
        details: CallDetails,
        line: Line,
    ) -> Result<View, CreateError> {
        let id = details.id;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (task, view) = CallTask::new(call, details, Arc::clone(&self.shared), receiver);
        {
            let mut calls = self.shared.lock();
            if calls.len() >= self.shared.max_calls {
                return Err(CreateError::TooManyCalls);
            }
            calls.insert(id, Entry { made: Instant::now(), requests, view: view.clone() });
        }
        let (born, durable) = oneshot::channel();
        self.shared.tasks.spawn(task.run(line, born));
        match durable.await.unwrap_or(Err(CommandError::NotStored)) {
            Ok(()) => Ok(view.borrow().clone()),
            Err(error) => {
                self.shared.remove(id);
                Err(error.into())
            }
        }
    }

    /// A live call, if it belongs to this application. Foreign calls are like absent ones.
    pub fn view(&self, owner: (TenantId, AppId), id: CallId) -> Option<View> {
        self.shared.find(owner, id).map(|(_, view)| view).filter(is_live)
    }

    /// All live calls of an application, oldest first.
    pub fn list(&self, owner: (TenantId, AppId)) -> Vec<View> {
        let mut calls: Vec<(Instant, View)> = self
            .shared
            .lock()
            .values()
            .map(|entry| (entry.made, entry.view.borrow().clone()))
            .filter(|(_, view)| is_owned(view, owner) && is_live(view))
            .collect();
        calls.sort_by_key(|(made, _)| *made);
        calls.into_iter().map(|(_, view)| view).collect()
    }

    /// Number of live calls.
    pub fn count(&self) -> usize {
        self.shared.lock().len()
    }

    /// Gives a command to a call. The operation it made comes back, if it made one.
    ///
    /// # Errors
    /// [`CommandError`]; then nothing has changed.
    pub async fn command(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
        command: Command,
        details: Option<CallDetails>,
    ) -> Result<Option<Operation>, CommandError> {
        let (entry, _) = self.shared.find(owner, id).ok_or(CommandError::NotFound)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Command { command, details: details.map(Arc::new), reply };
        entry.requests.send(request).await.map_err(|_| CommandError::NotFound)?;
        answer.await.unwrap_or(Err(CommandError::NotFound))
    }

    /// An operation as it is now, live or ended, if it belongs to this application and call.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn operation(
        &self,
        owner: (TenantId, AppId),
        call: CallId,
        id: OperationId,
    ) -> Result<Option<(Operation, Option<Receipt>)>, graphophone_store::StoreError> {
        if let Some((entry, _)) = self.shared.find(owner, call) {
            let (reply, answer) = oneshot::channel();
            let asked = entry.requests.send(Request::Operation { id, reply }).await;
            if asked.is_ok()
                && let Ok(Some((operation, receipt))) = answer.await
            {
                return Ok(Some((operation, Some(receipt))));
            }
        }
        let stored = self.shared.ledger.operation(id).await?;
        Ok(stored.and_then(|(record, operation, receipt)| {
            let is_theirs = (record.tenant, record.app) == owner && record.call_id == call;
            is_theirs.then_some((operation, receipt))
        }))
    }

    /// All operations of a call of this application, oldest first; `None` if there is no such
    /// call, live or kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn operations(
        &self,
        owner: (TenantId, AppId),
        call: CallId,
    ) -> Result<Option<Vec<(Operation, Option<Receipt>)>>, graphophone_store::StoreError> {
        let store = &self.shared.ledger.store;
        let is_theirs =
            store.call(call).await?.is_some_and(|record| (record.tenant, record.app) == owner);
        if !is_theirs {
            return Ok(None);
        }
        let mut operations = Vec::new();
        for record in store.operations_of_call(call).await? {
            // The live one knows how far it is.
            operations.extend(self.operation(owner, call, record.id).await?);
        }
        Ok(Some(operations))
    }

    /// Hangs all calls up and waits until their ends are stored, at most until `deadline`.
    pub async fn shut_down(&self, deadline: Instant) {
        let entries: Vec<_> = self.shared.lock().values().cloned().collect();
        for entry in entries {
            let (reply, _) = oneshot::channel();
            let request = Request::Command { command: Command::HangUp, details: None, reply };
            let _ = entry.requests.try_send(request);
        }
        self.shared.tasks.close();
        if tokio::time::timeout_at(deadline, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(calls = self.count(), "calls are still up at the end of the shut-down");
        }
    }
}

impl Shared {
    pub(super) async fn place_call(
        &self,
        details: &CallDetails,
        route: Route,
        sinks: LegSinks,
    ) -> Result<LegHandle, ResultInfo> {
        let failed = |text: &str| ResultInfo::of_call(500, 9001, text);
        let sip = self.sip.get().ok_or_else(|| failed("SIP is not configured (sip.listen)."))?;
        let (target, trunk) = match route {
            Route::Uri { uri, trunk } => (uri, trunk),
            Route::Registered { user_id } => {
                let contact = sip.contact_of(&user_id).await.ok_or_else(|| {
                    ResultInfo::of_call(480, 10037, "No phone is registered for this user.")
                })?;
                (contact, None)
            }
        };
        let call = OutgoingCall {
            target,
            trunk,
            from_user: details.app.to_string(),
            from_display: None,
            ring_timeout: ring_for(&self.settings, details),
            sinks,
        };
        sip.call(call)
            .await
            .map_err(|error| failed(&format!("The call cannot be placed: {error}.")))
    }

    pub(super) fn remove(&self, id: CallId) {
        self.lock().remove(&id);
    }

    fn find(&self, owner: (TenantId, AppId), id: CallId) -> Option<(Entry, View)> {
        let entry = self.lock().get(&id).cloned()?;
        let view = entry.view.borrow().clone();
        is_owned(&view, owner).then_some((entry, view))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, Entry>> {
        // The map is whole after any panic: each change is one insert or remove.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to ring: the bot's wish (beta `ringingTimeoutInSeconds`), else the configuration's.
fn ring_for(settings: &Settings, details: &CallDetails) -> Duration {
    details.ringing_seconds.map_or(settings.ring_for, |seconds| Duration::from_secs(seconds.into()))
}

/// A call whose task closes its books is over for everybody else.
fn is_live(view: &View) -> bool {
    view.state != CallState::Terminated
}

fn is_owned(view: &View, owner: (TenantId, AppId)) -> bool {
    (view.details.tenant, view.details.app) == owner
}
