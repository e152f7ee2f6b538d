//! Calls without SIP: what becomes of one whose dialling does not come to an end.

use std::{future::pending, num::NonZeroUsize};

use graphophone_graph::{
    compat::{ApiVersion, Compat},
    resource::{call::NewCall, create_call},
};
use graphophone_media::{
    engine::{Engine, EngineConfig},
    room::Rooms,
};
use graphophone_store::Store;
use uuid::Uuid;

use super::*;
use crate::{
    config::{Config, Overrides, Profile},
    engine::{
        call_task::Dialler,
        conference::{ConferenceAudio, ConferenceRules},
        testing::silent_outbox,
        unix_millis,
    },
    prompts::{self, Guard, GuardSettings},
    recordings,
};

const ONE: NonZeroUsize = NonZeroUsize::MIN;
const OWNER: (TenantId, AppId) =
    (TenantId::new(Uuid::from_u128(1)), AppId::new(Uuid::from_u128(2)));

/// A server that delivers nothing and dials as it is told.
struct Kit {
    calls: Calls,
    store: Store,
    _directory: tempfile::TempDir,
}

impl Kit {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let outbox = silent_outbox(&store).await;
        let settings = prompts::Settings::in_directory(directory.path().join("prompts"));
        let guard = Guard::new(GuardSettings::dev("prompts.allow", Vec::new()));
        let calls = Calls::new(CallsParts {
            store: store.clone(),
            outbox,
            prompts: Prompts::new(settings, guard).unwrap(),
            ears: Ears::start(ONE).unwrap(),
            recordings: Recordings::open(
                recordings::Settings {
                    directory: directory.path().join("recordings"),
                    keep: Duration::from_secs(60),
                    token_valid: Duration::from_secs(60),
                    disk_budget: 1 << 20,
                },
                Arc::new(unix_millis),
            )
            .unwrap(),
            settings: Settings::default(),
            dial: DialRules::new(&Config::load(Profile::Dev, None, Overrides::new()).unwrap()),
            dial_limits: Default::default(),
            max_calls: 2,
            door: Door::default(),
            audio: ConferenceAudio {
                engine: Engine::start(EngineConfig::with_threads(ONE)).unwrap(),
                rooms: Rooms::start(ONE).unwrap(),
            },
            conferences: ConferenceRules::default(),
            refers: true,
        });
        Self { calls, store, _directory: directory }
    }

    async fn dial(&self, id: u128, dial: Dialler) -> Result<View, CreateError> {
        let body = serde_json::json!({
            "@odata.type": "#microsoft.graph.call",
            "callbackUri": "https://bot.example/callback",
            "tenantId": OWNER.0.to_string(),
            "requestedModalities": ["audio"],
            "targets": [{
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": {"user": {"id": "somebody"}},
            }],
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
        });
        let asked =
            create_call::parse(body.to_string().as_bytes(), ApiVersion::V1, Compat::Open).unwrap();
        let ids = NewCall {
            id: CallId::new(Uuid::from_u128(id)),
            tenant: OWNER.0,
            app: OWNER.1,
            my_participant_id: Uuid::from_u128(3),
            chain: Uuid::from_u128(4),
            scenario: None,
        };
        let details = CallDetails::outgoing(ids, ApiVersion::V1, asked);
        let call = Call::outgoing(Instant::now().into_std(), Settings::default(), true);
        let begun = Begun { line: Line::Dial(dial), dialog: None, once: None, permit: None };
        self.calls.start(call, details, begun).await
    }

    async fn gone(&self) {
        let gone = async {
            while self.calls.count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    }
}

fn never() -> Dialler {
    Box::new(|_| pending().boxed())
}

#[tokio::test]
async fn a_call_that_is_still_being_dialled_answers_and_can_be_hung_up() {
    let kit = Kit::new().await;
    let (given_up, was_given_up) = oneshot::channel::<()>();
    let dial = Box::new(|_| {
        async move {
            let _held = given_up;
            pending().await
        }
        .boxed()
    });
    let view = kit.dial(7, dial).await.unwrap();
    assert_eq!(view.state, CallState::Establishing);
    let id = CallId::new(Uuid::from_u128(7));
    let keep_alive = kit.calls.command(OWNER, id, Command::KeepAlive, None, None).await;
    assert_eq!(keep_alive.unwrap(), None);
    assert_eq!(kit.calls.command(OWNER, id, Command::HangUp, None, None).await.unwrap(), None);
    was_given_up.await.unwrap_err();
    kit.gone().await;
    assert_eq!(kit.store.call(id).await.unwrap().unwrap().state, "terminated");
}

#[tokio::test]
async fn a_call_whose_task_panics_leaves_its_place() {
    let kit = Kit::new().await;
    kit.dial(7, Box::new(|_| panic!("expected by this test"))).await.unwrap();
    kit.gone().await;
}

#[tokio::test]
async fn a_call_that_cannot_be_stored_leaves_its_place_before_that_is_told() {
    let kit = Kit::new().await;
    kit.store.close().await;
    let refused = kit.dial(7, never()).await;
    assert!(matches!(refused, Err(CreateError::Command(CommandError::NotStored))));
    assert_eq!(kit.calls.count(), 0);
}

#[tokio::test]
async fn a_stop_ends_every_call_and_lets_no_other_begin() {
    let kit = Kit::new().await;
    kit.dial(7, never()).await.unwrap();
    kit.dial(8, never()).await.unwrap();
    assert!(matches!(kit.dial(9, never()).await, Err(CreateError::TooManyCalls)));
    kit.calls.shut_down(Instant::now() + Duration::from_secs(30)).await;
    assert_eq!(kit.calls.count(), 0);
    assert!(kit.store.unfinished().await.unwrap().calls.is_empty());
    let late = kit.dial(9, never()).await;
    assert!(matches!(late, Err(CreateError::Command(CommandError::Stopping))));
    assert_eq!(kit.store.owed().await.unwrap().len(), 2);
}
