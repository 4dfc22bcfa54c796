// SPDX-License-Identifier: Apache-2.0
//! `istio.metadata_exchange` of Istio's proxy: peers tell each other who they are, over HTTP headers or at the start of a TCP
//! connection, for telemetry and policies.

use super::{http_filter_any, network_filter_any, typed_struct};
use crate::listener::Class;
use serde_json::json;
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

const NAME: &str = "istio.metadata_exchange";
const HTTP_TYPE: &str = "type.googleapis.com/io.istio.http.peer_metadata.Config";
const TCP_TYPE: &str = "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange";

/// The HTTP filter. `in_mesh_only` keeps the headers from upstreams outside of the mesh.
pub fn http(class: Class, in_mesh_only: bool) -> HttpFilter {
    let discovery = json!([{"istio_headers": {}}, {"workload_discovery": {}}]);
    let config = match class {
        Class::SidecarInbound => {
            json!({"downstream_discovery": discovery, "downstream_propagation": [{"istio_headers": {}}]})
        }
        _ => {
            let headers = if in_mesh_only { json!({"skip_external_clusters": true}) } else { json!({}) };
            json!({"upstream_discovery": discovery, "upstream_propagation": [{"istio_headers": headers}]})
        }
    };
    http_filter_any(NAME, typed_struct(HTTP_TYPE, &config))
}

/// The network filter of inbound connections.
pub fn tcp() -> Filter {
    let config = json!({"protocol": "istio-peer-exchange", "enable_discovery": true});
    network_filter_any(NAME, typed_struct(TCP_TYPE, &config))
}
