// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::identity::WorkloadCertificate;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use time::OffsetDateTime;
use tiphys_proto::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

fn certificate(version: u64) -> WorkloadCertificate {
    WorkloadCertificate {
        chain: format!("chain {version}"),
        key: format!("key {version}"),
        roots: format!("roots {version}"),
        not_after: OffsetDateTime::now_utc() + Duration::from_secs(60),
        version,
    }
}

async fn serving() -> (TempDir, Arc<SecretStore>, SecretDiscoveryServiceClient<Channel>) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let store = Arc::new(SecretStore::default());
    tokio::spawn(serve(uds::listen(&path).await.unwrap(), store.clone()));
    let connector = tower_connector(path);
    let channel = Endpoint::from_static("http://sds").connect_with_connector(connector).await.unwrap();
    (dir, store, SecretDiscoveryServiceClient::new(channel))
}

fn tower_connector(
    path: std::path::PathBuf,
) -> impl tower::Service<
    http::Uri,
    Response = TokioIo<UnixStream>,
    Error = std::io::Error,
    Future = impl Future<Output = Result<TokioIo<UnixStream>, std::io::Error>> + Send,
> {
    tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { Ok(TokioIo::new(UnixStream::connect(path).await?)) }
    })
}

fn text(secret: &tiphys_proto::google::protobuf::Any) -> String {
    let secret = <Secret as prost::Message>::decode(&secret.value[..]).unwrap();
    let source = match secret.r#type.unwrap() {
        secret::Type::TlsCertificate(c) => c.private_key.unwrap(),
        secret::Type::ValidationContext(v) => v.trusted_ca.unwrap(),
        other => panic!("{other:?}"),
    };
    match source.specifier.unwrap() {
        Specifier::InlineBytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn subscribe(sender: &UnboundedSender<DeltaDiscoveryRequest>, names: &[&str]) {
    let names = names.iter().map(ToString::to_string).collect();
    sender.send(DeltaDiscoveryRequest { resource_names_subscribe: names, ..Default::default() }).unwrap();
}

#[tokio::test]
async fn delta_waits_for_the_first_and_pushes_the_next() {
    let (_dir, store, mut client) = serving().await;
    let (sender, receiver) = mpsc::unbounded_channel();
    subscribe(&sender, &["default", "ROOTCA"]);
    let mut answers = client.delta_secrets(UnboundedReceiverStream::new(receiver)).await.unwrap().into_inner();
    let early = tokio::time::timeout(Duration::from_millis(100), answers.message()).await;
    assert!(early.is_err(), "nothing to send yet");
    for version in [7, 8] {
        store.put(certificate(version));
        let answer = answers.message().await.unwrap().unwrap();
        let texts: Vec<String> = answer.resources.iter().map(|r| text(r.resource.as_ref().unwrap())).collect();
        assert_eq!(texts, [format!("roots {version}"), format!("key {version}")]);
        assert_eq!(answer.resources[0].version, version.to_string());
        // An acknowledgement brings nothing.
        let ack = DeltaDiscoveryRequest { response_nonce: answer.nonce, ..Default::default() };
        sender.send(ack).unwrap();
    }
    let late = tokio::time::timeout(Duration::from_millis(100), answers.message()).await;
    assert!(late.is_err(), "nothing has changed");
    subscribe(&sender, &["kubernetes://other"]);
    assert_eq!(answers.message().await.unwrap().unwrap().removed_resources, ["kubernetes://other"]);
}

#[tokio::test]
async fn state_of_the_world_sends_all_that_is_asked_for() {
    let (dir, store, mut client) = serving().await;
    let pem = dir.path().join("root.pem");
    std::fs::write(&pem, "from a file").unwrap();
    let file = format!("file-root:{}", pem.display());
    let (sender, receiver) = mpsc::unbounded_channel();
    let ask = |names: &[&str], nonce: &str| {
        let resource_names = names.iter().map(ToString::to_string).collect();
        sender.send(DiscoveryRequest { resource_names, response_nonce: nonce.into(), ..Default::default() }).unwrap();
    };
    store.put(certificate(7));
    ask(&["default"], "");
    let mut answers = client.stream_secrets(UnboundedReceiverStream::new(receiver)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!((first.resources.len(), first.version_info.as_str()), (1, "7"));
    ask(&["default", &file], &first.nonce);
    let second = answers.message().await.unwrap().unwrap();
    let texts: Vec<String> = second.resources.iter().map(text).collect();
    assert_eq!(texts, ["key 7", "from a file"]);
    std::fs::write(&pem, "from another file").unwrap();
    let third = answers.message().await.unwrap().unwrap();
    assert_eq!(text(&third.resources[1]), "from another file");
    ask(&["kubernetes://other"], &third.nonce);
    assert_eq!(answers.message().await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[test]
fn names_of_files() {
    let never = |name: &str| matches!(from_files(name, None), Some(Found::Never(_)));
    assert!(never("file-cert:only-one") && never("file-cert:a~b~c") && never("something"));
    assert!(matches!(from_files("file-cert:/nonexistent/a~/nonexistent/b", None), Some(Found::Later)));
}
