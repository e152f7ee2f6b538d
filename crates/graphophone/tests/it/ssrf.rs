//! Addresses that a bot, a host or a name server would like this server to connect to, and that see
//! no connection at all (promise P28).

use std::sync::Arc;

use axum::http::Method;
use graphophone::{
    auth::keys::TOKEN_KEY_FILE,
    bot::{Bot, Credentials, http_client},
    config::Profile,
};
use graphophone_call::AppId;
use graphophone_sip::phone::Phone;
use graphophone_testkit::{
    TestServer, audio, dev_config, is_audio_active, is_end_of, patience,
    prompt_host::{PromptHost, Step, redirect, response},
    seen,
    sentinel::{ALLOWED, Found, Sentinels, URLS, Zone},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A production server that allows every public host, its bot's own address and [`ALLOWED`]; with
/// a phone that can be called.
struct Rig {
    server: TestServer,
    bot: Bot,
    phone: Phone,
    zone: Arc<Zone>,
    sentinels: Sentinels,
    host: PromptHost,
    admin: String,
}

impl Rig {
    async fn start() -> Self {
        let (sentinels, allowed) = Sentinels::listen().await;
        let port = sentinels.port;
        // The one good host: a file, and redirects to each of the table.
        let host = PromptHost::start_on(allowed, move |request, _| {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let number = path.strip_prefix("/redirect/").and_then(|n| n.parse::<usize>().ok());
            match number.map(|number| URLS[number].1.replace("{port}", &port.to_string())) {
                // Header values are bytes: what is not ASCII would be read as Latin-1.
                Some(target) => redirect(&ascii(&target)),
                None if request.starts_with("POST") => {
                    vec![Step::Send(response("202 Accepted", "", b""))]
                }
                // Not what a relative redirect makes of a URL.
                None if path.len() == "/a.wav".len() => {
                    vec![Step::Send(response("200 OK", "", &audio::tone_wav(440.0, 40)))]
                }
                None => vec![Step::Send(response("404 Not Found", "", b"no such file"))],
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let zone = Zone::hostile();
        let server = TestServer::start_with_names(Arc::clone(&zone) as _, |config| {
            config.profile = Profile::Production;
            let rules = |more: &str| {
                ["http://*:*", "https://*:*", ALLOWED, more]
                    .map(|rule| rule.parse().unwrap())
                    .into()
            };
            config.prompts.allow = rules(&own);
            config.callbacks.allow = rules(&own);
        })
        .await;
        let config = dev_config(&server.directory());
        let credentials = Credentials {
            tenant: config.tenants[0].id.to_string(),
            client_id: AppId::new(config.apps[0].id),
            client_secret: config.apps[0].secret.as_ref().unwrap().expose().to_owned(),
        };
        let bot = Bot::start(server.base(), credentials, listener).await.unwrap();
        let phone = server.unregistered_phone("far").await;
        let admin = config.admin.token.as_ref().unwrap().expose().to_owned();
        Self { server, bot, phone, zone, sentinels, host, admin }
    }

    fn target(&self) -> Value {
        json!({"user": {"id": self.phone.uri()}})
    }

    /// A URL on the one host that is allowed, which redirects to one of the table.
    fn redirect_to(&self, number: usize) -> String {
        format!("http://allowed.test:{}/redirect/{number}", self.sentinels.port)
    }

    /// The last error of a call's first notification, once there was an attempt.
    async fn first_attempt(&self, call: &str) -> Value {
        let url = format!("{}/graphophone/v1/deliveries?call={call}&limit=1", self.server.base());
        let http = http_client().unwrap();
        seen("an attempt to deliver", || async {
            let log = http.get(&url).bearer_auth(&self.admin).send().await.unwrap();
            let log: Value = log.json().await.unwrap();
            let first = log["value"][0].clone();
            (first["attempts"].as_u64() > Some(0) || first["state"] != "pending").then_some(first)
        })
        .await
    }
}

fn ascii(url: &str) -> String {
    let escape = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect()
        }
    };
    url.chars().map(escape).collect()
}

#[tokio::test]
async fn no_prompt_leads_to_an_address_that_is_denied_by_no_spelling_name_or_redirect() {
    let mut rig = Rig::start().await;
    let call = rig.bot.call(rig.target(), &[]).await.unwrap();
    rig.bot.until(patience(), is_audio_active).await.unwrap();
    let path = format!("/v1.0/communications/calls/{call}/playPrompt");
    let play = |uri: String| {
        let body = json!({"prompts": [{
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
        }]});
        (uri, body)
    };
    let mut refused = 0;
    let direct = URLS.iter().map(|(found, url)| (*found, rig.sentinels.at(url)));
    let hops = (0..URLS.len()).map(|number| (Found::Resolved, rig.redirect_to(number)));
    for (found, url) in direct.chain(hops).collect::<Vec<_>>() {
        let (url, body) = play(url);
        let answer = rig.bot.send(Method::POST, &path, Some(body)).await.unwrap();
        if found == Found::Written {
            assert_eq!(answer.status, 400, "{url}: {}", answer.body);
        } else {
            let operation = answer.ok().expect(&url)["id"].as_str().unwrap().to_owned();
            let told = rig.bot.until(patience(), |value| is_end_of(value, &operation)).await;
            let end = told.unwrap().pop().unwrap().value["resourceData"].clone();
            assert_eq!(end["status"], "failed", "{url}: {end}");
            let message = end["resultInfo"]["message"].as_str().unwrap();
            assert!(!message.contains("connected to"), "{url}: {message}");
            // Where a name led is not told; where a redirect says it leads, is.
            let is_name = !url.contains("/redirect/");
            assert!(!(is_name && message.contains("127.0.0.")), "{url}: {message}");
        }
        refused += 1;
    }
    assert_eq!(refused, 2 * URLS.len());
    assert!(rig.zone.was_asked("inside.test") && rig.zone.was_asked("many.test"));
    rig.sentinels.assert_untouched().await;

    // What is allowed is reached, also when a name has other addresses besides, and a name that
    // leads elsewhere at the second question is not followed there.
    let at = |name: &str, path: &str| format!("http://{name}:{}{path}", rig.sentinels.port);
    let seen_before = rig.host.connections();
    for (url, expected) in [
        (at(ALLOWED, "/a.wav"), "completed"),
        (at("allowed.test", "/b.wav"), "completed"),
        (at("mixed.test", "/c.wav"), "completed"),
        (at("flip.test", "/d.wav"), "completed"),
    ] {
        let operation = rig.bot.play(&call, std::slice::from_ref(&url), false).await.unwrap();
        let told = rig.bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
        assert_eq!(told.last().unwrap().value["resourceData"]["status"], expected, "{url}");
    }
    assert!(rig.host.connections() > seen_before);
    rig.sentinels.assert_untouched().await;
}

#[tokio::test]
async fn a_name_that_changes_between_two_fetches_is_judged_anew_at_each_connection() {
    let mut rig = Rig::start().await;
    let call = rig.bot.call(rig.target(), &[]).await.unwrap();
    rig.bot.until(patience(), is_audio_active).await.unwrap();
    let port = rig.sentinels.port;
    // Over https there is no kept connection to ride on: the good host speaks no TLS, and waits for
    // the rest of a request for ever.
    for (url, cause) in [
        (format!("https://flip.test:{port}/1.wav"), "no connection within"),
        (format!("https://flip.test:{port}/2.wav"), "loopback"),
        (format!("https://flip.test:{port}/3.wav"), "loopback"),
    ] {
        let operation = rig.bot.play(&call, std::slice::from_ref(&url), false).await.unwrap();
        let told = rig.bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
        let end = &told.last().unwrap().value["resourceData"];
        assert_eq!(end["status"], "failed", "{url}");
        let message = end["resultInfo"]["message"].as_str().unwrap();
        assert!(message.contains(cause), "{url}: {message}");
    }
    rig.sentinels.assert_untouched().await;
}

#[tokio::test]
async fn no_callback_uri_leads_to_an_address_that_is_denied() {
    let mut rig = Rig::start().await;
    let calls = "/v1.0/communications/calls";
    let create = |rig: &Rig, callback: &str| {
        let mut body = rig.bot.new_call(rig.target(), &[]);
        body["callbackUri"] = json!(callback);
        body
    };
    let direct = URLS.iter().map(|(found, url)| (*found, rig.sentinels.at(url)));
    let hops = (0..URLS.len()).step_by(4).map(|number| (Found::Resolved, rig.redirect_to(number)));
    let mut attempts = 0;
    for (found, url) in direct.chain(hops).collect::<Vec<_>>() {
        let body = create(&rig, &url);
        let answer = rig.bot.send(Method::POST, calls, Some(body)).await.unwrap();
        if found == Found::Written {
            assert_eq!(answer.status, 400, "{url}: {}", answer.body);
            assert_eq!(answer.body["error"]["code"], "8523", "{url}");
            continue;
        }
        let call = answer.ok().expect(&url)["id"].as_str().unwrap().to_owned();
        let first = rig.first_attempt(&call).await;
        assert_ne!(first["state"], "delivered", "{url}");
        let error = first["lastError"].as_str().unwrap_or_default();
        assert!(!error.contains("refused"), "{url}: {error}");
        // Where a name led is not told; where a redirect says it leads, is.
        let is_name = !url.contains("/redirect/");
        assert!(!(is_name && error.contains("127.0.0.")), "{url}: {error}");
        rig.bot.hang_up(&call).await.unwrap();
        attempts += 1;
    }
    assert!(attempts > 30, "{attempts}");
    rig.sentinels.assert_untouched().await;
    // The same server does deliver where it may.
    let call = rig.bot.call(rig.target(), &[]).await.unwrap();
    rig.bot.until(patience(), is_audio_active).await.unwrap();
    rig.bot.hang_up(&call).await.unwrap();
    let good = format!("http://mixed.test:{}/callback", rig.sentinels.port);
    let body = create(&rig, &good);
    let answer = rig.bot.send(Method::POST, calls, Some(body)).await.unwrap().ok().unwrap();
    let first = rig.first_attempt(answer["id"].as_str().unwrap()).await;
    assert_eq!(first["state"], "delivered", "{first}");
    rig.sentinels.assert_untouched().await;
}

#[tokio::test]
async fn nothing_in_a_tokens_header_makes_the_server_fetch() {
    let rig = Rig::start().await;
    let there = format!("http://127.0.0.1:{}/keys", rig.sentinels.port);
    let own = std::fs::read_to_string(rig.server.directory().join(TOKEN_KEY_FILE)).unwrap();
    let end = own.find("-----BEGIN CERTIFICATE").unwrap();
    let key = EncodingKey::from_rsa_pem(&own.as_bytes()[..end]).unwrap();
    let good = jsonwebtoken::dangerous::insecure_decode::<Value>(rig.bot.token()).unwrap();
    let url = format!("{}/v1.0/communications/calls", rig.server.base());
    let send = async |header: &Header, claims: &Value| {
        let token = jsonwebtoken::encode(header, claims, &key).unwrap();
        let answer = http_client().unwrap().get(&url).bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    };
    let plain = Header { kid: good.header.kid.clone(), ..Header::new(Algorithm::RS256) };
    assert_eq!(send(&plain, &good.claims).await, 200, "the forger's key is the server's own");
    for (what, header) in [
        ("jku", Header { jku: Some(there.clone()), ..plain.clone() }),
        ("x5u", Header { x5u: Some(there.clone()), ..plain.clone() }),
        ("kid", Header { kid: Some(there.clone()), ..plain.clone() }),
        ("x5c", Header { x5c: Some(vec![there.clone()]), ..plain.clone() }),
    ] {
        assert_eq!(send(&header, &good.claims).await, 401, "{what}");
    }
    // Nor does an issuer that nobody trusts.
    let mut claims = good.claims.clone();
    claims["iss"] = json!(there);
    assert_eq!(send(&Header { kid: Some("x".into()), ..plain.clone() }, &claims).await, 401);
    assert_eq!(send(&plain, &claims).await, 401);
    rig.sentinels.assert_untouched().await;
}
