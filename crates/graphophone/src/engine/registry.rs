//! The map of live calls: making them, finding them, asking them.

mod parts;
mod place;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use graphophone_call::{
    AccessToken, AppId, Call, CallId, CallState, Command, Operation, OperationId, OperationKind,
    Settings, TenantId,
};
use graphophone_graph::resource::{call::CallDetails, receipt::Receipt};
use graphophone_media::ear::Ears;
use graphophone_sip::{Endpoint, LegHandle};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    bridge::Plan,
    call_task::{CallTask, Line},
    conference::Conferences,
    dial::{DialError, DialRules, Target},
    door::Door,
    ledger::Ledger,
    participants::GroupView,
    quota::{Permit, Quota},
    request::{CommandError, Once, Request, View, Wish},
};
use crate::{outbox::Outbox, prompts::Prompts, recordings::Recordings};

pub use parts::{CallsParts, CreateError};

/// Requests waiting for one call's task. A bot that asks for more waits in its HTTP request.
const REQUESTS: usize = 64;

/// All live calls of this server. Clones share them.
#[derive(Clone)]
pub struct Calls {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) prompts: Prompts,
    pub(super) ears: Ears,
    pub(super) recordings: Recordings,
    pub(super) settings: Settings,
    pub(super) dial: DialRules,
    pub(super) quota: Quota,
    max_calls: usize,
    pub(super) door: Door,
    pub(super) conferences: Conferences,
    pub(super) sip: OnceLock<Endpoint>,
    /// Far ends are asked to transfer calls themselves (REFER) before we do it for them.
    pub(super) refers: bool,
    begun: Instant,
    calls: Mutex<HashMap<CallId, Entry>>,
    pub(super) tasks: TaskTracker,
    /// No call is to begin, and each to end when what it plays has ended.
    pub(super) draining: CancellationToken,
    /// Every call is to end, and no new one to begin.
    pub(super) stopping: CancellationToken,
    /// What calls still want to store is left to the next start.
    pub(super) abandoned: CancellationToken,
}

/// A call's place in the map; given up when dropped, whatever becomes of the call's task.
pub(super) struct Listed {
    pub(super) shared: Arc<Shared>,
    id: CallId,
    /// Leave for an outgoing call.
    permit: Option<Permit>,
}

impl Listed {
    /// The call's leave, for whoever has its leg from now on.
    pub(super) fn give_permit(&mut self) -> Option<Permit> {
        self.permit.take()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.id);
    }
}

#[derive(Clone)]
struct Entry {
    made: Instant,
    requests: mpsc::Sender<Request>,
    view: watch::Receiver<View>,
}

/// How a call begins, beside its machine and its details.
pub(super) struct Begun {
    pub(super) line: Line,
    /// What ends its SIP dialogs after a crash: one in each line.
    pub(super) dialog: Option<String>,
    /// The request that asked for it, if that must not be carried out again.
    pub(super) once: Option<Once>,
    /// Its place among the outgoing calls of its application.
    pub(super) permit: Option<Permit>,
}

