// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::testing::{authority, csr};
use crate::{IssueRequest, RootOptions, SpiffeId};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpListener;

fn client(authority: &Authority, own: Option<(Vec<CertificateDer<'static>>, KeyPair)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.trust().certificates()[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

async fn handshake(
    identity: &Arc<ServerIdentity>,
    roots: &TrustBundle,
    client: ClientConfig,
    name: &str,
) -> Result<TlsConnection, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(server_config(identity.clone(), roots).unwrap());
    let address = listener.local_addr().unwrap();
    let name = ServerName::try_from(name.to_string()).unwrap();
    let connect = async move {
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut tls = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, tcp).await?;
        // In TLS 1.3 the server refuses a client certificate after the client's handshake is done.
        tokio::io::AsyncReadExt::read(&mut tls, &mut [0; 1]).await
    };
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp).await.map(TlsConnection::new).map_err(|e| e.to_string())
    };
    tokio::select! {
        accepted = accept => accepted,
        refused = connect => Err(refused.unwrap_err().to_string()),
    }
}

#[tokio::test]
async fn names_clients_and_strangers() {
    let (_dir, authority) = authority();
    let names = ServerNames::istiod("istio-system", "canary").with_loopback();
    let identity = ServerIdentity::new(authority.clone(), names).unwrap();
    for name in ["istiod.istio-system.svc", "istiod-canary.istio-system.svc", "localhost", "127.0.0.1"] {
        let connection = handshake(&identity, &authority.trust(), client(&authority, None), name).await.unwrap();
        assert!(connection.peer().tls && connection.peer().certificates.is_empty());
    }
    assert!(handshake(&identity, &authority.trust(), client(&authority, None), "example.com").await.is_err());

    let (csr, key) = csr();
    let id = SpiffeId::new("cluster.local", "a", "b").unwrap();
    let issued = authority.issue(&IssueRequest { csr: &csr, identities: &[id], ttl: None }).unwrap();
    let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let connection = handshake(&identity, &authority.trust(), client(&authority, Some((vec![own], key))), "localhost")
        .await
        .unwrap();
    assert_eq!(connection.peer().certificates.len(), 1);

    let (_other, stranger) = crate::testing::authority();
    let (csr, key) = crate::testing::csr();
    let id = SpiffeId::new("cluster.local", "a", "b").unwrap();
    let issued = stranger.issue(&IssueRequest { csr: &csr, identities: &[id], ttl: None }).unwrap();
    let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    assert!(
        handshake(&identity, &authority.trust(), client(&authority, Some((vec![own], key))), "localhost")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn another_bundle_brings_another_certificate() {
    let (dir, authority) = authority();
    let identity = ServerIdentity::new(authority.clone(), ServerNames::default().with_loopback()).unwrap();
    let before = identity.current.load().certified.clone();
    let task = tokio::spawn(identity.clone().run());
    tokio::task::yield_now().await;
    let other = dir.path().join("other");
    Authority::self_signed(&other, &RootOptions::new("cluster.local"), authority.options().clone()).unwrap();
    authority.reload(&other).unwrap();
    for _ in 0..200 {
        if !Arc::ptr_eq(&before, &identity.current.load().certified) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    handshake(&identity, &authority.trust(), client(&authority, None), "localhost").await.unwrap();
    task.abort();
}
