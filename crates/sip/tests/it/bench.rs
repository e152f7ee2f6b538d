//! A server endpoint whose calls the test drives, and phones at it.

use std::{
    f64::consts::TAU,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use graphophone_call::{LegCommand, LegEvent, ResultInfo};
use graphophone_media::{
    engine::{Engine, EngineConfig, PlayoutId, Segment, StreamEvent, StreamHandle},
    prompt::{Prompt, Sha256},
};
use graphophone_sip::{
    DigestAlgorithm, Endpoint, EndpointConfig, IncomingCall, LegHandle, LegSignal, LegSinks,
    OutgoingCall, PhoneAccount, Trunk,
    phone::{Phone, PhoneConfig, PhoneTransport},
};
use tokio::{sync::mpsc, time::timeout};

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const TRANSPORTS: [PhoneTransport; 2] = [PhoneTransport::Udp, PhoneTransport::Tcp];

/// Nothing on loopback takes longer.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.expect("it did not happen in time")
}

pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) incoming: mpsc::Receiver<IncomingCall>,
    pub(crate) engine: Engine,
}

pub(crate) fn config() -> EndpointConfig {
    let any = SocketAddr::new(LOOPBACK, 0);
    EndpointConfig {
        udp: vec![any],
        tcp: vec![any],
        external_address: None,
        rtp_bind: LOOPBACK,
        rtp_ports: 0..=0,
        digest: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
        phones: vec![PhoneAccount {
            user: "alice".to_owned(),
            password: "correct horse".to_owned(),
            user_id: "alice-id".to_owned(),
        }],
        trunks: Vec::new(),
        max_calls: 50,
        media_timeout: None,
        agent: "Graphophone test".to_owned(),
        incoming_refer: graphophone_sip::IncomingRefer::Decline,
    }
}

/// A trunk that takes everything from loopback.
pub(crate) fn open_trunk() -> Trunk {
    Trunk {
        name: "open".to_owned(),
        uri: None,
        username: None,
        from: None,
        password: None,
        realm: None,
        register: false,
        peers: vec![(LOOPBACK, 8)],
    }
}

pub(crate) fn engine() -> Engine {
    Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap()
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: EndpointConfig) -> Self {
        let engine = engine();
        let (endpoint, incoming) = Endpoint::bind(config, engine.clone()).await.unwrap();
        Self { endpoint, incoming, engine }
    }

    pub(crate) fn address(&self, transport: PhoneTransport) -> SocketAddr {
        match transport {
            PhoneTransport::Udp => self.endpoint.udp_addrs()[0],
            PhoneTransport::Tcp => self.endpoint.tcp_addrs()[0],
        }
    }

    /// Settings of alice's phone.
    pub(crate) fn phone_config(&self, transport: PhoneTransport) -> PhoneConfig {
        let server = self.address(transport);
        PhoneConfig { transport, ..PhoneConfig::new("alice", "correct horse", server) }
    }

    pub(crate) async fn phone(&self, transport: PhoneTransport) -> Phone {
        self.phone_with(self.phone_config(transport)).await
    }

    pub(crate) async fn phone_with(&self, config: PhoneConfig) -> Phone {
        soon(Phone::start(config, self.engine.clone())).await.unwrap()
    }

    pub(crate) async fn call(&self, target: &str) -> Leg {
        self.call_by(None, target).await
    }

    /// Calls with the credentials and the name of a trunk.
    pub(crate) async fn call_by(&self, trunk: Option<&str>, target: &str) -> Leg {
        let (sinks, signals, events) = sinks();
        let call = OutgoingCall {
            replaces: None,
            sip_call_id: None,
            target: target.to_owned(),
            trunk: trunk.map(str::to_owned),
            from_user: "bot".to_owned(),
            from_display: Some("The bot".to_owned()),
            ring_timeout: Duration::from_secs(30),
            sinks,
        };
        let handle = soon(self.endpoint.call(call)).await.unwrap();
        Leg::new(handle, signals, events)
    }

    /// The next incoming call, attached.
    pub(crate) async fn next_call(&mut self) -> (IncomingParty, Leg) {
        let call = soon(self.incoming.recv()).await.expect("the endpoint has stopped");
        let leg = Leg::attach(call.leg);
        (IncomingParty { from: call.from, to_user: call.to_user }, leg)
    }
}

