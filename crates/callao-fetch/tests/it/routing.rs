//! Delegated routing over the wire: both forms, statuses, and addresses that must not be dialled.

use std::time::Duration;

use callao_fetch::netfilter::Scope;
use callao_fetch::routing::{Provider, Router as Client};
use callao_fetch::source::SourceError;
use callao_testkit::router::{Router, RouterBehaviour, gateway_record};

use crate::bench::{blocks_client, install_provider, waits};

async fn ask(router: &Router, scope: Scope) -> Result<Vec<Provider>, SourceError> {
    install_provider();
    let url = router.url().parse().expect("a URL");
    let client = Client::new(blocks_client(), url, waits(), scope);
    let cid = callao_content::cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    let mut all = Vec::new();
    let mut found = |provider| all.push(provider);
    let count = client.providers(&cid.expect("a CID"), &mut found).await?;
    assert_eq!(count, all.len());
    Ok(all)
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
