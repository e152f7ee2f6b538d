//! A call between a bot and the built-in phone, and everything the bot is told of it.

use axum::http::Method;
use graphophone_sip::phone::{Phone, PhoneCall};
use graphophone_testkit::{
    Answer, Bot, TestServer, is_audio_active, is_end_of, is_terminated, patience,
};
use serde_json::{Value, json};

/// An established call. What the bot is told is kept, in order.
pub(crate) struct Line {
    pub(crate) bot: Bot,
    pub(crate) call: String,
    pub(crate) phone: PhoneCall,
    pub(crate) told: Vec<Value>,
}

impl Line {
    /// A new bot calls the server's phone.
    pub(crate) async fn open(server: &TestServer) -> Self {
        Self::between(server.bot().await, server.phone()).await
    }

    /// This bot calls this phone. One at a time for each phone.
    pub(crate) async fn between(mut bot: Bot, phone: &Phone) -> Self {
        let user = json!({"user": {"id": graphophone::config::DEV_PHONE_USER_ID}});
        let call = bot.call(user, &[]).await.expect("the call is created");
        let told = bot.until(patience(), is_audio_active).await.expect("the phone answers");
        let told = told.into_iter().map(|received| received.value).collect();
        Self { bot, call, phone: phone.next_call().await, told }
    }

    /// `/v1.0/communications/calls/{id}` and what follows.
    pub(crate) fn path(&self, tail: &str) -> String {
        format!("/v1.0/communications/calls/{}{tail}", self.call)
    }

    pub(crate) async fn get(&self, tail: &str) -> Answer {
        self.bot.send(Method::GET, &self.path(tail), None).await.expect("an answer")
    }

    pub(crate) async fn post(&self, tail: &str, body: Value) -> Answer {
        self.bot.send(Method::POST, &self.path(tail), Some(body)).await.expect("an answer")
    }

    /// Plays one list; the operation's id comes back.
    pub(crate) async fn play(&self, uris: &[String]) -> String {
        self.bot.play(&self.call, uris, false).await.expect("playPrompt is accepted")
    }

    /// All operations that the API knows of.
    pub(crate) async fn operations(&self) -> Vec<Value> {
        let answer = self.get("/operations").await;
        assert_eq!(answer.status, 200);
        answer.body["value"].as_array().expect("a list").clone()
    }

    /// The operation as its notification has it.
    pub(crate) async fn end_of(&mut self, operation: &str) -> Value {
        loop {
            if let Some(end) = self.ends_of(operation).next() {
                return end["resourceData"].clone();
            }
            let told = self.bot.until(patience(), |value| is_end_of(value, operation)).await;
            let told = told.expect("the operation ends");
            self.told.extend(told.into_iter().map(|received| received.value));
        }
    }

    pub(crate) fn ends_of<'a>(&'a self, operation: &'a str) -> impl Iterator<Item = &'a Value> {
        self.told.iter().filter(move |value| is_end_of(value, operation))
    }

    /// Hangs up and waits for the last notification; all that came are returned.
    pub(crate) async fn hang_up(mut self) -> Vec<Value> {
        self.bot.hang_up(&self.call).await.expect("the call is hung up");
        let told = self.bot.until(patience(), is_terminated).await.expect("the call ends");
        self.told.extend(told.into_iter().map(|received| received.value));
        self.told
    }
}

/// How often these notifications report the end of an operation.
pub(crate) fn times_ended(told: &[Value], operation: &str) -> usize {
    told.iter().filter(|value| is_end_of(value, operation)).count()
}

/// `resultInfo` code, subcode and message.
pub(crate) fn result_of(operation: &Value) -> (u64, u64, String) {
    let result = &operation["resultInfo"];
    let number = |name: &str| result[name].as_u64().expect("resultInfo has numbers");
    (number("code"), number("subcode"), result["message"].as_str().unwrap_or_default().to_owned())
}
