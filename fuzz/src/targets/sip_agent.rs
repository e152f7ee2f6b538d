//! The user agent under any sequence of messages, calls and time: no panic, everything that it
//! sends can be read, and nothing is left when all is over.
//!
//! The input is cut at `0xFF`: pieces of one or two octets are things that happen here, longer ones
//! are datagrams, in which `{tag}`, `{call}` and `{branch}` stand for those of what we sent last.

use std::time::Duration;

use graphophone_sip::fuzzing::{Agent, Judged, datagram};

/// Most pieces of one input.
const MOST: usize = 64;

pub(crate) fn run(data: &[u8]) {
    let mut agent = Agent::new();
    let mut last = Last::default();
    for piece in data.split(|byte| *byte == 0xFF).take(MOST) {
        let sent = match piece {
            [] => Vec::new(),
            [b'c'] => agent.call(),
            [b'a', back] => agent.command(usize::from(back % 4), 0),
            [b'h', back] => agent.command(usize::from(back % 4), 1),
            [seconds] => agent.pass(Duration::from_secs(u64::from(*seconds))),
            [a, b] => agent.pass(Duration::from_millis(u64::from(*a) * u64::from(*b))),
            // A stranger's, now and then.
            message => agent.receive(message.len() % 8 != 0, &last.put_into(message)),
        };
        for message in sent {
            let passes = matches!(datagram(&message), Judged::Pass { .. });
            assert!(passes, "we send what we refuse: {}", String::from_utf8_lossy(&message));
            last.note(&message);
        }
    }
    assert_eq!(agent.end(), 0, "something is left");
}

/// Of the last message that we sent.
#[derive(Default)]
struct Last {
    tag: String,
    call: String,
    branch: String,
}

impl Last {
    fn note(&mut self, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        let response = text.starts_with("SIP/2.0");
        for line in text.split("\r\n") {
            let parameter = |name: &str| line.split(name).nth(1).map(until_delimiter);
            if let Some(call) = line.strip_prefix("Call-ID: ") {
                self.call = call.to_owned();
            } else if line.starts_with(if response { "To: " } else { "From: " }) {
                self.tag = parameter(";tag=").unwrap_or(&self.tag).to_owned();
            } else if line.starts_with("Via: ") && !response {
                self.branch = parameter(";branch=").unwrap_or(&self.branch).to_owned();
            }
        }
    }

    fn put_into(&self, message: &[u8]) -> Vec<u8> {
        if !message.contains(&b'{') {
            return message.to_vec();
        }
        // A lossy copy only of what is a template.
        let text = String::from_utf8_lossy(message).replace("{tag}", &self.tag);
        text.replace("{call}", &self.call).replace("{branch}", &self.branch).into_bytes()
    }
}

fn until_delimiter(text: &str) -> &str {
    text.split([';', ',', '>', ' ']).next().unwrap_or_default()
}
