//! A disk that is really full (promise P13): what plays goes on and is told of, what is new is
//! refused, and with room again everything goes on by itself.

use axum::http::Method;
use graphophone_testkit::{
    Bot, ServerProcess, SmallDisk, WirePhone, audio::tone_wav, is_audio_active, is_end_of,
    is_terminated, patience, seen,
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");
const CALLS: &str = "/v1.0/communications/calls";

fn prompt(uri: &str) -> Value {
    json!({"prompts": [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
    }]})
}

async fn goes_on(phone: &WirePhone) {
    let before = phone.heard().packets.len();
    seen("the prompt goes on", || async {
        (phone.heard().packets.len() > before + 20).then_some(())
    })
    .await;
}

async fn call(bot: &mut Bot, phone: &WirePhone) -> String {
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    call
}

#[tokio::test]
async fn a_full_disk_stops_nothing_that_has_begun_and_recovers_by_itself() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let data = disk.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let server = ServerProcess::start(BINARY, &data).await;
    let mut bot = server.bot().await;
    let (phone, other) = (WirePhone::start().await, WirePhone::start().await);
    let first = call(&mut bot, &phone).await;
    let second = call(&mut bot, &other).await;
    let looping = bot.play(&first, &[bot.serve("loop", tone_wav(440.0, 200))], true).await.unwrap();
    let uri = bot.serve("cached", tone_wav(880.0, 100));
    let known = bot.play(&second, std::slice::from_ref(&uri), false).await.unwrap();
    bot.until(patience(), |value| is_end_of(value, &known)).await.unwrap();
    assert!(data.join("store/reserve").exists());

    disk.fill();
    let path = format!("{CALLS}/{first}/playPrompt");
    // What is left of the last block may still hold one or another.
    let refused = seen("new work is refused", || async {
        let answer = bot.send(Method::POST, &path, Some(prompt(&uri))).await.unwrap();
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 507, "{}", refused.body);
    assert_eq!(refused.body["error"]["code"], "InsufficientStorage");
    assert_eq!(refused.headers["retry-after"], "2");
    let body = bot.new_call(other.identity(), &[]);
    let refused = bot.send(Method::POST, CALLS, Some(body.clone())).await.unwrap();
    assert_eq!(refused.status, 507, "{}", refused.body);
    goes_on(&phone).await;

    // Ends are told, and durable before that.
    bot.cancel(&first).await.unwrap();
    let told = bot.until(patience(), |value| is_end_of(value, &looping)).await.unwrap();
    assert_eq!(told.last().unwrap().value["resourceData"]["resultInfo"]["subcode"], 8508);
    bot.hang_up(&second).await.unwrap();
    bot.until(patience(), is_terminated).await.unwrap();
    assert!(!data.join("store/reserve").exists(), "it was spent on that");

    disk.free();
    let made = seen("new work is taken again", || async {
        let answer = bot.send(Method::POST, CALLS, Some(body.clone())).await.unwrap();
        (answer.status == 201).then_some(answer)
    })
    .await;
    bot.until(patience(), is_audio_active).await.unwrap();
    assert!(data.join("store/reserve").exists());
    server.kill();

    let server = ServerProcess::start(BINARY, &data).await;
    let third = made.body["id"].as_str().unwrap();
    let third = format!("/app/calls/{third}");
    loop {
        let told = bot.next(patience()).await.unwrap().value;
        if is_terminated(&told) && told["resource"] == third.as_str() {
            break;
        }
    }
    let later = server.bot().await;
    for (call, operation, status) in [(&first, &looping, "failed"), (&second, &known, "completed")]
    {
        let path = format!("{CALLS}/{call}/operations/{operation}");
        let kept = later.send(Method::GET, &path, None).await.unwrap();
        assert_eq!(kept.body["status"], status, "{}", kept.body);
    }
}
