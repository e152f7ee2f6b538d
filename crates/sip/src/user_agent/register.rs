//! Keeps our own registrations at trunks (RFC 3261 §10.2).

use std::time::{Duration, Instant};

use sipx_sip::{HeaderName, Host, Method, Response, Uri, auth::Credentials, headers::ContactValue};

use super::{
    Output, UserAgent,
    answers::{Account, Answers},
    flow::{Flow, LinkId, Transport},
    message,
    timers::Timer,
    transactions::Purpose,
};
use crate::result_info::Cause;

/// Lifetime we ask for.
const LIFETIME: Duration = Duration::from_secs(600);
/// First and longest pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause a trunk may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Longest lifetime a trunk may insist on.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How our registration at a trunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegistrationState {
    /// Not asked for, or the request is out.
    Pending,
    /// The trunk knows where we are.
    Registered,
    /// The last try failed with this status; 408 also for no response. Tried again later.
    Failed(u16),
}

/// One registration.
pub(super) struct TrunkRegistration {
    registrar: Uri,
    flow: Flow,
    /// Address-of-record.
    aor: String,
    user: String,
    account: Option<Account>,
    call_id: String,
    tag: String,
    cseq: u32,
    answers: Answers,
    pause: Duration,
    /// Asked for last; zero to unregister.
    lifetime: Duration,
}

impl UserAgent {
    /// Registers at a trunk and keeps registered. `flow` leads there; a later one is taken from the
    /// next request on.
    pub(crate) fn register(&mut self, now: Instant, trunk: usize, registrar: Uri, flow: Flow) {
        if let Some(Some(known)) = self.registrations.get_mut(trunk) {
            known.flow = flow;
            return;
        }
        // A look-up may end after the good-bye.
        let Some(config) = self.config.trunks.get(trunk).filter(|_| !self.stopping) else { return };
        let user = config.username.clone().unwrap_or_default();
        let host = registrar.host().map(ToString::to_string).unwrap_or_default();
        let account = config.password.as_ref().map(|password| Account {
            credentials: Credentials::new(user.clone(), password.clone()),
            realm: config.realm.clone(),
        });
        let registration = TrunkRegistration {
            aor: format!("<sip:{}@{host}>", message::escaped_user(&user)),
            registrar,
            flow,
            user,
            account,
            call_id: self.ids.call_id(),
            tag: self.ids.tag(),
            cseq: self.ids.first_cseq(),
            answers: Answers::default(),
            pause: FIRST_PAUSE,
            lifetime: LIFETIME,
        };
        self.registrations[trunk] = Some(registration);
        self.refresh_registration(now, trunk);
    }

    pub(super) fn refresh_registration(&mut self, now: Instant, trunk: usize) {
        if let Some(Some(registration)) = self.registrations.get_mut(trunk) {
            registration.answers = Answers::default();
            self.send_register(now, trunk);
        }
    }

    /// Says good-bye to every trunk, without waiting for success.
    pub(super) fn unregister_all(&mut self, now: Instant) {
        for trunk in 0..self.registrations.len() {
            self.timers.stop(&Timer::Registration(trunk));
            if let Some(registration) = &mut self.registrations[trunk] {
                registration.lifetime = Duration::ZERO;
                self.refresh_registration(now, trunk);
            }
        }
    }

    /// A registration over TCP is only as good as its connection.
    pub(super) fn registration_link_closed(&mut self, now: Instant, link: LinkId) {
        for trunk in 0..self.registrations.len() {
            let Some(registration) = &self.registrations[trunk] else { continue };
            let flow = registration.flow;
            let waits = self.timers.is_set(&Timer::Registration(trunk));
            if flow.transport == Transport::Tcp && flow.link == link && waits && !self.stopping {
                self.timers.set(Timer::Registration(trunk), now + FIRST_PAUSE);
            }
        }
    }

    fn send_register(&mut self, now: Instant, trunk: usize) {
        let branch = self.ids.branch();
        let Some(Some(registration)) = self.registrations.get_mut(trunk) else { return };
        registration.cseq += 1;
        let TrunkRegistration { flow, aor, user, call_id, tag, cseq, lifetime, .. } = registration;
        let mut headers = vec![
            (HeaderName::Via, message::via(flow, &branch)),
            (HeaderName::MaxForwards, "70".to_owned()),
            (HeaderName::From, format!("{aor};tag={tag}")),
            (HeaderName::To, aor.clone()),
            (HeaderName::CallId, call_id.clone()),
            (HeaderName::CSeq, format!("{cseq} REGISTER")),
            (HeaderName::Contact, message::our_contact(flow, user)),
            (HeaderName::Expires, lifetime.as_secs().to_string()),
            (HeaderName::UserAgent, self.config.agent.clone()),
        ];
        headers.extend(registration.answers.headers());
        let flow = *flow;
        let uri = registrar_uri(&registration.registrar);
        if let Some(request) = message::request(Method::Register, uri, headers, None) {
            self.send_request(now, flow, request, Purpose::Register(trunk));
        }
    }

