//! Connections of the gateway: many at once, kept ones, slow ones, and the end of the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callao::gateway::{Backend, Counters, Options, Server};

use crate::env::Sample;
use crate::gateway_world::{Connection, Shelf, World};

const LEAF: usize = 256 * 1024;

/// Waits until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn two_hundred_connections_at_once_are_all_served_and_kept() {
    let sample = Sample::random(80, 2 * LEAF);
    let world = World::start(Shelf::of(&[&sample]));
    let leaf = sample.layout.leaf_cid(1).expect("a leaf");
    let target = format!("/ipfs/{leaf}?format=raw");
    let mut connections: Vec<Connection> =
        (0..200).map(|_| Connection::open(world.address)).collect();
    for _ in 0..2 {
        for connection in &mut connections {
            connection.send("GET", &target, &[]);
        }
        for connection in &mut connections {
            let reply = connection.read(false);
            assert_eq!((reply.status, reply.whole), (200, true));
            assert_eq!(reply.body, &sample.bytes[LEAF..]);
        }
    }
    until("all are open", || world.counters.connections() == 200);
    drop(connections);
    until("all are closed", || world.counters.connections() == 0);
}

#[test]
fn sixteen_clients_get_the_file_at_once() {
    let sample = Arc::new(Sample::random(81, 40 * LEAF));
    let world = Arc::new(World::start(Shelf::of(&[&sample])));
    let clients: Vec<_> = (0..16)
        .map(|number| {
            let (world, sample) = (Arc::clone(&world), Arc::clone(&sample));
            std::thread::spawn(move || {
                let query = if number % 2 == 0 { "" } else { "?format=car" };
                let reply = world.get(&format!("/ipfs/{}{query}", sample.cid()));
                assert!(reply.whole);
                if query.is_empty() {
                    assert!(reply.body == *sample.bytes);
                } else {
                    assert_eq!(reply.blocks().len(), 41);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client");
    }
    let all = 16 * sample.bytes.len() as u64;
    assert!(world.counters.sent() >= all);
    let clients = world.counters.clients();
    assert_eq!((clients.len(), clients[0].requests), (1, 16));
    until("nothing runs", || world.counters.clients()[0].running == 0);
}

#[test]
fn clients_that_take_nothing_do_not_keep_others_from_being_served() {
    let sample = Sample::random(82, 100 * LEAF);
    let world = World::start(Shelf::of(&[&sample]));
    let target = format!("/ipfs/{}", sample.cid());
    let idle: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(world.address);
            connection.send("GET", &target, &[]);
            assert!(connection.some(1) > 0);
            connection
        })
        .collect();
    assert!(world.get(&target).body == *sample.bytes);
    drop(idle);
}

#[test]
fn answers_under_way_end_well_when_the_server_ends() {
    let sample = Sample::random(83, 60 * LEAF);
    let mut world = World::start(Shelf::of(&[&sample]));
    let target = format!("/ipfs/{}", sample.cid());
    let mut running: Vec<Connection> = (0..16)
        .map(|_| {
            let mut connection = Connection::open(world.address);
            connection.send("GET", &target, &[]);
            connection
        })
        .collect();
    let idle = Connection::open(world.address);
    until("all have begun", || {
        world
            .counters
            .clients()
            .first()
            .is_some_and(|client| client.running == 16)
    });
    world.stop();
    for connection in &mut running {
        let reply = connection.read(false);
        assert!(reply.whole && reply.body == *sample.bytes);
    }
    drop(running);
    world.join();
    drop(idle);
    assert!(
        std::net::TcpStream::connect(world.address).is_err(),
        "nobody listens"
    );
}

#[test]
fn who_does_not_finish_does_not_keep_the_server_from_ending() {
    let sample = Sample::random(84, 100 * LEAF);
    let mut world = World::with(Arc::new(Shelf::of(&[&sample])), |backend| {
        backend.options.shutdown_grace = Duration::from_millis(100);
    });
    let mut stuck = Connection::open(world.address);
    stuck.send("GET", &format!("/ipfs/{}", sample.cid()), &[]);
    assert!(stuck.some(1) > 0);
    world.stop();
    world.join();
}

#[test]
fn a_port_in_use_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let backend = Backend {
            shelf: Arc::new(Shelf::default()),
            fetcher: None,
            router: None,
            names: None,
            pages: None,
            rate: None,
            counters: Arc::new(Counters::default()),
            options: Options::default(),
        };
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = Server::bind(&[free, address], Arc::new(backend)).expect_err("it is taken");
        let wanted = format!("cannot listen on {address}: Address already in use (os error 98)");
        assert_eq!(error.to_string(), wanted);
    });
}
