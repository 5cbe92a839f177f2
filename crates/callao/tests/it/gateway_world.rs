//! A gateway inside of the test, what it serves from memory, and a client that speaks plain HTTP/1.1 over a socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callao::gateway::{Backend, Counters, Held, HeldFile, Options, Server};
use callao_content::digest::{Algorithm, Digest};
use callao_content::layout::Layout;
use callao_content::unixfs::{Data, Kind};
use callao_content::{Cid, car, cid, dag_pb, hash, unixfs};
use callao_store::served::Served;
use callao_testkit::blocks::BlockSet;
use tokio_util::sync::CancellationToken;

use crate::env::Sample;

/// No test waits longer for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What is served.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    singles: Vec<(Cid, Vec<u8>)>,
    files: Mutex<Vec<Arc<File>>>,
    gone: Mutex<Vec<Cid>>,
    blocks: Mutex<Arc<BlockSet>>,
}

/// A file of which some bytes are there.
#[derive(Debug)]
pub(crate) struct File {
    name: String,
    layout: Arc<Layout>,
    bytes: Arc<[u8]>,
    have: Mutex<Vec<Range<u64>>>,
    /// Whether the file on disk was changed by somebody: nothing of it can be read.
    pub(crate) changed: Mutex<bool>,
}

impl Shelf {
    pub(crate) fn of(files: &[&Sample]) -> Self {
        let mut shelf = Shelf::default();
        for sample in files {
            shelf.add("", sample);
        }
        shelf
    }

    /// A file, all of it.
    pub(crate) fn add(&mut self, name: &str, sample: &Sample) -> Arc<File> {
        let all = 0..sample.bytes.len() as u64;
        self.add_part(name, sample, std::slice::from_ref(&all))
    }

    /// A file of which only these bytes are there.
    pub(crate) fn add_part(&self, name: &str, sample: &Sample, have: &[Range<u64>]) -> Arc<File> {
        let file = Arc::new(File {
            name: name.to_owned(),
            layout: Arc::new(sample.layout.clone()),
            bytes: Arc::clone(&sample.bytes),
            have: Mutex::new(have.to_vec()),
            changed: Mutex::default(),
        });
        self.files.lock().expect("a lock").push(Arc::clone(&file));
        self.index();
        file
    }

    /// A single block.
    pub(crate) fn put(&mut self, codec: u64, block: Vec<u8>) -> Cid {
        let cid = Cid::new_v1(codec, *cid::raw_sha256(hash::sha256(&block)).hash());
        self.singles.push((cid, block));
        self.index();
        cid
    }

    /// The blocks of a file, and not the file: as in a CAR.
    pub(crate) fn put_blocks(&mut self, sample: &Sample) {
        for node in sample.layout.nodes() {
            self.put(cid::DAG_PB, node.bytes.to_vec());
        }
        for (index, leaf) in sample.layout.leaves().iter().enumerate() {
            let bytes = &sample.bytes[leaf.offset as usize..leaf.end() as usize];
            let cid = sample.layout.leaf_cid(index).expect("a leaf");
            self.put(cid.codec(), sample.layout.block(index, bytes));
        }
    }

    /// Every block of a CAR.
    pub(crate) fn put_car(&mut self, bytes: &[u8]) {
        for event in car::Reader::new().push(bytes).expect("a CAR") {
            if let car::Event::Block { cid, data, .. } = event {
                self.singles.push((cid, data.to_vec()));
            }
        }
        self.index();
    }

    pub(crate) fn directory(&mut self, entries: &[(&str, Cid)]) -> Cid {
        let data = unixfs::encode(&Data::empty(Kind::Directory));
        let mut links = Vec::new();
        for (name, cid) in entries {
            links.push(dag_pb::Link {
                cid: *cid,
                name: name.as_bytes(),
                tsize: Some(7),
            });
        }
        let data = Some(&*data);
        self.put(cid::DAG_PB, dag_pb::encode(&dag_pb::Node { links, data }))
    }

    pub(crate) fn symlink(&mut self, target: &str) -> Cid {
        let data = unixfs::encode(&Data {
            data: target.as_bytes(),
            ..Data::empty(Kind::Symlink)
        });
        let node = dag_pb::Node {
            links: Vec::new(),
            data: Some(&data),
        };
        self.put(cid::DAG_PB, dag_pb::encode(&node))
    }

    /// From now on this block is not there.
    pub(crate) fn lose(&self, cid: &Cid) {
        self.gone.lock().expect("a lock").push(*cid);
    }

    fn index(&self) {
        let files = self.files.lock().expect("a lock");
        let all = files
            .iter()
            .map(|file| ((*file.layout).clone(), Arc::clone(&file.bytes)));
        let set = BlockSet::new(all.collect(), self.singles.clone());
        *self.blocks.lock().expect("a lock") = Arc::new(set);
    }

    fn block(&self, wanted: &Cid) -> Option<Vec<u8>> {
        let gone = self.gone.lock().expect("a lock");
        if gone.iter().any(|gone| cid::same_block(gone, wanted)) {
            return None;
        }
        for file in self.files.lock().expect("a lock").iter() {
            for index in 0..file.layout.leaves().len() {
                let is_it = file
                    .layout
                    .leaf_cid(index)
                    .is_some_and(|leaf| cid::same_block(&leaf, wanted));
                if is_it && !file.has(index) {
                    return None;
                }
            }
        }
        let blocks = Arc::clone(&self.blocks.lock().expect("a lock"));
        blocks.get(wanted)
    }
}

impl Served for Shelf {
    fn length(&self, cid: &Cid) -> Option<u32> {
        self.block(cid).map(|block| block.len() as u32)
    }

    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        let block = self.block(cid);
        buffer.extend_from_slice(block.as_deref().unwrap_or_default());
        block.is_some()
    }
}

