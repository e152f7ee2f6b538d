//! Behaviour of the user agent under a clock that the tests move.

mod callers;
mod calls;
mod chaos;
mod dialogs;
mod harness;
mod kept;
mod offers;
mod refers;
mod registration;
mod replacing;
mod routes;
mod strangers;
