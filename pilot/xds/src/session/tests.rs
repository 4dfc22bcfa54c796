// SPDX-License-Identifier: Apache-2.0
use super::request::Names;
use super::*;
use crate::Table;
use std::sync::Mutex;
use tiphys_proto::envoy::config::core::v3::Node;

/// Serves all clients the view that was set last.
struct Views(Mutex<Arc<ClientView>>);

impl ConfigSource for Views {
    type Client = ();

    fn connect(&self, _: &Node, _: &Peer, _: &Arc<Signal>) -> Result<(), Status> {
        Ok(())
    }

    fn view(&self, (): &()) -> Arc<ClientView> {
        Arc::clone(&self.0.lock().unwrap())
    }

    fn resource(&self, (): &(), _: ResourceType, _: &str) -> Option<Entry> {
        None
    }

    fn other(&self, (): &(), _: &OtherRequest<'_>) -> Answer {
        Answer::Noted
    }

    fn observe(&self, (): &(), _: StreamEvent<'_>) {}

    fn disconnect(&self, (): ()) {}
}

/// A view in which the route `r` of the listener `l` names one cluster.
fn view(generation: u64, cluster: &str) -> Arc<ClientView> {
    let table = |ty: ResourceType, name: &str, content: &str| {
        (ty, Table::from_entries(vec![Entry::new(name, ty.url(), content.as_bytes())]))
    };
    let tables = [
        table(ResourceType::CLUSTER, cluster, cluster),
        table(ResourceType::ENDPOINT, cluster, cluster),
        table(ResourceType::LISTENER, "l", "r"),
        table(ResourceType::ROUTE, "r", cluster),
    ];
    Arc::new(tables.into_iter().fold(ClientView::new(generation), |view, (ty, table)| view.with(ty, table)))
}

fn request(type_url: &str, names: &[&str]) -> Request {
    let subscribe = names.iter().map(|name| (*name).to_owned()).collect();
    let names = Names::Delta { subscribe, unsubscribe: Vec::new(), initial: BTreeMap::new() };
    Request { node: Some(Node::default()), type_url: type_url.into(), nonce: String::new(), error: None, names }
}

/// A client may ask for something else before it asks for clusters, and the view may change in between.
#[test]
fn routes_are_never_of_a_view_whose_clusters_were_not_sent() {
    let source = Arc::new(Views(Mutex::new(view(1, "a"))));
    let context = Context {
        source: Arc::clone(&source),
        hub: Arc::default(),
        control_plane: "test".into(),
        patience: Duration::from_secs(3_600),
    };
    let now = Instant::now();
    let mut session = Session::new(context, Variant::Delta, Peer::default(), Arc::default(), 1);
    let sent = |session: &mut Session<Views>| -> String {
        let responses = std::iter::from_fn(|| session.next(now));
        responses
            .map(|response| response.map(|piece| String::from_utf8_lossy(&piece).into_owned()).collect::<String>())
            .collect()
    };
    session.receive(request("test/other", &[]), now).unwrap();
    assert_eq!(sent(&mut session), "");
    *source.0.lock().unwrap() = view(2, "b");
    session.receive(request(ResourceType::CLUSTER.url(), &[]), now).unwrap();
    session.refresh(now);
    let clusters = sent(&mut session);
    assert!(clusters.contains("Cluster"), "{clusters}");
    let first = if clusters.contains("\x01b") { "b" } else { "a" };
    // It asks for the rest before it answers: what it gets is of the view whose clusters it was sent.
    session.receive(request(ResourceType::ENDPOINT.url(), &[first]), now).unwrap();
    session.receive(request(ResourceType::LISTENER.url(), &[]), now).unwrap();
    session.receive(request(ResourceType::ROUTE.url(), &["r"]), now).unwrap();
    let rest = sent(&mut session);
    let route = rest.rsplit("RouteConfiguration").next().unwrap_or_default();
    assert!(!rest.contains("RouteConfiguration") || route.contains(&format!("\x01{first}")), "{route:?}");
}
