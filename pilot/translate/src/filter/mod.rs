// SPDX-License-Identifier: Apache-2.0
//! Filters of listeners, one file each. [`http`] puts HTTP filters in order, [`network`] network filters;
//! [`connection_manager`] is the network filter that holds the HTTP ones.

pub mod access_log;
pub mod alpn;
pub mod connection_manager;
pub mod cors;
pub mod ext_authz;
pub mod fault;
pub mod grpc_stats;
pub mod grpc_web;
pub mod http;
pub mod http_inspector;
pub mod jwt;
pub mod metadata_exchange;
pub mod mongo_proxy;
pub mod mysql_proxy;
pub mod network;
pub mod original_dst;
pub mod original_src;
pub mod prepared;
pub mod proxy_protocol;
pub mod rbac;
mod rbac_condition;
pub mod redis_proxy;
pub mod router;
pub mod security;
pub mod stateful_session;
pub mod stats;
pub mod string_matcher;
pub mod tcp_proxy;
pub mod tls_inspector;
pub mod trace_provider;
pub mod tracing;

pub use prepared::Prepared;

use prost::{Message, Name};
use tiphys_proto::envoy::config::listener::v3::{Filter, ListenerFilter, filter, listener_filter};
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};
use tiphys_proto::google::protobuf::{Any, ListValue, Struct, Value, value::Kind};
use tiphys_proto::to_any;
use tiphys_proto::udpa::r#type::v1::TypedStruct;

/// An HTTP filter of a name and a configuration.
pub(crate) fn http_filter<M: Message + Name>(name: &str, config: &M) -> HttpFilter {
    http_filter_any(name, to_any(config))
}

pub(crate) fn http_filter_any(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

/// A network filter of a name and a configuration.
pub(crate) fn network_filter<M: Message + Name>(name: &str, config: &M) -> Filter {
    network_filter_any(name, to_any(config))
}

pub(crate) fn network_filter_any(name: &str, config: Any) -> Filter {
    Filter { name: name.into(), config_type: Some(filter::ConfigType::TypedConfig(config)) }
}

/// A listener filter of a name and a configuration.
pub(crate) fn listener_filter<M: Message + Name>(name: &str, config: &M) -> ListenerFilter {
    ListenerFilter {
        name: name.into(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(to_any(config))),
        filter_disabled: None,
    }
}

/// The configuration of a filter whose message is not known here, as a struct of its fields.
pub(crate) fn typed_struct(type_url: &str, value: &serde_json::Value) -> Any {
    let value = match value_of(value).kind {
        Some(Kind::StructValue(fields)) => Some(fields),
        _ => None,
    };
    to_any(&TypedStruct { type_url: type_url.into(), value })
}

/// A JSON object as a protobuf struct; none for any other JSON.
pub(crate) fn struct_of(json: &serde_json::Value) -> Option<Struct> {
    match value_of(json).kind {
        Some(Kind::StructValue(fields)) => Some(fields),
        _ => None,
    }
}

fn value_of(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value_of).collect() }),
        Json::Object(map) => Kind::StructValue(Struct {
            fields: map.iter().map(|(key, value)| (key.clone(), value_of(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}
