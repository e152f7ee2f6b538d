//! Whole servers on free ports: what a bot and a caller would notice.

#![expect(clippy::unwrap_used, reason = "all of this binary is tests, helper functions too")]

mod admission;
mod architecture;
mod auth;
mod bench;
mod calls;
mod cancel;
mod cli;
mod corpus_json;
mod corpus_wav;
mod deliveries;
mod full_disk;
mod handset;
mod hook;
mod http_calls;
mod http_surface;
mod incoming;
mod line;
mod notifications;
mod pace;
mod play_prompt;
mod prompts_evil;
mod receipts;
mod restart;
mod start;
mod strict;
