//! `callao demo`: the throw-away world it runs in. `commands::demo` tells the stories; here are their stage and props: an
//! image (`image`), loopback servers (`server`, `mirror`, `gateway`), children that can be ended at any moment (`child`,
//! `get`), and users with homes and nodes of their own (`user`, `node`).

pub(crate) mod child;
pub(crate) mod copy;
pub(crate) mod gateway;
pub(crate) mod get;
pub(crate) mod image;
pub(crate) mod mirror;
pub(crate) mod node;
pub(crate) mod server;
pub(crate) mod user;
