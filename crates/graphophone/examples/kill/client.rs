//! The bot: asks for calls and prompts under a `client-request-id` each, takes notifications, and
//! asks again for what a kill has left unanswered.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use graphophone_media::{codec::SampleCodec, wav};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

use crate::{
    journal::{Journal, LOOP, Number, OPERATIONS, Told, code},
    oracle::Tally,
    phones::user,
    server::ServerUnderFire,
};

const RATE: u32 = 8_000;
/// One post of so many is refused, so that something is always owed.
const REFUSED_POSTS: u32 = 20;
const RESPONSE_WITHIN: Duration = Duration::from_secs(20);
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    admin: String,
    tenant: String,
    host: SocketAddr,
    phones: SocketAddr,
    journal: Arc<Journal>,
}

/// The calls of one round.
pub(crate) struct Calls {
    client: Client,
    round: u32,
    calls: u32,
    tasks: JoinSet<()>,
}

impl Client {
    pub(crate) async fn start(
        server: &ServerUnderFire,
        journal: Arc<Journal>,
        phones: SocketAddr,
    ) -> anyhow::Result<Self> {
        graphophone::auth::tls::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?;
        let posts = Arc::new(AtomicU32::new(0));
        let router = Router::new()
            .route("/told", post(told))
            .route("/prompt/{code}/{ms}", get(prompt))
            .with_state((Arc::clone(&journal), posts));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let said = |key: &str| {
            let text = server.credentials[key].as_str().map(str::to_owned);
            text.with_context(|| format!("no {key} in the ready file"))
        };
        let (tenant, id) = (said("tenant")?, said("clientId")?);
        let (secret, admin) = (said("clientSecret")?, said("adminToken")?);
        let base = format!("http://{}", server.http);
        let http = reqwest::Client::builder().timeout(RESPONSE_WITHIN).no_proxy().build()?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let url = format!("{base}/{tenant}/oauth2/v2.0/token");
        let answer: Value = http.post(url).form(&form).send().await?.json().await?;
        let token = answer["access_token"].as_str().context("no token")?.to_owned();
        Ok(Self { http, base, token, admin, tenant, host, phones, journal })
    }

    /// Begins the calls of a round, each at a moment of its own in the first half second.
    pub(crate) fn begin(&self, round: u32, calls: u32, seed: u64) -> Calls {
        let mut random = StdRng::seed_from_u64(seed);
        let mut tasks = JoinSet::new();
        for call in 0..calls {
            let (client, number) = (self.clone(), (round, call));
            let wait = Duration::from_millis(random.random_range(0..500));
            tasks.spawn(async move {
                tokio::time::sleep(wait).await;
                client.ask_for_all(number).await;
            });
        }
        Calls { client: self.clone(), round, calls, tasks }
    }

    /// A call with five operations; what is not answered any more is left to later.
    async fn ask_for_all(&self, number: Number) {
        self.journal.call(number, |_| {});
        let Some(id) = self.create(number).await else { return };
        if !self.established(&id).await {
            return;
        }
        for operation in 0..OPERATIONS.len() {
            if self.play(number, &id, operation).await.is_none() {
                return;
            }
        }
    }

