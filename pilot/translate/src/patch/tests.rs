// SPDX-License-Identifier: Apache-2.0
use super::*;
use prost::Message;
use serde_json::{Value, json};
use tiphys_model::{
    ChainMatch, ClusterMatch, ListenerMatch, Marked, PatchMatch, ProxyMatch, RouteKind, RouteMatch, RoutesMatch,
    VirtualHostMatch,
};
use tiphys_proto::encode_json;

const LISTENER: &str = "envoy.config.listener.v3.Listener";
const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const HCM: &str = "envoy.filters.network.http_connection_manager";

fn message_of(object: Patched) -> &'static str {
    match object {
        Patched::Listener => LISTENER,
        Patched::FilterChain => "envoy.config.listener.v3.FilterChain",
        Patched::NetworkFilter => "envoy.config.listener.v3.Filter",
        Patched::HttpFilter => "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        Patched::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
        Patched::RouteConfiguration => ROUTES,
        Patched::VirtualHost => "envoy.config.route.v3.VirtualHost",
        Patched::HttpRoute => "envoy.config.route.v3.Route",
        Patched::Cluster => CLUSTER,
        Patched::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
    }
}

fn patch(object: Patched, operation: PatchOperation, matching: PatchMatch, value: &Value) -> Marked<Patch> {
    Marked::new(Patch {
        origin: "EnvoyFilter ns/a configPatches[0]".into(),
        object,
        operation,
        traffic: None,
        proxy: ProxyMatch::default(),
        matching,
        value: encode_json(message_of(object), value).unwrap().0.into(),
    })
}

fn input(name: &str, resource: &Value, patches: Vec<Marked<Patch>>) -> PatchInput {
    let resource = encode_json(name, resource).unwrap().0.into();
    PatchInput { patches: Marked::new(patches), gateway: false, facts: Facts::default(), resource }
}

/// A message in the form in which tests read it.
fn shown<T: Message + Name>(message: &T) -> Value {
    let mut json = tiphys_proto::to_json(&tiphys_proto::to_any(message)).unwrap();
    json.as_object_mut().unwrap().remove("@type");
    json
}

fn names(list: &Value) -> String {
    let name = |item: &Value| item["name"].as_str().unwrap_or("-").to_owned();
    list.as_array().map(|list| list.iter().map(name).collect::<Vec<_>>().join(",")).unwrap_or_default()
}

/// A chain with an HTTP connection manager that has these filters.
fn http_chain(port: u32, filters: &[&str]) -> Value {
    let filters: Vec<Value> = filters
        .iter()
        .map(|name| {
            let empty = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
            json!({"name": name, "typed_config": {"@type": empty}})
        })
        .collect();
    json!({
        "filter_chain_match": {"destination_port": port},
        "filters": [{"name": "first"}, {"name": HCM, "typed_config": {
            "@type": format!("type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "http_filters": filters,
            "route_config": {"name": format!("inbound|{port}||"), "virtual_hosts": [{"name": "inbound", "routes": [{"route": {}}]}]},
        }}],
    })
}

fn inbound(chains: &[Value]) -> Value {
    json!({"name": "virtualInbound", "traffic_direction": "INBOUND", "filter_chains": chains,
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}}})
}

fn at(filter: Option<&str>, sub_filter: Option<&str>, port: u32) -> PatchMatch {
    let chain =
        ChainMatch { filter: filter.map(Into::into), sub_filter: sub_filter.map(Into::into), ..ChainMatch::default() };
    PatchMatch::Listener(ListenerMatch { port, chain: Some(chain), ..ListenerMatch::default() })
}

/// Names of the HTTP filters of the first chain.
fn http_filters(listener: &Listener) -> String {
    names(&shown(listener)["filterChains"][0]["filters"][1]["typedConfig"]["httpFilters"])
}

#[test]
fn filters_are_put_where_operations_say() {
    use PatchOperation as O;
    for (operation, sub_filter, expected) in [
        (O::Add, None, "a,b,c,new"),
        (O::InsertFirst, Some("b"), "new,a,b,c"),
        (O::InsertBefore, Some("b"), "a,new,b,c"),
        (O::InsertAfter, Some("b"), "a,b,new,c"),
        (O::InsertBefore, None, "new,a,b,c"),
        (O::InsertAfter, None, "a,b,c,new"),
        (O::InsertAfter, Some("x"), "a,b,c"),
        (O::Replace, Some("b"), "a,new,c"),
        (O::Replace, None, "a,b,c"),
        (O::Remove, Some("b"), "a,c"),
        (O::Remove, None, "a,b,c"),
    ] {
        let patch = patch(Patched::HttpFilter, operation, at(Some(HCM), sub_filter, 0), &json!({"name": "new"}));
        let listener = inbound(&[http_chain(80, &["a", "b", "c"])]);
        let (patched, problems) = listener_of(&listener, vec![patch]);
        assert_eq!(
            (http_filters(&patched.unwrap()).as_str(), problems.len()),
            (expected, 0),
            "{operation:?} {sub_filter:?}"
        );
    }
}

