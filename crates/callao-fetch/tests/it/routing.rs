//! Delegated routing over the wire: both forms, statuses, and addresses that must not be dialled.

use std::time::Duration;

use callao_fetch::netfilter::Scope;
use callao_fetch::routing::{Answered, Provider, Router as Client, Wanted};
use callao_fetch::source::SourceError;
use callao_testkit::router::{Router, RouterBehaviour, bitswap_record, gateway_record};

use crate::bench::{blocks_client, install_provider, waits};

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const ALL: Wanted = Wanted {
    gateways: true,
    bitswap: true,
};

async fn ask(router: &Router, scope: Scope) -> Result<Vec<Provider>, SourceError> {
    let (all, answered) = ask_for(router, scope, ALL).await?;
    assert_eq!(answered.providers, all.len());
    Ok(all)
}

async fn ask_for(
    router: &Router,
    scope: Scope,
    wanted: Wanted,
) -> Result<(Vec<Provider>, Answered), SourceError> {
    install_provider();
    let url = router.url().parse().expect("a URL");
    let client = Client::new(blocks_client(), url, waits(), scope);
    let cid = callao_content::cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    let mut all = Vec::new();
    let mut found = |provider| all.push(provider);
    let answered = client
        .providers(&cid.expect("a CID"), wanted, &mut found)
        .await?;
    Ok((all, answered))
}

#[tokio::test]
async fn both_forms_and_the_filter() {
    for ndjson in [false, true] {
        let far =
            r#"{"Schema":"peer","ID":"x","Addrs":["/dns4/gateway.example/tcp/443/tls/http"]}"#;
        let records = vec![
            gateway_record("http://127.0.0.1:4321"),
            "7".to_owned(),
            far.to_owned(),
        ];
        let router = Router::start(RouterBehaviour {
            records,
            ndjson,
            ..RouterBehaviour::default()
        });
        let public = ask(&router, Scope::Public).await.expect("an answer");
        assert_eq!(public.len(), 1, "loopback is not dialled for a stranger");
        assert_eq!(public[0].gateways[0].as_str(), "https://gateway.example/");
        let lan = ask(&router, Scope::Lan).await.expect("an answer");
        assert_eq!(lan[0].gateways[0].as_str(), "http://127.0.0.1:4321/");
        assert_eq!(lan.len(), 2);
        let asked = &router.requests()[0].path;
        // The same multihash as a CIDv1.
        assert!(
            asked.starts_with("/routing/v1/providers/bafybei"),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn statuses_mean_what_the_spec_says() {
    let with = |status| {
        Router::start(RouterBehaviour {
            status: Some(status),
            ..RouterBehaviour::default()
        })
    };
    let nobody = ask(&with((404, None)), Scope::Public).await;
    assert!(nobody.expect("404 means nobody").is_empty());
    match ask(&with((429, Some(7))), Scope::Public).await {
        Err(SourceError::Busy { retry_after, .. }) => {
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
        other => panic!("{other:?}"),
    }
    let error = ask(&with((501, None)), Scope::Public).await;
    assert!(matches!(error, Err(SourceError::Unsupported(_))));
    let error = ask(&with((500, None)), Scope::Public).await;
    assert!(matches!(error, Err(SourceError::Network(_))));
    let error = ask(&with((422, None)), Scope::Public).await;
    assert!(matches!(error, Err(SourceError::Protocol(_))));
    let never_answer = true;
    let silent = Router::start(RouterBehaviour {
        never_answer,
        ..RouterBehaviour::default()
    });
    let error = ask(&silent, Scope::Public).await;
    assert!(matches!(error, Err(SourceError::Network(_))));
}

#[tokio::test]
async fn peers_that_speak_bitswap_come_with_their_addresses() {
    let records = vec![
        bitswap_record(PEER, &["/ip4/127.0.0.1/tcp/4001", "/ip4/1.1.1.1/tcp/4001"]),
        gateway_record("http://127.0.0.1:4321"),
    ];
    let router = Router::start(RouterBehaviour {
        records,
        ..RouterBehaviour::default()
    });
    let only = |gateways, bitswap| Wanted { gateways, bitswap };
    let (public, answered) = ask_for(&router, Scope::Public, only(false, true))
        .await
        .expect("an answer");
    assert_eq!(public.len(), 1);
    assert_eq!(
        (public[0].peer.as_str(), &public[0].addresses[..]),
        (PEER, &["/ip4/1.1.1.1/tcp/4001".to_owned()][..])
    );
    assert_eq!(answered.refused, 2, "both loopback addresses");
    let (lan, _) = ask_for(&router, Scope::Lan, only(false, true))
        .await
        .expect("an answer");
    assert_eq!((lan.len(), lan[0].addresses.len()), (1, 2));
    let (gateways, _) = ask_for(&router, Scope::Lan, only(true, false))
        .await
        .expect("an answer");
    assert_eq!(gateways.len(), 1);
    assert!(gateways[0].addresses.is_empty());
    let asked: Vec<String> = router
        .requests()
        .into_iter()
        .map(|one| one.path.split_once('?').expect("a filter").1.to_owned())
        .collect();
    let bitswap = "filter-protocols=unknown,transport-bitswap";
    let http = "filter-protocols=unknown,transport-ipfs-gateway-http";
    assert_eq!(asked, [bitswap, bitswap, http]);
}

#[tokio::test]
async fn a_peer_without_addresses_is_looked_up_in_both_spellings() {
    for peer_ids_as_cids in [false, true] {
        let router = Router::start(RouterBehaviour {
            records: vec![bitswap_record(PEER, &[]), bitswap_record("nobody", &[])],
            peers: vec![bitswap_record(
                PEER,
                &["/ip4/10.0.0.1/tcp/1", "/ip4/1.1.1.1/tcp/4001"],
            )],
            peer_ids_as_cids,
            ..RouterBehaviour::default()
        });
        let (all, answered) = ask_for(&router, Scope::Public, ALL)
            .await
            .expect("an answer");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].addresses, ["/ip4/1.1.1.1/tcp/4001"]);
        assert_eq!(
            answered,
            Answered {
                providers: 1,
                refused: 1
            }
        );
        let spellings = router.requests().len() - 1;
        assert_eq!(spellings, if peer_ids_as_cids { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_router_that_answers_garbage_is_told_of() {
    let said = async |body| {
        let router = Router::start(RouterBehaviour {
            body: Some(body),
            ..RouterBehaviour::default()
        });
        match ask(&router, Scope::Public).await {
            Err(error) => error.to_string(),
            Ok(all) => panic!("{all:?}"),
        }
    };
    assert_eq!(
        said("<html>").await,
        "the router's answer cannot be read: expected value at line 1 column 1"
    );
    assert_eq!(
        said(r#"{"Providers":7}"#).await,
        "the router's answer cannot be read: invalid type: integer `7`, expected a sequence at line 1 column 14"
    );
}
