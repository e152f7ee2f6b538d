//! What a bot is told: the catalogue of spec/notifications.md, its order, headers and tokens.

use std::{collections::BTreeSet, time::Duration};

use axum::http::Method;
use graphophone::bot::{http_client, is_terminated};
use graphophone_testkit::{
    Received, TestCall, TestServer, Webhook, audio::tone_wav, is_audio_active, patience, soon,
    states,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use uuid::Uuid;

fn header<'a>(received: &'a Received, name: &str) -> &'a str {
    let value = received.headers.get(name).unwrap_or_else(|| panic!("no {name}"));
    value.to_str().expect("text")
}

/// A cancelMediaProcessing over HTTP/2 (RFC 9113) by a client that has no room for the body of the
/// response: its flow-control window is 0, so the response stays unfinished until it says otherwise.
struct Unready(TcpStream);

impl Unready {
    async fn cancel(call: &TestCall) -> Self {
        let address = call.server.base().strip_prefix("http://").expect("an http URL");
        let path = format!("/v1.0/communications/calls/{}/cancelMediaProcessing", call.id);
        let bearer = format!("Bearer {}", call.bot.token());
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", &path),
            (":authority", address),
            ("content-type", "application/json"),
            ("authorization", &bearer),
        ];
        let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0.
        wire.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
        let head: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        wire.extend(frame(1, 4, 1, &head)); // HEADERS, END_HEADERS
        wire.extend(frame(0, 1, 1, b"{}")); // DATA, END_STREAM
        let mut connection = TcpStream::connect(address).await.expect("the server listens");
        connection.write_all(&wire).await.expect("it is taken");
        Self(connection)
    }

    /// Reads up to a text.
    async fn read_until(&mut self, wanted: &[u8]) {
        let mut seen = Vec::new();
        while !seen.windows(wanted.len()).any(|window| window == wanted) {
            let count = soon("the response", self.0.read_buf(&mut seen)).await;
            assert_ne!(count.expect("the connection holds"), 0, "closed after {seen:?}");
        }
    }

    /// Makes room (WINDOW_UPDATE) for the whole body.
    async fn open_window(&mut self) {
        let update = frame(8, 0, 1, &65_535_u32.to_be_bytes());
        self.0.write_all(&update).await.expect("it is taken");
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let head = [0, length[0], length[1], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// A header field that is not indexed, as plain text (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        // An integer with a prefix of seven bits (§5.1).
        let mut bytes = vec![u8::try_from(text.len().min(127)).expect("seven bits")];
        let mut rest = text.len().checked_sub(127);
        while let Some(left) = rest {
            let more = left >= 128;
            bytes.push(u8::try_from(left % 128).expect("seven bits") | u8::from(more) << 7);
            rest = more.then_some(left / 128);
        }
        bytes.extend(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

#[tokio::test]
async fn an_outgoing_call_is_told_from_establishing_to_terminated() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let scenario = Uuid::from_u128(0x5ce0_a110_0000_4000_8000_0000_0000_0001);
    let response = http_client()
        .unwrap()
        .post(format!("{}/v1.0/communications/calls", server.base()))
        .bearer_auth(bot.token())
        .header("Scenario-Id", scenario.to_string())
        .json(&bot.new_call(server.phone_identity(), &[]))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let call: Value = response.json().await.unwrap();
    let id = call["id"].as_str().unwrap().to_owned();
    let mut told = bot.until(patience(), is_audio_active).await.unwrap();

    let uri = bot.serve("a", tone_wav(440.0, 300));
    let body = json!({
        "clientContext": "ctx-1",
        "prompts": [{
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {
                "@odata.type": "#microsoft.graph.mediaInfo", "uri": uri, "resourceId": "r-1",
            },
        }],
    });
    let path = format!("/v1.0/communications/calls/{id}/playPrompt");
    let played = bot.send(Method::POST, &path, Some(body)).await.unwrap();
    let operation = played.body["id"].as_str().unwrap().to_owned();
    let is_end = |value: &Value| graphophone_testkit::is_end_of(value, &operation);
    told.extend(bot.until(patience(), is_end).await.unwrap());
    let path = format!("/v1.0/communications/calls/{id}");
    let deleted = bot.send(Method::DELETE, &path, None).await.unwrap();
    told.extend(bot.until(patience(), is_terminated).await.unwrap());
    assert_eq!(
        states(&told),
        [
            "updated establishing",
            "updated established",
            "updated established active",
            "deleted operation completed",
            "updated terminating",
            "deleted terminated",
        ]
    );
    assert_eq!(deleted.status, 204);

    for (index, received) in told.iter().enumerate() {
        let below = if index == 3 { format!("/operations/{operation}") } else { String::new() };
        let value = &received.value;
        assert_eq!(value["@odata.type"], "#microsoft.graph.commsNotification");
        assert_eq!(value["resource"], format!("/app/calls/{id}{below}"));
        assert_eq!(value["resourceUrl"], format!("/communications/calls/{id}{below}"));
        let of_type = if index == 3 { "playPromptOperation" } else { "call" };
        assert_eq!(value["resourceData"]["@odata.type"], format!("#microsoft.graph.{of_type}"));
        assert_eq!(header(received, "scenario-id"), scenario.to_string());
        assert_eq!(header(received, "x-microsoft-skype-chain-id"), scenario.to_string());
        assert_eq!(header(received, "content-type"), "application/json; charset=utf-8");
        assert_eq!(header(received, "accept"), "application/json");
        assert!(header(received, "user-agent").starts_with("Microsoft-Skype/3.0,(Calling/1.0)"));
        assert!(received.headers.get("client-request-id").is_none());
    }
    let original = "x-microsoft-skype-original-message-id";
    for name in ["x-microsoft-skype-message-id", original] {
        let ids: BTreeSet<&str> = told.iter().map(|received| header(received, name)).collect();
        assert_eq!(ids.len(), told.len(), "{name} is another one each time");
        assert!(ids.iter().all(|id| Uuid::try_parse(id).is_ok()), "{ids:?}");
    }
    for received in &told {
        assert_eq!(header(received, "webhook-id"), header(received, original));
        let sent: i64 = header(received, "webhook-timestamp").parse().unwrap();
        assert!(sent > 1_700_000_000, "unix seconds, not {sent}");
    }
    for index in [0, 1, 2, 5] {
        assert_eq!(told[index].value["resourceData"]["callChainId"], call["callChainId"]);
    }
    assert_eq!(told[1].value["resourceData"]["direction"], "outgoing");
    let ended = &told[3].value["resourceData"];
    assert_eq!(ended["id"], operation.as_str());
    assert_eq!(ended["clientContext"], "ctx-1");
    assert_eq!(ended["prompts"][0]["mediaInfo"]["resourceId"], "r-1");
    assert_eq!(ended["prompts"][0]["mediaInfo"]["uri"], uri);
    assert_eq!(ended["resultInfo"]["code"], 200);
    assert_eq!(ended["resultInfo"]["subcode"], 0);
    assert_eq!(ended["resultInfo"]["message"], "Action completed successfully.");
    let media = &told[2].value["resourceData"];
    assert_eq!(media["state"], "established");
    assert_eq!(media["mediaState"]["@odata.type"], "#microsoft.graph.callMediaState");
    assert!(media["meetingCapability"].is_object() && media["coOrganizers"] == json!([]));
    let result = &told[5].value["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(200), &json!(7000)));
    assert!(result["message"].as_str().unwrap().ends_with(" DiagCode: 200#7000.@"));
}

#[tokio::test]
async fn notifications_verify_with_another_implementation_of_jwt() {
    let mut call = TestCall::start().await;
    let http = http_client().unwrap();
    let url = format!("{}/v1/.well-known/OpenIdConfiguration", call.server.base());
    let openid: Value = http.get(url).send().await.unwrap().json().await.unwrap();
    let keys = http.get(openid["jwks_uri"].as_str().unwrap()).send().await.unwrap();
    let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
    call.hang_up().await;

    let ready = call.server.server().ready();
    for received in &call.told {
        let token = header(received, "authorization").strip_prefix("Bearer ").unwrap();
        let head = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!((head.typ.as_deref(), &head.x5t), (Some("JWT"), &head.kid));
        let key = keys.find(head.kid.as_deref().unwrap()).expect("the key is published");
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[ready.client_id.unwrap().to_string()]);
        validation.set_issuer(&["https://api.botframework.com"]);
        validation.set_required_spec_claims(&["aud", "iss", "exp", "nbf"]);
        let key = DecodingKey::from_jwk(key).unwrap();
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims;
        assert_eq!(claims["tid"], ready.tenant.unwrap().to_string());
        let time = |claim: &str| claims[claim].as_u64().unwrap();
        assert_eq!((time("iat"), time("exp")), (time("nbf"), time("nbf") + 3_900));
        // The bot named no scenario: one is made up for the call.
        let scenario = header(received, "scenario-id");
        assert!(Uuid::try_parse(scenario).is_ok(), "{scenario}");
        assert_eq!(scenario, header(&call.told[0], "x-microsoft-skype-chain-id"));
    }
    assert_eq!(call.told.len(), 5);
}

#[tokio::test]
async fn no_notification_overtakes_the_response_that_caused_it() {
    let mut call = TestCall::start().await;
    let operation = call.play_looping(&[&tone_wav(440.0, 100)]).await;
    let mut unready = Unready::cancel(&call).await;
    // The cancel is carried out and its response begun, but the client cannot read all of it.
    call.operation_that(&operation, |operation| operation["status"] == "failed").await;
    call.assert_nothing_more_is_told().await;

    unready.open_window().await;
    unready.read_until(b"cancelMediaProcessingOperation").await;
    let ended = call.ended(&operation).await;
    assert_eq!(ended.value["resourceData"]["completionReason"], "mediaOperationCanceled");
}

#[tokio::test]
async fn an_operation_is_told_when_its_last_packet_has_left() {
    let mut call = TestCall::start().await;
    let operation = call.play(&[&tone_wav(440.0, 1_000)]).await;
    let ended = call.ended(&operation).await;
    let heard = call.heard(1).await;
    let last = heard.last_packet().unwrap();
    // The phone notes a packet within a tick of its engine, later on a busy machine; told at the
    // beginning it would be a second.
    let early = last.saturating_duration_since(ended.at.into_std());
    assert!(early <= Duration::from_millis(500), "told {early:?} before the last packet");
}

#[tokio::test]
async fn client_contexts_come_back_as_they_were_sent() {
    let mut call = TestCall::start().await;
    let longest = "\u{1f4de}".repeat(128);
    for context in ["d45324c1-\"quoted\" \\ \u{0}\u{7f}\u{2028} ø", "", longest.as_str()] {
        let mut body = call.prompts(&[&tone_wav(440.0, 20)]);
        body["clientContext"] = json!(context);
        let answer = call.act("beta", "playPrompt", body).await.ok().unwrap();
        assert_eq!(answer["clientContext"], context);
        let id = answer["id"].as_str().unwrap();
        let ended = call.ended(id).await;
        assert_eq!(ended.value["resourceData"]["clientContext"], context);
        assert_eq!(call.operation(id).await["clientContext"], context);
    }
    let answer = call.act("v1.0", "playPrompt", call.prompts(&[&tone_wav(440.0, 20)])).await;
    assert_eq!(answer.body["clientContext"], Value::Null);
    let ended = call.ended(answer.body["id"].as_str().unwrap()).await;
    assert!(ended.value["resourceData"]["clientContext"].is_null(), "none is invented");
}

#[tokio::test]
async fn a_callback_uri_is_used_exactly_as_given() {
    let server = TestServer::start().await;
    let bot = server.bot().await;
    let mut webhook = Webhook::refusing();
    webhook.accept();
    let query = "?ticket_id=a%20b&x=%7B1%7D";
    let mut body = bot.new_call(server.phone_identity(), &[]);
    body["callbackUri"] = json!(format!("{}{query}", webhook.uri()));
    let path = "/v1.0/communications/calls";
    let call = bot.send(Method::POST, path, Some(body)).await.unwrap().ok().unwrap();
    webhook.taken_until(is_audio_active).await;
    bot.hang_up(call["id"].as_str().unwrap()).await.unwrap();
    for post in webhook.taken_until(is_terminated).await {
        assert_eq!(post.uri.to_string(), format!("/callback{query}"));
    }
}

#[tokio::test]
async fn a_bot_that_is_away_is_told_everything_in_order_when_it_comes_back() {
    let mut call = TestCall::start().await;
    let mut webhook = Webhook::closed();
    let mut body = call.bot.new_call(call.server.phone_identity(), &[]);
    body["callbackUri"] = json!(webhook.uri());
    let path = "/v1.0/communications/calls";
    let begun = tokio::time::Instant::now();
    let made = call.bot.send(Method::POST, path, Some(body)).await.unwrap().ok().unwrap();
    let id = made["id"].as_str().unwrap();
    let phone = soon("a call", call.server.phone().next_call()).await;
    soon("it is up", phone.established()).await.unwrap();
    phone.hang_up();
    soon("it is over", phone.ended()).await;

    // The other call's bot is told meanwhile.
    let operation = call.play(&[&tone_wav(440.0, 40)]).await;
    call.ended(&operation).await;
    webhook.open();
    webhook.accept();
    let told = webhook.taken_until(is_terminated).await;
    let seen: Vec<&str> =
        told.iter().map(|post| post.value["resourceData"]["state"].as_str().unwrap()).collect();
    assert_eq!(seen.first(), Some(&"establishing"));
    assert_eq!(seen[1..seen.len() - 1].iter().find(|state| **state != "established"), None);
    assert_eq!(seen.last(), Some(&"terminated"));
    assert!(told.iter().all(|post| post.value["resource"] == format!("/app/calls/{id}")));
    assert!(begun.elapsed() >= Duration::from_millis(500), "no attempt can have failed");
}

#[tokio::test]
async fn a_refused_notification_is_sent_again_under_the_same_id() {
    let server = TestServer::start().await;
    let bot = server.bot().await;
    let mut webhook = Webhook::refusing();
    let mut body = bot.new_call(server.phone_identity(), &[]);
    body["callbackUri"] = json!(webhook.uri());
    let path = "/v1.0/communications/calls";
    bot.send(Method::POST, path, Some(body)).await.unwrap().ok().unwrap();
    let refused = webhook.next().await;
    assert!(!refused.taken);
    webhook.accept();
    let told = webhook.taken_until(is_audio_active).await;
    let again = &told[0];
    assert_eq!(again.value, refused.value);
    for same in ["webhook-id", "x-microsoft-skype-original-message-id", "scenario-id"] {
        assert!(!refused.header(same).is_empty(), "{same}");
        assert_eq!(again.header(same), refused.header(same), "{same}");
    }
    let attempt = "x-microsoft-skype-message-id";
    assert_ne!(again.header(attempt), refused.header(attempt));
    assert_eq!(told.len(), 3, "nothing overtook it, nothing came twice");
}