fn listener_of(json: &Value, patches: Vec<Marked<Patch>>) -> Outcome<Listener> {
    listener(&input(LISTENER, json, patches))
}

#[test]
fn ports_of_virtual_listeners_are_those_of_their_chains() {
    let add = patch(Patched::NetworkFilter, PatchOperation::InsertFirst, at(None, None, 80), &json!({"name": "new"}));
    let (patched, _) = listener_of(&inbound(&[http_chain(80, &[]), http_chain(90, &[])]), vec![add]);
    let chains = shown(&patched.unwrap())["filterChains"].clone();
    assert_eq!(
        (names(&chains[0]["filters"]), names(&chains[1]["filters"])),
        (format!("new,first,{HCM}"), format!("first,{HCM}"))
    );
}

#[test]
fn a_chain_and_a_listener_can_go() {
    let both = inbound(&[http_chain(80, &[]), http_chain(90, &[])]);
    let of_port = |port| {
        let chain = ChainMatch { port, ..ChainMatch::default() };
        PatchMatch::Listener(ListenerMatch { chain: Some(chain), ..ListenerMatch::default() })
    };
    let chain = patch(Patched::FilterChain, PatchOperation::Remove, of_port(90), &json!({}));
    assert_eq!(listener_of(&both, vec![chain]).0.unwrap().filter_chains.len(), 1);
    let named = |name: &str| PatchMatch::Listener(ListenerMatch { name: name.into(), ..ListenerMatch::default() });
    let remove = |name| patch(Patched::Listener, PatchOperation::Remove, named(name), &json!({}));
    assert!(listener_of(&both, vec![remove("virtualInbound")]).0.is_none());
    assert!(listener_of(&both, vec![remove("other")]).0.is_some());
}

#[test]
fn routes_inside_of_inbound_listeners_are_patched_too() {
    let routes = PatchMatch::Routes(RoutesMatch { port: 80, ..RoutesMatch::default() });
    let merge = patch(Patched::HttpRoute, PatchOperation::Merge, routes, &json!({"route": {"timeout": "7s"}}));
    let (patched, _) = listener_of(&inbound(&[http_chain(80, &[]), http_chain(90, &[])]), vec![merge]);
    let chains = shown(&patched.unwrap())["filterChains"].clone();
    let timeout = |chain: &Value| {
        let manager = &chain["filters"][1]["typedConfig"];
        manager["routeConfig"]["virtualHosts"][0]["routes"][0]["route"]["timeout"].clone()
    };
    assert_eq!((timeout(&chains[0]), timeout(&chains[1])), (json!("7s"), Value::Null));
}

