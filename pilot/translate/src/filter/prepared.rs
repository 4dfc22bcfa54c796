// SPDX-License-Identifier: Apache-2.0
//! Filters that were made elsewhere (policies), as inputs of listeners: name, type and encoded configuration can be compared and
//! hashed, which messages cannot.

use super::{http_filter_any, network_filter_any};
use bytes::Bytes;
use tiphys_model::Str;
use tiphys_proto::envoy::config::listener::v3::{Filter, filter};
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};
use tiphys_proto::google::protobuf::Any;

/// An encoded filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prepared {
    name: Str,
    type_url: Str,
    value: Bytes,
}

impl Prepared {
    /// Takes an HTTP filter in; none when it has no configuration.
    pub fn from_http(filter: &HttpFilter) -> Option<Self> {
        match &filter.config_type {
            Some(http_filter::ConfigType::TypedConfig(any)) => Some(Self::new(&filter.name, any)),
            _ => None,
        }
    }

    /// Takes a network filter in; none when it has no configuration.
    pub fn from_network(filter: &Filter) -> Option<Self> {
        match &filter.config_type {
            Some(filter::ConfigType::TypedConfig(any)) => Some(Self::new(&filter.name, any)),
            _ => None,
        }
    }

    fn new(name: &str, any: &Any) -> Self {
        Self { name: name.into(), type_url: any.type_url.as_str().into(), value: any.value.clone() }
    }

    fn any(&self) -> Any {
        Any { type_url: self.type_url.to_string(), value: self.value.clone() }
    }

    /// As an HTTP filter.
    pub fn to_http(&self) -> HttpFilter {
        http_filter_any(&self.name, self.any())
    }

    /// As a network filter.
    pub fn to_network(&self) -> Filter {
        network_filter_any(&self.name, self.any())
    }
}

/// The filters of the policies that select a workload, by the places that they have in a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SecurityFilters {
    /// HTTP: policies that an external service decides.
    pub http_custom: Vec<Prepared>,
    /// HTTP: tokens of requests.
    pub http_authentication: Vec<Prepared>,
    /// HTTP: policies that the proxy decides.
    pub http_authorization: Vec<Prepared>,
    /// TCP: policies that an external service decides.
    pub network_custom: Vec<Prepared>,
    /// TCP: policies that the proxy decides.
    pub network_authorization: Vec<Prepared>,
}
