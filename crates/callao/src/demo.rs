//! `callao demo`: the throw-away world it runs in. `commands::demo` tells the story; here are its stage and props:
//! an image (`image`), loopback servers (`server`, `mirror`, `gateway`) and the child process that is killed (`child`).

pub(crate) mod child;
pub(crate) mod copy;
pub(crate) mod gateway;
pub(crate) mod image;
pub(crate) mod mirror;
pub(crate) mod server;