impl Calls {
    /// No calls yet; [`Calls::attach`] names the SIP endpoint.
    pub fn new(parts: CallsParts) -> Self {
        Self {
            shared: Arc::new(Shared {
                ledger: Ledger { store: parts.store, outbox: parts.outbox },
                prompts: parts.prompts,
                ears: parts.ears,
                recordings: parts.recordings,
                settings: parts.settings,
                dial: parts.dial,
                quota: Quota::new(parts.dial_limits),
                max_calls: parts.max_calls,
                door: parts.door,
                conferences: Conferences::new(parts.conferences, parts.audio),
                sip: OnceLock::new(),
                refers: parts.refers,
                begun: Instant::now(),
                calls: Mutex::default(),
                tasks: TaskTracker::new(),
                draining: CancellationToken::new(),
                stopping: CancellationToken::new(),
                abandoned: CancellationToken::new(),
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

    /// The recordings.
    pub fn recordings(&self) -> &Recordings {
        &self.shared.recordings
    }

    /// Who decides whether the load leaves room for new calls.
    pub fn door(&self) -> &Door {
        &self.shared.door
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
        once: Option<Once>,
    ) -> Result<View, CreateError> {
        let route = self.shared.dial.route(target)?;
        let now = Instant::now().into_std();
        let permit = self.shared.quota.take(now, details.app)?;
        self.shared.door.admit()?;
        let mut settings = self.shared.settings.clone();
        let ring_timeout = ring_for(&settings, &details);
        settings.ring_for = ring_timeout;
        let call = Call::outgoing(now, settings, service_hosted);
        let (shared, app) = (Arc::clone(&self.shared), details.app);
        // Whoever traces a call finds it by the same id in SIP; 122 bits of it are random.
        let sip_call_id = details.id.uuid().simple().to_string();
        let dialog = Some(graphophone_sip::invited(&sip_call_id));
        let dial =
            move |sinks| shared.place_call(route, app, ring_timeout, sip_call_id, sinks).boxed();
        let line = Line::Dial(Box::new(dial));
        self.start(call, details, Begun { line, dialog, once, permit: Some(permit) }).await
    }

    /// Takes in an incoming leg for a bot and notifies it. The endpoint has asked [`Door`] already.
    ///
    /// # Errors
    /// [`CreateError`]; the leg is then dropped, which refuses it.
    pub async fn incoming(
        &self,
        details: CallDetails,
        leg: LegHandle,
        dialog: String,
    ) -> Result<View, CreateError> {
        let now = Instant::now().into_std();
        let call = Call::incoming(now, self.shared.settings.clone());
        let line = Line::Ringing(leg);
        let begun = Begun { line, dialog: Some(dialog), once: None, permit: None };
        self.start(call, details, begun).await
    }

    pub(super) async fn start(
        &self,
        call: Call,
        details: CallDetails,
        begun: Begun,
    ) -> Result<View, CreateError> {
        let Begun { line, dialog, once, permit } = begun;
        let id = details.id;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (born, durable) = oneshot::channel();
        {
            let mut calls = self.shared.lock();
            if self.shared.draining.is_cancelled() {
                return Err(CommandError::Stopping.into());
            }
            if calls.len() >= self.shared.max_calls {
                return Err(CreateError::TooManyCalls);
            }
            let shared = Arc::clone(&self.shared);
            let listed = Listed { shared, id, permit };
            let (task, view) = CallTask::new(call, details, dialog, listed, receiver);
            calls.insert(id, Entry { made: Instant::now(), requests, view });
            self.shared.tasks.spawn(task.run(line, once, born));
        }
        Ok(durable.await.unwrap_or(Err(CommandError::NotStored))?)
    }

    /// A live call, if it belongs to this application. Foreign calls are like absent ones.
    pub fn view(&self, owner: (TenantId, AppId), id: CallId) -> Option<View> {
        self.shared.find(owner, id).map(|(_, view)| view).filter(is_live)
    }

    /// A call of this application, live or ended, as far as it is kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kept(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
    ) -> Result<Option<View>, graphophone_store::StoreError> {
        if let Some(view) = self.view(owner, id) {
            return Ok(Some(view));
        }
        let record = self.shared.ledger.store.call(id).await?;
        let record = record.filter(|record| (record.tenant, record.app) == owner);
        Ok(record.and_then(|record| {
            let details = serde_json::from_str(&record.details_json).ok()?;
            let state = CallState::Terminated;
            Some(View {
                state,
                media_active: None,
                tone: None,
                group: GroupView::default(),
                result: None,
                details: Arc::new(details),
            })
        }))
    }

    /// Whether a target may be dialled, by the rules.
    ///
    /// # Errors
    /// [`DialError`].
    pub fn check_target(&self, target: &Target) -> Result<(), DialError> {
        self.shared.dial.route(target).map(drop)
    }

    /// All live calls of an application, oldest first, each with a number that rises with their
    /// age: where it stands in the list, from 1.
    pub fn list(&self, owner: (TenantId, AppId)) -> Vec<(i64, View)> {
        let rank = |made: Instant| {
            let since = made.saturating_duration_since(self.shared.begun).as_nanos();
            i64::try_from(since).unwrap_or(i64::MAX).saturating_add(1)
        };
        let mut calls: Vec<(i64, View)> = self
            .shared
            .lock()
            .values()
            .map(|entry| (rank(entry.made), entry.view.borrow().clone()))
            .filter(|(_, view)| is_owned(view, owner) && is_live(view))
            .collect();
        calls.sort_by_key(|(rank, view)| (*rank, view.details.id.to_string()));
        calls
    }

    /// Number of live calls.
    pub fn count(&self) -> usize {
        self.shared.lock().len()
    }

    /// Gives a command to a call. The operation it made comes back, if it made one.
    ///
    /// # Errors
    /// [`CommandError`]; then nothing has changed, with one exception that it names.
    pub async fn command(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
        command: Command,
        details: Option<CallDetails>,
        once: Option<Once>,
    ) -> Result<Option<Operation>, CommandError> {
        let (entry, _) = self.shared.find(owner, id).ok_or(CommandError::NotFound)?;
        let (reply, answer) = oneshot::channel();
        let details = details.map(Arc::new);
        let wish = Box::new(Wish { command, details, once, plan: None });
        let request = Request::Command { wish, reply };
        entry.requests.send(request).await.map_err(|_| CommandError::NotFound)?;
        answer.await.unwrap_or(Err(CommandError::NotFound))
    }

    /// Hands a call on ([`super::handover`]).
    pub(super) async fn hand_on(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
        command: Command,
        details: Option<CallDetails>,
        plan: Plan,
    ) -> Result<(), CommandError> {
        let (entry, _) = self.shared.find(owner, id).ok_or(CommandError::NotFound)?;
        let (reply, answer) = oneshot::channel();
        let (details, plan) = (details.map(Arc::new), Some(plan));
        let wish = Box::new(Wish { command, details, once: None, plan });
        let request = Request::Command { wish, reply };
        entry.requests.send(request).await.map_err(|_| CommandError::NotFound)?;
        answer.await.unwrap_or(Err(CommandError::NotFound)).map(drop)
    }

    /// Where to ask a live call of this application, and as what others see it.
    pub(super) fn line_to(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
    ) -> Option<(mpsc::Sender<Request>, View)> {
        self.shared.line_to(owner, id)
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
                return Ok(Some((self.with_fresh_token(operation), Some(receipt))));
            }
        }
        let stored = self.shared.ledger.operation(id).await?;
        Ok(stored.and_then(|(record, operation, receipt)| {
            let is_theirs = (record.tenant, record.app) == owner && record.call_id == call;
            is_theirs.then(|| (self.with_fresh_token(operation), receipt))
        }))
    }

    /// Its owner reads it: the recording can be had for a while from now on.
    fn with_fresh_token(&self, mut operation: Operation) -> Operation {
        if let OperationKind::RecordResponse { recorded: Some(recorded), .. } = &mut operation.kind
            && let Some(token) = self.shared.recordings.fresh_token(operation.id)
        {
            recorded.access_token = AccessToken(token.expose().to_owned());
        }
        operation
    }

    /// The ids of all operations of a call of this application, oldest first; `None` if there is
    /// no such call, live or kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn operation_ids(
        &self,
        owner: (TenantId, AppId),
        call: CallId,
    ) -> Result<Option<Vec<OperationId>>, graphophone_store::StoreError> {
        let store = &self.shared.ledger.store;
        let is_theirs =
            store.call(call).await?.is_some_and(|record| (record.tenant, record.app) == owner);
        if !is_theirs {
            return Ok(None);
        }
        let records = store.operations_of_call(call).await?;
        Ok(Some(records.into_iter().map(|record| record.id).collect()))
    }