#[test]
fn what_cannot_be_merged_is_told_and_hurts_nothing() {
    let other = json!({"typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}});
    let merge = patch(Patched::HttpFilter, PatchOperation::Merge, at(Some(HCM), Some("a"), 0), &other);
    let remove = patch(Patched::HttpFilter, PatchOperation::Remove, at(Some(HCM), Some("b"), 0), &json!({}));
    let (patched, problems) = listener_of(&inbound(&[http_chain(80, &["a", "b"])]), vec![merge, remove]);
    assert_eq!(http_filters(&patched.unwrap()), "a");
    assert!(
        problems[0].message.contains("not of one type") && &*problems[0].origin == "EnvoyFilter ns/a configPatches[0]"
    );
}

fn routes_of(patches: Vec<Marked<Patch>>) -> String {
    let json = json!({"name": "80", "virtual_hosts": [
        {"name": "a:80", "domains": ["a", "a.b"], "routes": [
            {"name": "one", "route": {}}, {"name": "two", "direct_response": {"status": 200}}]},
        {"name": "b:80", "domains": ["b"], "routes": [{"name": "three", "redirect": {}}]},
    ]});
    let patched = shown(&routes(&input(ROUTES, &json, patches)).0.unwrap());
    let hosts = patched["virtualHosts"].as_array().unwrap();
    hosts
        .iter()
        .map(|host| format!("{}[{}]", host["name"].as_str().unwrap(), names(&host["routes"])))
        .collect::<Vec<_>>()
        .join(" ")
}

fn route(domain: &str, name: &str, kind: Option<RouteKind>) -> PatchMatch {
    let route = Some(RouteMatch { name: name.into(), kind });
    let host = VirtualHostMatch { domain: domain.into(), route, ..VirtualHostMatch::default() };
    PatchMatch::Routes(RoutesMatch { port: 80, host: Some(host), ..RoutesMatch::default() })
}

#[test]
fn routes_are_patched_by_host_name_and_kind() {
    use PatchOperation as O;
    let of =
        |operation, matching| routes_of(vec![patch(Patched::HttpRoute, operation, matching, &json!({"name": "new"}))]);
    assert_eq!(of(O::InsertBefore, route("a.b", "two", None)), "a:80[one,new,two] b:80[three]");
    assert_eq!(of(O::InsertAfter, route("", "", Some(RouteKind::Redirect))), "a:80[one,two] b:80[three,new]");
    assert_eq!(of(O::InsertFirst, route("a", "x", None)), "a:80[one,two] b:80[three]");
    assert_eq!(of(O::InsertFirst, route("a", "two", None)), "a:80[new,one,two] b:80[three]");
    assert_eq!(of(O::Remove, route("", "", Some(RouteKind::Route))), "a:80[two] b:80[three]");
    assert_eq!(of(O::Merge, route("b", "", None)), "a:80[one,two] b:80[new]");
    assert_eq!(of(O::Add, PatchMatch::Any), "a:80[one,two,new] b:80[three,new]");
}

#[test]
fn virtual_hosts_come_and_go() {
    use PatchOperation as O;
    let of = |operation, matching| {
        routes_of(vec![patch(Patched::VirtualHost, operation, matching, &json!({"name": "new"}))])
    };
    let host = |name: &str| {
        let host = VirtualHostMatch { name: name.into(), ..VirtualHostMatch::default() };
        PatchMatch::Routes(RoutesMatch { host: Some(host), ..RoutesMatch::default() })
    };
    assert_eq!(of(O::Remove, host("a:80")), "b:80[three]");
    assert_eq!(of(O::Replace, host("a:80")), "new[] b:80[three]");
    assert_eq!(of(O::Add, PatchMatch::Any), "a:80[one,two] b:80[three] new[]");
}

#[test]
fn route_configurations_of_gateways_are_known_by_their_servers() {
    let json = json!({"name": "https.8443.https.shop.ns"});
    let merge = json!({"request_headers_to_remove": ["x"]});
    let of = |wanted: RoutesMatch, ports: &[u32]| {
        let patch = patch(Patched::RouteConfiguration, PatchOperation::Merge, PatchMatch::Routes(wanted), &merge);
        let facts = Facts { ports: ports.to_vec(), ..Facts::default() };
        let input = PatchInput { gateway: true, facts, ..input(ROUTES, &json, vec![patch]) };
        !routes(&input).0.unwrap().request_headers_to_remove.is_empty()
    };
    let any = RoutesMatch::default;
    assert!(of(RoutesMatch { gateway: "ns/shop".into(), port_name: "https".into(), ..any() }, &[443]));
    assert!(of(RoutesMatch { port: 443, ..any() }, &[443]) && of(RoutesMatch { port: 8443, ..any() }, &[]));
    assert!(
        !of(RoutesMatch { port: 8443, ..any() }, &[443]) && !of(RoutesMatch { gateway: "x/shop".into(), ..any() }, &[])
    );
}

#[test]
fn clusters_are_known_by_what_their_names_tell() {
    let of = |name: &str, hosts: &[Str], wanted: ClusterMatch| {
        let remove = patch(Patched::Cluster, PatchOperation::Remove, PatchMatch::Cluster(wanted), &json!({}));
        let facts = Facts { hosts: hosts.to_vec(), ..Facts::default() };
        cluster(&PatchInput { facts, ..input(CLUSTER, &json!({"name": name}), vec![remove]) }).0.is_none()
    };
    let any = ClusterMatch::default;
    let name = "outbound|80|v1|a.b";
    assert!(of(name, &[], ClusterMatch { service: "a.b".into(), port: 80, subset: "v1".into(), ..any() }));
    assert!(
        !of(name, &[], ClusterMatch { subset: "v2".into(), ..any() })
            && !of(name, &[], ClusterMatch { port: 81, ..any() })
    );
    assert!(
        of("x", &[], ClusterMatch { name: "x".into(), port: 9, ..any() })
            && !of("x", &[], ClusterMatch { port: 9, ..any() })
    );
    assert!(of("inbound|80||", &["a.b".into()], ClusterMatch { service: "a.b".into(), ..any() }));
}

#[test]
fn a_transport_socket_of_the_same_name_is_merged_alone() {
    let tls = |more: Value| {
        let mut config =
            json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"name": "tls", "typed_config": config})
    };
    let own = json!({"name": "c", "transport_socket": tls(json!({"sni": "a"}))});
    let value = json!({"alt_stat_name": "x", "transport_socket": tls(json!({"allow_renegotiation": true}))});
    let merge = patch(Patched::Cluster, PatchOperation::Merge, PatchMatch::Any, &value);
    let patched = shown(&cluster(&input(CLUSTER, &own, vec![merge])).0.unwrap());
    let config = &patched["transportSocket"]["typedConfig"];
    assert_eq!((&config["sni"], &config["allowRenegotiation"]), (&json!("a"), &json!(true)));
    assert_eq!(patched["altStatName"], Value::Null);
}

#[test]
fn what_is_added_is_added_once() {
    let add = |traffic| {
        let added = patch(Patched::Cluster, PatchOperation::Add, PatchMatch::Any, &json!({"name": "new"}));
        Marked::new(vec![Marked::new(Patch { traffic, ..Patch::clone(&added) })])
    };
    let count = |traffic, kind| added_clusters(&add(traffic), kind).len();
    assert_eq!((count(None, ProxyType::Sidecar), count(None, ProxyType::Router)), (1, 1));
    assert_eq!(
        (count(Some(Traffic::Gateway), ProxyType::Sidecar), count(Some(Traffic::Inbound), ProxyType::Sidecar)),
        (0, 1)
    );
}
