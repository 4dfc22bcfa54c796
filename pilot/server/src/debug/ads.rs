// SPDX-License-Identifier: Apache-2.0
//! Debug over the discovery stream, as `istioctl` asks: `istio.io/debug/syncz` and `istio.io/debug/config_dump` answer in Envoy's own messages
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/status/v3/csds.proto>), `istio.io/debug` with the text of the page that it names.
//!
//! The way of the data: the stream hands a [`Query`] to [`serve`], which answers one after the other beside all streams, so that no proxy waits
//! for a page. Who may see what is decided as for the HTTP pages, by the identity that the connection proved.

use std::time::SystemTime;

use axum::Extension;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use tiphys_ca::SpiffeId;
use tiphys_proto::envoy::admin::v3::UpdateFailureState;
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::envoy::service::status::v3::client_config::GenericXdsConfig;
use tiphys_proto::envoy::service::status::v3::{ClientConfig, ConfigStatus};
use tiphys_proto::google::protobuf::{Struct, Timestamp, Value, value::Kind};
use tiphys_view::{ClientInfo, SentState};
use tiphys_xds::{Answer, Entry, OtherRequest, Peer, ResourceType};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tower::ServiceExt;

use super::dump::whole;
use super::{Access, is_loopback, of_namespace, proxies, router};
use crate::http::Shown;

/// A page by name, with its parameters: the text of the page.
const PAGE: &str = "istio.io/debug";
/// What each proxy was sent and took.
const SYNCZ: &str = "istio.io/debug/syncz";
/// What a proxy is given.
const CONFIG_DUMP: &str = "istio.io/debug/config_dump";
/// Queries that may wait.
const WAITING: usize = 16;

/// A question of a stream.
pub struct Query {
    type_url: String,
    names: Vec<String>,
    peer: Peer,
    answer: oneshot::Sender<Result<Vec<Entry>, Status>>,
}

/// Where streams put their questions, and where [`serve`] finds them.
pub fn queries() -> (Asker, mpsc::Receiver<Query>) {
    let (send, receive) = mpsc::channel(WAITING);
    (Asker(send), receive)
}

/// Asks on behalf of streams.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Query>);

impl Asker {
    /// Takes a request of a debug type; others are unknown.
    pub fn ask(&self, peer: &Peer, request: &OtherRequest<'_>) -> Answer {
        if ![PAGE, SYNCZ, CONFIG_DUMP].contains(&request.type_url) {
            return Answer::Unknown;
        }
        let (answer, later) = oneshot::channel();
        let (type_url, names, peer) = (request.type_url.to_owned(), request.names.to_vec(), peer.clone());
        if let Err(error) = self.0.try_send(Query { type_url, names, peer, answer }) {
            let busy = Err(Status::unavailable("too many debug requests wait: ask again"));
            // The stream holds the other end.
            drop(error.into_inner().answer.send(busy));
        }
        Answer::Later(later)
    }
}

/// Answers queries until nobody can ask any more.
pub async fn serve(mut queries: mpsc::Receiver<Query>, shown: Shown) {
    while let Some(query) = queries.recv().await {
        let answer = answer(&shown, &query).await;
        // Who asked may be gone.
        let _ = query.answer.send(answer);
    }
}

async fn answer(shown: &Shown, query: &Query) -> Result<Vec<Entry>, Status> {
    let page = match query.type_url.as_str() {
        PAGE => match query.names.as_slice() {
            [name] => name.as_str(),
            _ => return Err(Status::invalid_argument("exactly one debug request is required")),
        },
        SYNCZ => "syncz",
        _ => "config_dump",
    };
    let path = format!("/debug/{}", page.split('?').next().unwrap_or_default());
    let access = access(shown, &query.peer, &path)?;
    match query.type_url.as_str() {
        PAGE => text(shown, access, page).await,
        SYNCZ => Ok(sync(shown, &access)),
        _ => dump(shown, &access, &query.names),
    }
}

