//! A server at its limit of load: new calls are refused, the running one goes on.

use std::net::Ipv4Addr;

use axum::http::Method;
use graphophone::bot::{http_client, is_audio_active};
use graphophone_media::codec::Codec;
use graphophone_testkit::{
    TestServer,
    audio::{as_heard, assert_heard, tone_wav},
    heard, is_end_of, patience, seen, soon,
};
use serde_json::Value;
use tokio::net::UdpSocket;

const CALLS: &str = "/v1.0/communications/calls";

async fn load(server: &TestServer) -> Value {
    let token = server.server().ready().admin_token.clone().expect("the dev profile has one");
    let url = format!("{}/graphophone/v1/load", server.base());
    let response = http_client().unwrap().get(url).bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// The first response with a final status to an INVITE of a peer that is known by its address.
async fn invite(server: &TestServer) -> String {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (at, to) = (socket.local_addr().unwrap(), server.sip());
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {} RTP/AVP 0\r\n",
        at.port()
    );
    let request = format!(
        "INVITE sip:+15551234@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKload\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@{at}>;tag=1\r\nTo: <sip:+15551234@{to}>\r\n\
         Call-ID: load\r\nCSeq: 1 INVITE\r\nContact: <sip:x@{at}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    socket.send_to(request.as_bytes(), to).await.unwrap();
    let mut buffer = [0; 4_096];
    soon("a final response", async {
        loop {
            let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
            let response = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if !response.starts_with("SIP/2.0 1") {
                return response;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_server_at_its_limit_refuses_new_calls_and_goes_on_playing() {
    let (server, mut bot) = TestServer::start_with_webhook(|config| {
        config.admission.enabled = true;
        config.admission.free_calls = 1;
        config.admission.engine_thread_percent = 0;
        config.admission.process_percent = 0;
    })
    .await;
    let id = bot.call(server.phone_identity(), &[]).await.unwrap();
    let phone = soon("the phone is called", server.phone().next_call()).await;
    bot.until(patience(), is_audio_active).await.unwrap();
    let file = tone_wav(440.0, 2_000);
    let uri = bot.serve("long", file.clone());
    let operation = bot.play(&id, &[uri], false).await.unwrap();

    let full = seen("the limit", || async {
        Some(load(&server).await).filter(|load| load["decision"]["state"] == "refusing")
    })
    .await;
    assert!(full["decision"]["reason"].is_string(), "{full}");
    assert_eq!(full["sample"]["calls"], 1, "{full}");

    let body = bot.new_call(server.phone_identity(), &[]);
    let refused = bot.send(Method::POST, CALLS, Some(body)).await.unwrap();
    assert_eq!((refused.status.as_u16(), &refused.body["error"]["code"]), (429, &"8516".into()));
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("(admission."), "the setting is named: {message}");
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3..=7).contains(&seconds), "{seconds}");

    let refused = invite(&server).await;
    assert!(refused.starts_with("SIP/2.0 503 "), "{refused}");
    assert!(refused.contains("\r\nRetry-After: "), "{refused}");

    let list = bot.send(Method::GET, CALLS, None).await.unwrap();
    assert_eq!(list.body["value"].as_array().unwrap().len(), 1, "nothing was made of them");
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_eq!(told.len(), 1, "the bot was told of nothing else");
    assert_heard(&heard(&phone, 2_000).await.samples, &as_heard(&[&file], Codec::Pcmu));
    let end = load(&server).await;
    assert_eq!(end["decision"]["refused"], 2, "{end}");
    // Counted up to a quarter of a second ago.
    assert!(end["engine"]["packetsSent"].as_u64().unwrap() >= 80, "{end}");
}