    /// From now on no call begins, and each ends when nothing plays or waits in it that comes to an
    /// end by itself. Comes back when the last one is stored, at `deadline` at the latest.
    pub async fn drain(&self, deadline: Instant) {
        {
            // Whoever begins a call holds this lock: it is refused, or ends with the others.
            let _calls = self.shared.lock();
            self.shared.draining.cancel();
            self.shared.tasks.close();
        }
        if tokio::time::timeout_at(deadline, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(calls = self.count(), "calls still play at the end of the drain");
        }
    }

    /// Ends all calls and waits until that is stored, at most until `deadline`. From now on no
    /// call begins.
    pub async fn shut_down(&self, deadline: Instant) {
        {
            let _calls = self.shared.lock();
            self.shared.draining.cancel();
            self.shared.stopping.cancel();
            self.shared.tasks.close();
        }
        if tokio::time::timeout_at(deadline, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(calls = self.count(), "calls are still up at the end of the shut-down");
            self.shared.abandoned.cancel();
        }
    }
}

impl Shared {
    fn find(&self, owner: (TenantId, AppId), id: CallId) -> Option<(Entry, View)> {
        let entry = self.lock().get(&id).cloned()?;
        let view = entry.view.borrow().clone();
        is_owned(&view, owner).then_some((entry, view))
    }

    /// Where to ask a live call of an application.
    pub(super) fn line_to(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
    ) -> Option<(mpsc::Sender<Request>, View)> {
        let found = self.find(owner, id).filter(|(_, view)| is_live(view));
        found.map(|(entry, view)| (entry.requests, view))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, Entry>> {
        // The map is whole after any panic: each change is one insert or remove.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to ring: the bot's wish (beta `ringingTimeoutInSeconds`), else the configuration's.
pub(super) fn ring_for(settings: &Settings, details: &CallDetails) -> Duration {
    details.ringing_seconds.map_or(settings.ring_for, |seconds| Duration::from_secs(seconds.into()))
}

/// A call whose task closes its books is over for everybody else.
fn is_live(view: &View) -> bool {
    view.state != CallState::Terminated
}

fn is_owned(view: &View, owner: (TenantId, AppId)) -> bool {
    (view.details.tenant, view.details.app) == owner
}

#[cfg(test)]
mod tests;
