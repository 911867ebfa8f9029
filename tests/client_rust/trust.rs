//! Tokens and certificates: what is refused ends with a reason, what is renewed goes on.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use dormouse::{
    client::{Client, ClientError},
    token::{Minting, SigningKey},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{open, server::Server, within};

const SECRET: &str = "a secret that is long enough for HS256, really";

fn token(user: &str) -> String {
    let minting = Minting { sub: user.to_owned(), ..Minting::default() };
    SigningKey::from_secret(SECRET).mint(&minting, None).expect("a token")
}

#[tokio::test]
async fn a_refused_token_ends_it_and_a_source_is_asked_for_another_once() {
    let server = Server::start(&["auth.mode=jwt", &format!("auth.keys=[{SECRET:?}]")]);
    let refused = within(server.client("nobody").open()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Closed { code: 4501, .. }), "{refused}");

    let asked = Arc::new(AtomicU32::new(0));
    let source = |answers: fn(u32) -> Result<String, &'static str>| {
        let asked = Arc::clone(&asked);
        move || {
            let time = asked.fetch_add(1, Ordering::Relaxed);
            async move { answers(time) }
        }
    };
    let ann = open(server.client("old").token_source(source(|_| Ok(token("ann"))))).await;
    assert_eq!(ann.vitals().user, "ann");
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1);

    let refused = within(server.client("").token_source(source(|_| Ok("worse".to_owned()))).open()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Closed { code: 4501, .. }), "{refused}");
    assert_eq!(asked.swap(0, Ordering::Relaxed), 2, "asked at first and after the refusal");

    let late = source(|time| if time == 0 { Err("not yet") } else { Ok(token("bob")) });
    assert_eq!(open(server.client("").token_source(late)).await.vitals().user, "bob");
}

#[tokio::test]
async fn over_tls_a_server_is_trusted_by_the_authority_that_vouches_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();

    let server = Server::start(&[&format!("listen.tls.cert={cert_file:?}"), &format!("listen.tls.key={key_file:?}")]);
    let url = format!("wss://{}/v1/gateway", server.address);
    let refused = within(Client::connect(&url).token("ann").open()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Tls(_)), "{refused}");

    for url in [url, format!("wss://localhost:{}/v1/gateway", server.address.port())] {
        let ann = open(Client::connect(url).token("ann").authority(pem.clone())).await;
        let mut lobby = within(ann.subscribe("chat:secret").into_future()).await.unwrap();
        let published = within(ann.publish("chat:secret", &"hush")).await.unwrap();
        assert_eq!(within(lobby.next()).await.unwrap().offset, published.offset);
        within(ann.close()).await;
    }
}