    pub(super) fn register_outcome(
        &mut self,
        now: Instant,
        trunk: usize,
        outcome: Result<Response, Cause>,
    ) {
        let Some(Some(registration)) = self.registrations.get_mut(trunk) else { return };
        let status = match &outcome {
            Ok(response) if response.status.is_provisional() => return,
            Ok(response) => response.status.code(),
            Err(_) => 408,
        };
        let asked = registration.lifetime;
        if let Ok(response) = &outcome
            && let Some(account) = &registration.account
        {
            let uri = registrar_uri(&registration.registrar).to_bytes();
            let uri = String::from_utf8_lossy(&uri);
            let cnonce = self.ids.tag();
            if registration.answers.take(response, account, "REGISTER", &uri, &cnonce) {
                return self.send_register(now, trunk);
            }
        }
        if asked.is_zero() {
            self.registrations[trunk] = None;
            return;
        }
        let wait = |name: &HeaderName| {
            let response = outcome.as_ref().ok()?;
            message::seconds(&response.headers, name)
        };
        if status == 423
            && let Some(least) = wait(&HeaderName::MinExpires)
            && (asked..=LONGEST_LIFETIME).contains(&least)
        {
            registration.lifetime = least;
            // Once at once (RFC 3261 §10.2.8); who raises it again and again has to wait.
            if asked == LIFETIME && least > asked {
                return self.refresh_registration(now, trunk);
            }
        }
        let (state, next) = match &outcome {
            Ok(response) if response.status.is_success() => {
                registration.pause = FIRST_PAUSE;
                let granted = granted(response, registration).unwrap_or(asked);
                // Early enough for a few repetitions to be lost.
                (RegistrationState::Registered, granted.max(FIRST_PAUSE) * 4 / 5)
            }
            Ok(_) | Err(_) => {
                let pause = registration.pause;
                registration.pause = (pause * 2).min(LONGEST_PAUSE);
                let wished = wait(&HeaderName::RetryAfter).unwrap_or_default();
                (RegistrationState::Failed(status), pause.max(wished.min(LONGEST_RETRY_AFTER)))
            }
        };
        self.timers.set(Timer::Registration(trunk), now + next);
        self.outputs.push_back(Output::Registration { trunk, state });
    }
}

/// A REGISTER's Request-URI names the domain only (RFC 3261 §10.2).
fn registrar_uri(trunk: &Uri) -> Uri {
    let (Some(host), port) = (trunk.host(), trunk.port()) else { return trunk.clone() };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Uri::parse(format!("sip:{host}{port}").into()).unwrap_or_else(|_| trunk.clone())
}

/// The lifetime the registrar granted our contact: its `expires`, or the header's. Other devices
/// may share the account, and some registrars list our contact as they see it through a NAT: if
/// none is literally ours, the shortest of this user counts.
fn granted(response: &Response, registration: &TrunkRegistration) -> Option<Duration> {
    let ours = registration.flow.local;
    let contacts = response.headers.typed_all::<ContactValue>().filter_map(Result::ok);
    let granted: Vec<(bool, u64)> = contacts
        .filter_map(|contact| match contact {
            ContactValue::Address(address) => Some(address),
            ContactValue::Wildcard => None,
        })
        .filter(|address| message::user_of(&address.uri) == registration.user)
        .filter_map(|address| {
            let is_here = matches!(address.uri.host(), Some(Host::Ip(ip)) if *ip == ours.ip())
                && address.uri.port().unwrap_or(5060) == ours.port();
            let seconds = String::from_utf8_lossy(address.param("expires")?).parse().ok()?;
            Some((is_here, seconds))
        })
        .collect();
    let literal = granted.iter().find(|(is_here, _)| *is_here);
    let ours = literal.or_else(|| granted.iter().min_by_key(|(_, seconds)| *seconds));
    let header = || {
        let expires = message::typed::<sipx_sip::headers::Expires>(&response.headers);
        expires.map(|expires| u64::from(expires.0))
    };
    ours.map(|(_, seconds)| *seconds).or_else(header).map(Duration::from_secs)
}