/// What the peer of a stream may see of this page.
fn access(shown: &Shown, peer: &Peer, path: &str) -> Result<Access, Status> {
    let namespace =
        peer.identities.iter().find_map(|id| id.parse::<SpiffeId>().ok()).map(|id| id.namespace().to_owned());
    match namespace {
        Some(namespace) => of_namespace(shown, namespace, path).map_err(|_| {
            Status::permission_denied("the debug info is not available for the identity of this connection")
        }),
        None if peer.address.is_some_and(|address| is_loopback(address.ip())) => Ok(Access::All),
        None => {
            Err(Status::unauthenticated("authentication required: connect to the TLS port with a token or certificate"))
        }
    }
}

/// The text of an HTTP page.
async fn text(shown: &Shown, access: Access, page: &str) -> Result<Vec<Entry>, Status> {
    let request = Request::get(format!("/debug/{page}"))
        .body(Body::empty())
        .map_err(|error| Status::invalid_argument(format!("{page}: {error}")))?;
    let pages = router().layer(Extension(access)).with_state(shown.clone());
    // Its error type has no values.
    let Ok(response) = pages.oneshot(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| Status::internal(error.to_string()))?.to_bytes();
    if body.is_empty() && status != StatusCode::OK {
        return Err(Status::not_found(format!("{page}: {status}")));
    }
    Ok(vec![Entry::new(page, PAGE, body)])
}

/// What each proxy was sent and took. Streams of tools, which tell of no proxy configuration, are left out.
fn sync(shown: &Shown, access: &Access) -> Vec<Entry> {
    let is_proxy = |client: &ClientInfo| !client.node.metadata["PROXY_CONFIG"].is_null();
    let clients = shown.views.clients().into_iter().filter(|c| is_proxy(c) && access.sees(&c.node.namespace));
    clients.map(|client| Entry::of(client.node.id.to_string(), &client_config(&client))).collect()
}

fn client_config(client: &ClientInfo) -> ClientConfig {
    let node = &client.node;
    let fields = [("CLUSTER_ID", &node.cluster), ("NAMESPACE", &node.namespace), ("ISTIO_VERSION", &node.version)];
    let text = |value: &str| Value { kind: Some(Kind::StringValue(value.to_owned())) };
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let metadata = Struct { fields: fields.map(|(name, value)| (name.to_owned(), text(value))).collect() };
    ClientConfig {
        node: Some(Node { id: node.id.to_string(), metadata: Some(metadata), ..Node::default() }),
        generic_xds_configs: client.types.iter().map(|(ty, state)| of_type(*ty, state)).collect(),
        ..ClientConfig::default()
    }
}

fn of_type(ty: ResourceType, state: &SentState) -> GenericXdsConfig {
    let status = match state {
        SentState { error: Some(_), .. } => ConfigStatus::Error,
        // After a reconnection nothing is sent to a proxy that holds it all.
        SentState { kept_at: Some(_), .. } => ConfigStatus::Synced,
        SentState { sent_nonce, .. } if sent_nonce.is_empty() => ConfigStatus::NotSent,
        SentState { sent_nonce, acked_nonce, .. } if sent_nonce == acked_nonce => ConfigStatus::Synced,
        SentState { .. } => ConfigStatus::Stale,
    };
    let at = state.sent_at.or(state.kept_at).map(timestamp);
    GenericXdsConfig {
        type_url: ty.url().to_owned(),
        config_status: status.into(),
        last_updated: at,
        error_state: state.error.clone().map(|details| UpdateFailureState {
            details,
            last_update_attempt: at,
            ..UpdateFailureState::default()
        }),
        ..GenericXdsConfig::default()
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: since.subsec_nanos().cast_signed() }
}

