//! The way into a guest: the system's OpenSSH client, its key and configuration, and the connection that the supervisor
//! keeps. Must not know what the guest is asked to do, nor how it was started.

pub mod client;
pub mod command;
pub mod config;
pub mod key;
pub mod master;
pub mod quote;
pub mod ready;
pub(crate) mod said;
