// SPDX-License-Identifier: Apache-2.0
//! gRPC-Web to gRPC (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/grpc_web_filter>).

use super::http_filter;
use tiphys_proto::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter.
pub fn build() -> HttpFilter {
    http_filter("envoy.filters.http.grpc_web", &GrpcWeb::default())
}