/// What a proxy is given. When it is not connected here, or not for the caller, the text by which `istioctl` goes on to the next replica.
fn dump(shown: &Shown, access: &Access, names: &[String]) -> Result<Vec<Entry>, Status> {
    let [name] = names else { return Ok(Vec::new()) };
    let client = proxies::named(shown, access, name);
    let Some((client, view)) = client.and_then(|c| shown.views.view_of(c.connection).map(|view| (c, view))) else {
        return Ok(vec![Entry::new(name.as_str(), CONFIG_DUMP, proxies::GONE)]);
    };
    let dump = whole(shown, &client, &view, false);
    let configs = dump["configs"].as_array().map(Vec::as_slice).unwrap_or_default();
    configs
        .iter()
        .enumerate()
        .map(|(index, config)| {
            let any = tiphys_proto::from_json(config).map_err(|error| Status::internal(error.to_string()))?;
            // Named so that their order stays.
            Ok(Entry::new(index.to_string(), &any.type_url, &any.value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;
    use std::net::SocketAddr;
    use tonic::Code;

    fn peer(address: [u8; 4], identity: Option<&str>) -> Peer {
        let identities = identity.into_iter().map(Into::into).collect();
        Peer { address: Some(SocketAddr::from((address, 1))), identities, ..Peer::default() }
    }

    #[tokio::test]
    async fn who_is_answered() {
        let shown = shown();
        let of = |address, identity| access(&shown, &peer(address, identity), "/debug/syncz").map_err(|s| s.code());
        assert_eq!(of([10, 0, 0, 1], None), Err(Code::Unauthenticated));
        assert_eq!(of([127, 0, 0, 1], None), Ok(Access::All));
        assert_eq!(of([10, 0, 0, 1], Some("spiffe://cluster.local/ns/istio-system/sa/a")), Ok(Access::All));
        // What an identity may see does not depend on where it comes from: port forwarding comes from loopback.
        let shop = Some("spiffe://cluster.local/ns/shop/sa/a");
        assert_eq!(of([127, 0, 0, 1], shop), Ok(Access::Namespace("shop".into())));
        let denied = access(&shown, &peer([127, 0, 0, 1], shop), "/debug/configz").map_err(|s| s.code());
        assert_eq!(denied, Err(Code::PermissionDenied));
    }

    #[test]
    fn the_status_of_a_type() {
        let state = |sent: &str, acked: &str| SentState {
            sent_nonce: sent.into(),
            acked_nonce: acked.into(),
            ..SentState::default()
        };
        let of = |state: &SentState| of_type(ResourceType::CLUSTER, state).config_status();
        assert_eq!(of(&state("", "")), ConfigStatus::NotSent);
        assert_eq!(of(&state("2", "1")), ConfigStatus::Stale);
        assert_eq!(of(&state("2", "2")), ConfigStatus::Synced);
        assert_eq!(of(&SentState { error: Some("no".into()), ..state("2", "1") }), ConfigStatus::Error);
        let kept = SentState { kept_at: Some(SystemTime::now()), ..state("", "") };
        assert_eq!(of(&kept), ConfigStatus::Synced);
        assert!(of_type(ResourceType::CLUSTER, &kept).last_updated.is_some());
    }

    #[test]
    fn a_proxy_that_is_elsewhere_is_told_in_istiods_words() {
        let entries = dump(&shown(), &Access::All, &["web-1.shop".to_owned()]).unwrap();
        let [entry] = entries.as_slice() else { panic!("one resource: {}", entries.len()) };
        let any = entry.any().unwrap();
        let text = String::from_utf8(any.value.to_vec()).unwrap();
        // These words are what istioctl looks for before it asks another replica.
        assert!(text.contains("Proxy not connected to this Pilot instance. It may be connected to another instance."));
        assert_eq!(dump(&shown(), &Access::All, &[]).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn too_many_questions_are_turned_away() {
        let (asker, _queries) = queries();
        let request = OtherRequest { type_url: SYNCZ, names: &[], error: None };
        for _ in 0..WAITING {
            assert!(matches!(asker.ask(&Peer::default(), &request), Answer::Later(_)));
        }
        let Answer::Later(refused) = asker.ask(&Peer::default(), &request) else { panic!("an answer") };
        assert_eq!(refused.await.unwrap().unwrap_err().code(), Code::Unavailable);
        let other = OtherRequest { type_url: "istio.io/debug/other", ..request };
        assert!(matches!(asker.ask(&Peer::default(), &other), Answer::Unknown));
    }
}
