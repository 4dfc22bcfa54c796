// SPDX-License-Identifier: Apache-2.0
//! Metadata of clusters, from which telemetry tells the destination, and from which one sees which rule made a cluster.

use crate::value::{boolean, fields_of, list, object, text};
use tiphys_model::{ClientTlsMode, DestinationRule, Service};
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::google::protobuf::Value;

/// The key of what the mesh says.
const ISTIO: &str = "istio";

/// Sets a field of the mesh's metadata.
fn set(cluster: &mut Cluster, name: &str, value: Value) {
    let metadata = cluster.metadata.get_or_insert_default();
    metadata.filter_metadata.entry(ISTIO.into()).or_default().fields.insert(name.into(), value);
}

/// States the services that the cluster leads to; an empty list is stated too.
pub(super) fn set_services<'a>(cluster: &mut Cluster, services: impl IntoIterator<Item = &'a Service>) {
    let of = |service: &Service| {
        object([
            ("host", text(service.host.as_str())),
            ("name", text(&*service.name)),
            ("namespace", text(&*service.namespace)),
        ])
    };
    set(cluster, "services", list(services.into_iter().map(of).collect()));
}

/// States that the cluster leads out of the mesh.
pub(super) fn set_external(cluster: &mut Cluster) {
    set(cluster, "external", boolean(true));
}

/// States the rule that shaped the cluster.
pub(super) fn set_rule(cluster: &mut Cluster, rule: &DestinationRule) {
    let DestinationRule { namespace, name, .. } = rule;
    let path = format!("/apis/networking.istio.io/v1/namespaces/{namespace}/destination-rule/{name}");
    set(cluster, "config", text(path));
}

/// States the rule on a cluster that has metadata already.
pub(super) fn add_rule(cluster: &mut Cluster, rule: &DestinationRule) {
    if cluster.metadata.is_some() {
        set_rule(cluster, rule);
    }
}

/// States the subset.
pub(super) fn set_subset(cluster: &mut Cluster, subset: &str) {
    set(cluster, "subset", text(subset));
}

/// Keeps the proxy from changing the ALPN of connections whose TLS the user set up.
pub(super) fn set_alpn(cluster: &mut Cluster, mode: Option<ClientTlsMode>) {
    if matches!(mode, Some(ClientTlsMode::Simple | ClientTlsMode::Mutual)) {
        set(cluster, "alpn_override", text("false"));
    }
}

/// What an endpoint has to state for mutual TLS of the mesh to be used.
pub(super) fn takes_mtls() -> tiphys_proto::google::protobuf::Struct {
    fields_of([("tlsMode", text("istio"))])
}