    async fn established(&self, id: &str) -> bool {
        let deadline = Instant::now() + ESTABLISHED_WITHIN;
        while Instant::now() < deadline {
            let is_up = self.journal.lock().told.get(id).is_some_and(|told| {
                told.iter().any(|one| one.value["resourceData"]["mediaState"]["audio"] == "active")
            });
            if is_up {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Asks for a call; its id if it is there.
    async fn create(&self, number: Number) -> Option<String> {
        let body = json!({
            "@odata.type": "#microsoft.graph.call",
            "callbackUri": format!("http://{}/told", self.host),
            "requestedModalities": ["audio"],
            "tenantId": self.tenant,
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
            "targets": [{
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": {
                    "@odata.type": "#microsoft.graph.identitySet",
                    "user": {
                        "@odata.type": "#microsoft.graph.identity",
                        "id": format!("sip:{}@{}", user(number), self.phones),
                    },
                },
            }],
        });
        let (status, answer) =
            self.post(&format!("create {number:?}"), "/v1.0/communications/calls", &body).await?;
        let id = answer["id"].as_str().map(str::to_owned);
        self.journal.call(number, |call| match (&call.id, &id) {
            (None, Some(_)) if status == 201 => call.id.clone_from(&id),
            (Some(known), Some(id)) if status == 201 && known == id => {}
            (None, _) => {}
            (Some(known), _) => {
                let text = format!("create said {known}, then {status} {answer}");
                call.contradictions.push(text);
            }
        });
        id.filter(|_| status == 201)
    }

    /// Asks for an operation; its id if it is accepted.
    async fn play(&self, number: Number, id: &str, operation: usize) -> Option<String> {
        let prompts: Vec<Value> = OPERATIONS[operation]
            .iter()
            .enumerate()
            .map(|(prompt, ms)| {
                let uri = format!("http://{}/prompt/{}/{ms}", self.host, code(operation, prompt));
                json!({
                    "@odata.type": "#microsoft.graph.mediaPrompt",
                    "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
                })
            })
            .collect();
        let body = json!({"prompts": prompts, "loop": operation == LOOP});
        let path = format!("/beta/communications/calls/{id}/playPrompt");
        let (status, answer) =
            self.post(&format!("play {number:?} {operation}"), &path, &body).await?;
        let made = answer["id"].as_str().map(str::to_owned).filter(|_| status == 200);
        self.journal.call(number, |call| match (&call.operations[operation], &made) {
            (None, _) => call.operations[operation].clone_from(&made),
            (Some(known), Some(made)) if known == made => {}
            (Some(known), _) => {
                let text = format!("operation {operation} was {known}, then {status} {answer}");
                call.contradictions.push(text);
            }
        });
        made
    }

    /// Status and body, or nothing from a server that is killed.
    async fn post(&self, id: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let answer = request.header("client-request-id", id).json(body).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// `created = delivered + pending + failed` (promise P6).
    pub(crate) async fn check_sums(&self, tally: &mut Tally) -> anyhow::Result<()> {
        let url = format!("{}/graphophone/v1/deliveries?limit=1", self.base);
        let answer: Value =
            self.http.get(url).bearer_auth(&self.admin).send().await?.json().await?;
        let sum = |key: &str| answer[key].as_u64().with_context(|| format!("no {key}: {answer}"));
        let (created, rest) =
            (sum("created")?, sum("delivered")? + sum("pending")? + sum("failed")?);
        if created != rest {
            tally.faults.push(format!("created {created}, delivered + pending + failed {rest}"));
        }
        Ok(())
    }
}

impl Calls {
    /// Nothing more is asked for: the next server is to find no client of the last one.
    pub(crate) async fn stop_asking(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Asks again for everything that the kill has left unanswered, under the same ids, and ends the
    /// calls that only now were made.
    pub(crate) async fn repeat_unanswered(&self) {
        let mut again = JoinSet::new();
        for call in 0..self.calls {
            let (client, number) = (self.client.clone(), (self.round, call));
            again.spawn(async move {
                // A call that was never begun is no call of this round.
                let Some(known) =
                    client.journal.lock().calls.get(&number).map(|call| call.id.clone())
                else {
                    return;
                };
                // Without the answer to that nothing else was asked for.
                let Some(id) = known else {
                    client.create(number).await;
                    return;
                };
                for operation in 0..OPERATIONS.len() {
                    let is_open =
                        client.journal.lock().calls[&number].operations[operation].is_none();
                    if is_open && client.play(number, &id, operation).await.is_none() {
                        return;
                    }
                }
            });
        }
        again.join_all().await;
        self.hang_up().await;
    }

    /// Asks again for some of what was answered: the same must come back.
    pub(crate) async fn repeat_answered(&self, random: &mut StdRng) {
        for call in 0..self.calls {
            let number = (self.round, call);
            let operation = random.random_range(0..OPERATIONS.len());
            let known =
                self.client.journal.lock().calls.get(&number).and_then(|call| {
                    Some((call.id.clone()?, call.operations[operation].is_some()))
                });
            if let Some((id, true)) = known
                && random.random_bool(0.3)
            {
                self.client.create(number).await;
                self.client.play(number, &id, operation).await;
            }
        }
    }

    /// Ends the calls that were made after the kill; the others are gone.
    async fn hang_up(&self) {
        let ids: Vec<String> = self
            .client
            .journal
            .lock()
            .of_round(self.round)
            .filter_map(|(_, call)| call.id.clone())
            .collect();
        let mut requests = JoinSet::new();
        for id in ids {
            let url = format!("{}/v1.0/communications/calls/{id}", self.client.base);
            let request = self.client.http.delete(url).bearer_auth(&self.client.token);
            requests.spawn(async move { drop(request.send().await) });
        }
        requests.join_all().await;
    }
}

/// The webhook.
async fn told(
    State((journal, posts)): State<(Arc<Journal>, Arc<AtomicU32>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let is_refused = posts.fetch_add(1, Ordering::Relaxed).is_multiple_of(REFUSED_POSTS);
    let Ok(all) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    for value in all["value"].as_array().into_iter().flatten() {
        let resource = value["resource"].as_str().unwrap_or_default();
        let Some(call) = resource.split('/').nth(3) else { continue };
        let mut inside = journal.lock();
        let told = inside.told.entry(call.to_owned()).or_default();
        let taken = u32::from(!is_refused);
        match told.iter_mut().find(|one| one.id == id) {
            Some(one) => {
                one.taken += taken;
                if one.body != body {
                    one.value = json!({"fault": "another body under the same webhook-id"});
                }
            }
            None => told.push(Told {
                id: id.to_owned(),
                value: value.clone(),
                body: body.to_vec(),
                taken,
            }),
        }
    }
    if is_refused { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// A file whose samples all have one code.
async fn prompt(Path((code, ms)): Path<(u8, u32)>) -> Vec<u8> {
    let sample = SampleCodec::Pcmu.decode(&[code])[0];
    wav::to_bytes(RATE, &vec![sample; (ms * RATE / 1_000) as usize])
}
