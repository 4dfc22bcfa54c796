// SPDX-License-Identifier: Apache-2.0
//! Requests of both variants in one form.

use std::collections::BTreeMap;
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

/// A request of either variant.
#[derive(Debug)]
pub(crate) struct Request {
    pub node: Option<Node>,
    pub type_url: String,
    pub nonce: String,
    /// Code and text with which the client refused a response.
    pub error: Option<(i32, String)>,
    pub names: Names,
}

/// What a request says of names.
#[derive(Debug)]
pub(crate) enum Names {
    /// Changes of the subscription, and what the client holds from an earlier stream.
    Delta { subscribe: Vec<String>, unsubscribe: Vec<String>, initial: BTreeMap<String, String> },
    /// The whole subscription, and the version of the set that the client holds.
    Sotw { names: Vec<String>, version: String },
}

impl Names {
    /// Whether the client says that it holds something of an earlier stream.
    pub fn resumes(&self) -> bool {
        match self {
            Self::Delta { initial, .. } => !initial.is_empty(),
            Self::Sotw { version, .. } => !version.is_empty(),
        }
    }

    /// The names that are asked for.
    pub fn wanted(&self) -> &[String] {
        match self {
            Self::Delta { subscribe, .. } => subscribe,
            Self::Sotw { names, .. } => names,
        }
    }
}

impl From<DeltaDiscoveryRequest> for Request {
    fn from(request: DeltaDiscoveryRequest) -> Self {
        Self {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|e| (e.code, e.message)),
            names: Names::Delta {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                initial: request.initial_resource_versions,
            },
        }
    }
}

impl From<DiscoveryRequest> for Request {
    fn from(request: DiscoveryRequest) -> Self {
        Self {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|e| (e.code, e.message)),
            names: Names::Sotw { names: request.resource_names, version: request.version_info },
        }
    }
}
