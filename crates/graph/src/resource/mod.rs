//! Graph resources: what is read from bodies, what is stored, and how it is rendered.

pub mod audio_routing_group;
pub mod call;
pub mod create_call;
pub mod identity;
pub mod media;
pub mod meeting;
pub mod operation;
pub mod participant;
pub mod receipt;
pub mod result_info;
pub mod roster;
pub mod tone;
