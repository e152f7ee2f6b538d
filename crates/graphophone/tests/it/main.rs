//! Whole servers on free ports: what a bot and a caller would notice.

#![expect(clippy::unwrap_used, reason = "all of this binary is tests, helper functions too")]

mod admission;
mod architecture;
mod auth;
mod batch;
mod bench;
mod calls;
mod canary;
mod cancel;
mod cli;
mod clock;
mod corpus_json;
mod corpus_wav;
mod deliveries;
mod drain;
mod encodings;
mod full_disk;
mod handset;
mod hook;
mod http_calls;
mod http_surface;
mod incoming;
mod isolation;
mod issuers;
mod keys;
mod leaks;
mod limits;
mod line;
mod media_edge;
mod notifications;
mod odata;
mod pace;
mod play_prompt;
mod prompts_evil;
mod receipts;
mod repeated;
mod restart;
mod sip_corpus;
mod sip_wire;
mod small_disk;
mod ssrf;
mod start;
mod strict;
