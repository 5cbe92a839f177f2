//! Nodes start, connect, tell who they are, and keep out whom they must.

use callao_p2p::{Error, Node, NodeKey, NodeOptions, Scope};

use crate::nodes::{TCP, address, options, start, until};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_meet_over_tcp_and_over_quic() {
    for kind in ["/tcp/", "/quic-v1"] {
        let server = start(options()).await;
        let client = start(NodeOptions {
            listen: Vec::new(),
            ..options()
        })
        .await;
        let mut changes = client.changes();
        let found = client.connect(&address(&server, kind)).await;
        assert_eq!(found, Ok(server.peer_id()));
        while client.peers().iter().all(|peer| peer.agent.is_empty()) {
            changes.changed().await.expect("the node runs");
        }
        let known = &client.peers()[0];
        assert_eq!(known.agent, "callao/0.0.1");
        assert!(known.lan && known.address.starts_with("/ip4/127.0.0.1/"));
        assert!(known.protocols.contains(&"/ipfs/id/1.0.0".to_owned()));
        until("the server sees the client", || server.peers().len() == 1).await;
        client.shutdown().await;
        until("the client said goodbye", || server.peers().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_trip_is_measured() {
    let (server, client) = (start(options()).await, start(options()).await);
    client
        .connect(&address(&server, "/tcp/"))
        .await
        .expect("connected");
    until("a ping", || client.peers()[0].rtt.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_told_of_the_gateway() {
    let server = start(NodeOptions {
        http: vec!["/ip4/127.0.0.1/tcp/8080/http".to_owned()],
        ..options()
    })
    .await;
    let client = start(options()).await;
    client
        .connect(&address(&server, "/tcp/"))
        .await
        .expect("connected");
    let gateway = || client.peers()[0].http.clone();
    until("identify", || gateway().is_some()).await;
    assert_eq!(gateway().as_deref(), Some("http://127.0.0.1:8080"));
}

#[tokio::test(flavor = "multi_thread")]
async fn named_peers_are_connected_to_again() {
    let key = NodeKey::generate();
    let server = start(NodeOptions {
        key: key.clone(),
        ..options()
    })
    .await;
    let place = address(&server, "/tcp/");
    let client = start(NodeOptions {
        peers: vec![place.clone()],
        scope: Scope::Public,
        ..options()
    })
    .await;
    until("the first connection", || client.peers().len() == 1).await;
    server.shutdown().await;
    until("it is gone", || client.peers().is_empty()).await;
    let port = place.split('/').nth(4).expect("a port");
    let again = start(NodeOptions {
        key,
        listen: vec![format!("/ip4/127.0.0.1/tcp/{port}")],
        ..options()
    })
    .await;
    until("the second connection", || client.peers().len() == 1).await;
    until("the other side has it", || again.peers().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_stays_out_both_ways() {
    let (liar, node) = (start(options()).await, start(options()).await);
    node.connect(&address(&liar, "/tcp/"))
        .await
        .expect("connected");
    node.ban(&liar.peer_id()).await.expect("the node runs");
    until("it is out", || node.peers().is_empty()).await;
    let refused = node
        .connect(&address(&liar, "/tcp/"))
        .await
        .expect_err("banned");
    assert_eq!(
        refused.to_string(),
        format!(
            "cannot connect to {}: the peer sent false bytes before",
            address(&liar, "/tcp/")
        )
    );
    // It may believe for a moment that it is in.
    drop(liar.connect(&address(&node, "/quic-v1")).await);
    until("it is out again", || {
        node.peers().is_empty() && liar.peers().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_name_is_dialled_only_within_the_scope() {
    let server = start(options()).await;
    let careful = start(NodeOptions {
        scope: Scope::Public,
        ..options()
    })
    .await;
    let addresses = server.addresses();
    careful
        .found(&server.peer_id(), &addresses)
        .await
        .expect("the node runs");
    let relaxed = start(options()).await;
    relaxed
        .found(&server.peer_id(), &addresses)
        .await
        .expect("the node runs");
    until("the relaxed one connects", || relaxed.peers().len() == 1).await;
    assert!(careful.peers().is_empty());
    // What the user names is not filtered.
    assert!(careful.connect(&address(&server, "/tcp/")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_and_where() {
    let server = start(options()).await;
    let taken = address(&server, "/tcp/");
    let (place, _) = taken.split_once("/p2p/").expect("it ends in the ID");
    let busy = Node::start(NodeOptions {
        listen: vec![place.to_owned()],
        ..options()
    })
    .await;
    assert_eq!(
        busy.expect_err("the port is taken").to_string(),
        format!("cannot listen on {place}: Address already in use (os error 98)")
    );
    let client = start(options()).await;
    let wrong = format!("{place}/p2p/{}", NodeKey::generate().peer_id());
    let said = |result: Result<String, Error>| result.expect_err("refused").to_string();
    assert_eq!(
        said(client.connect(&wrong).await),
        format!(
            "cannot connect to {wrong}: another peer answers there: {}",
            server.peer_id()
        )
    );
    let own = address(&client, "/tcp/");
    assert_eq!(
        said(client.connect(&own).await),
        format!("cannot connect to {own}: that is this node itself")
    );
    server.shutdown().await;
    assert_eq!(
        said(client.connect(&taken).await),
        format!("cannot connect to {taken}: Connection refused (os error 111)")
    );
    assert_eq!(
        said(client.connect("/ip4/127.0.0.1/tcp/1/ws").await),
        "cannot connect to /ip4/127.0.0.1/tcp/1/ws: no transport for this kind of address"
    );
    assert_eq!(
        said(client.connect("nonsense").await),
        "not a multiaddr (invalid multiaddr): `nonsense`"
    );
    let bad = Node::start(NodeOptions {
        listen: vec![TCP.to_owned(), "/tcp/1".to_owned()],
        ..options()
    })
    .await;
    assert_eq!(
        bad.expect_err("not a place to listen at").to_string(),
        "cannot listen on /tcp/1: no transport for this kind of address"
    );
}
