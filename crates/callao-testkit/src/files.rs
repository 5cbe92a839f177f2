//! A web server with several small files, and 404 for everything else. Knows no range and no fault.

use std::collections::BTreeMap;
use std::io;

use crate::http::{Handler, Logged, Next, Reply, Request, Server};

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct Files {
    server: Server,
}

impl Files {
    /// Starts a server of these paths, each beginning with `/`.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start<const N: usize>(files: [(&str, &[u8]); N]) -> Self {
        let files = files
            .into_iter()
            .map(|(path, bytes)| (path.to_owned(), bytes.to_owned()))
            .collect();
        Self {
            server: Server::start("fake-files", Paths(files)),
        }
    }

    /// `http://127.0.0.1:PORT` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.base())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.requests()
    }
}

struct Paths(BTreeMap<String, Vec<u8>>);

impl Handler for Paths {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        match self.0.get(request.path()) {
            Some(bytes) => reply.whole(&request, 200, &[], bytes).await,
            None => reply.whole(&request, 404, &[], b"not found\n").await,
        }
    }
}