pub(crate) struct IncomingParty {
    pub(crate) from: graphophone_sip::Party,
    pub(crate) to_user: String,
}

fn sinks() -> (LegSinks, mpsc::Receiver<LegSignal>, mpsc::Receiver<StreamEvent>) {
    let (signal_sender, signals) = mpsc::channel(8);
    let (event_sender, events) = mpsc::channel(8);
    (LegSinks { signals: signal_sender, stream: event_sender }, signals, events)
}

/// The server's side of a call.
pub(crate) struct Leg {
    pub(crate) handle: LegHandle,
    signals: mpsc::Receiver<LegSignal>,
    events: mpsc::Receiver<StreamEvent>,
    pub(crate) stream: Option<Arc<StreamHandle>>,
}

impl Leg {
    fn new(
        handle: LegHandle,
        signals: mpsc::Receiver<LegSignal>,
        events: mpsc::Receiver<StreamEvent>,
    ) -> Self {
        Self { handle, signals, events, stream: None }
    }

    /// Listens to an incoming call.
    pub(crate) fn attach(handle: LegHandle) -> Self {
        let (sinks, signals, events) = sinks();
        handle.attach(sinks);
        Self::new(handle, signals, events)
    }

    pub(crate) fn command(&self, command: LegCommand) {
        self.handle.command(command);
    }

    /// The next event; keeps the stream when it comes.
    pub(crate) async fn event(&mut self) -> LegEvent {
        loop {
            match soon(self.signals.recv()).await.expect("the leg says no more") {
                LegSignal::Dialog(_) | LegSignal::Referred(_) => {}
                LegSignal::Event(event) => return event,
                LegSignal::Stream(stream) => self.stream = Some(stream),
            }
        }
    }

    /// Waits until audio may flow, having seen everything in the promised order.
    pub(crate) async fn active(&mut self) -> Arc<StreamHandle> {
        loop {
            match self.event().await {
                LegEvent::Ringing | LegEvent::Answered => {}
                LegEvent::Media { active: true } => break,
                other @ (LegEvent::Media { active: false }
                | LegEvent::Tone(_)
                | LegEvent::ReferAccepted
                | LegEvent::ReferRefused
                | LegEvent::ReferEnded(_)
                | LegEvent::Conference(_)
                | LegEvent::Ended(_)) => panic!("{other:?} instead of media"),
            }
        }
        Arc::clone(self.stream.as_ref().expect("the stream comes before media is active"))
    }

    pub(crate) async fn ended(&mut self) -> ResultInfo {
        loop {
            if let LegEvent::Ended(result) = self.event().await {
                self.stream = None;
                return result;
            }
        }
    }

    /// Plays a tone and waits until it has left.
    pub(crate) async fn play(&mut self, hz: f64, time: Duration) {
        let id = play(self.stream.as_ref().expect("there is a stream"), hz, time);
        while self.stream_event().await != StreamEvent::Finished(id) {}
    }

    pub(crate) async fn stream_event(&mut self) -> StreamEvent {
        soon(self.events.recv()).await.expect("the stream says no more")
    }
}

/// Begins to play a tone.
pub(crate) fn play(stream: &StreamHandle, hz: f64, time: Duration) -> PlayoutId {
    let codec = stream.codec().sample().expect("our SDP offers sample codecs");
    let prompt = Arc::new(tone(hz, time).encode(codec));
    let id = PlayoutId(1);
    stream.play(id, vec![Segment { prompt, repeat: 1 }], true, false).unwrap();
    id
}

/// A sine at half scale.
pub(crate) fn tone(hz: f64, time: Duration) -> Prompt {
    let count = (time.as_secs_f64() * 8000.0).round() as usize;
    let sample = |n: usize| (16_000.0 * (TAU * hz * n as f64 / 8000.0).sin()) as i16;
    let samples: Vec<i16> = (0..count).map(sample).collect();
    Prompt { rate: 8000, sha256: Sha256::of(&samples), samples }
}
