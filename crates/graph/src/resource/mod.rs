//! Graph resources: what is read from bodies, what is stored, and how it is rendered.

pub mod call;
pub mod create_call;
pub mod identity;
pub mod media;
pub mod operation;
pub mod participant;
pub mod receipt;
pub mod result_info;
pub mod tone;