impl Held for Shelf {
    fn file(&self, root: &Cid) -> Option<Arc<dyn HeldFile>> {
        let files = self.files.lock().expect("a lock");
        let file = files.iter().find(|file| file.layout.root() == root)?;
        Some(Arc::clone(file) as Arc<dyn HeldFile>)
    }

    fn with_digest(&self, digest: &Digest) -> Vec<Cid> {
        let files = self.files.lock().expect("a lock");
        let fits = |file: &&Arc<File>| Digest::of(digest.algorithm(), &file.bytes) == *digest;
        files
            .iter()
            .filter(fits)
            .map(|file| *file.layout.root())
            .collect()
    }
}

impl File {
    /// More bytes have come.
    pub(crate) fn come(&self, range: Range<u64>) {
        let mut have = self.have.lock().expect("a lock");
        match have.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => {
                have.clear();
                have.push(range);
            }
        }
    }

    fn has(&self, index: usize) -> bool {
        let leaf = &self.layout.leaves()[index];
        let have = self.have.lock().expect("a lock");
        leaf.length == 0
            || have
                .iter()
                .any(|range| range.start <= leaf.offset && leaf.end() <= range.end)
    }
}

impl HeldFile for File {
    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn have(&self) -> Vec<Range<u64>> {
        self.have.lock().expect("a lock").clone()
    }

    fn read_leaves(&self, leaves: Range<usize>, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        if *self.changed.lock().expect("a lock") || !leaves.clone().all(|index| self.has(index)) {
            return false;
        }
        for leaf in &self.layout.leaves()[leaves] {
            buffer.extend_from_slice(&self.bytes[leaf.offset as usize..leaf.end() as usize]);
        }
        true
    }
}

/// A gateway that runs on a thread of its own; ends when dropped.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl World {
    pub(crate) fn start(shelf: Shelf) -> Self {
        World::with(Arc::new(shelf), |_| {})
    }

    /// With more than a shelf.
    pub(crate) fn with(shelf: Arc<dyn Held>, change: impl FnOnce(&mut Backend)) -> Self {
        let counters = Arc::new(Counters::default());
        let mut backend = Backend {
            shelf,
            fetcher: None,
            router: None,
            names: None,
            pages: None,
            rate: None,
            counters: Arc::clone(&counters),
            options: Options::default(),
        };
        change(&mut backend);
        let stop = CancellationToken::new();
        let (tell, told) = std::sync::mpsc::channel();
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
                let server = Server::bind(&[loopback], Arc::new(backend)).expect("it listens");
                tell.send(server.addresses()[0]).expect("somebody waits");
                server.run(token).await;
            });
        });
        World {
            address: told.recv().expect("an address"),
            counters,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks the server to end; [`World::join`] waits for it.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends well");
        }
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[])
    }

    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        ask(self.address, method, target, headers)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A test that failed has said why.
            drop(thread.join());
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Reply {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The blocks of a CAR.
    pub(crate) fn blocks(&self) -> Vec<Cid> {
        let events = car::Reader::new().push(&self.body).expect("a CAR");
        let cids = events.into_iter().filter_map(|event| match event {
            car::Event::Block { cid, data, .. } => {
                cid::verify_block(&cid, &data).expect("the block's bytes");
                Some(cid)
            }
            _ => None,
        });
        cids.collect()
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut connection = Connection::open(address);
    connection.send(method, target, headers);
    connection.read(method == "HEAD")
}

/// A connection that is kept.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it accepts");
        stream
            .set_read_timeout(Some(ANSWER_LIMIT))
            .expect("a limit");
        Connection(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            let address = self.0.get_ref().peer_addr().expect("an address");
            head.extend(["Host: ", &address.to_string(), "\r\n"]);
        }
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head += "\r\n";
        self.write(head.as_bytes());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("it is sent");
    }

    /// Reads some bytes, whatever they are; none at the end.
    pub(crate) fn some(&mut self, count: usize) -> usize {
        let mut buffer = vec![0; count];
        self.0.read(&mut buffer).unwrap_or(0)
    }

    pub(crate) fn read(&mut self, head_only: bool) -> Reply {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a status line");
        if line.is_empty() {
            // Closed before the head was sent: an answer that failed at once ends so, too.
            return Reply {
                status: 0,
                headers: Vec::new(),
                body: Vec::new(),
                whole: false,
            };
        }
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply {
            status: status.unwrap_or_else(|| panic!("a status: {line:?}")),
            headers,
            body: Vec::new(),
            whole: true,
        };
        if head_only || matches!(reply.status, 204 | 304) {
            return reply;
        }
        if reply.header("transfer-encoding") == "chunked" {
            reply.whole = self.chunks(&mut reply.body);
        } else {
            let length = reply.header("content-length").parse().expect("a length");
            let read = (&mut self.0).take(length).read_to_end(&mut reply.body);
            reply.whole = read.is_ok_and(|read| read as u64 == length);
        }
        reply
    }

    /// Whether the last chunk came.
    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).is_err() {
                return false;
            }
            let Ok(size) = u64::from_str_radix(line.trim_end(), 16) else {
                return false;
            };
            let read = (&mut self.0).take(size).read_to_end(body);
            let end = self
                .0
                .read_line(&mut String::new())
                .is_ok_and(|read| read == 2);
            if read.map_or(true, |read| read as u64 != size) || !end {
                return false;
            }
            if size == 0 {
                return true;
            }
        }
    }
}

/// `sha256:...` of a sample.
pub(crate) fn sha256(sample: &Sample) -> String {
    Digest::of(Algorithm::Sha256, &sample.bytes).to_string()
}
