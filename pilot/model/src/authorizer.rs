// SPDX-License-Identifier: Apache-2.0
//! Services that decide requests for policies with the action CUSTOM: MeshConfig's providers of external authorization
//! (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider>).

use crate::{ProviderService, Str};
use serde::Serialize;
use std::time::Duration;

/// How much of a request's body is sent along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct CheckedBody {
    /// Bytes at most.
    pub max_bytes: u32,
    /// The start of a longer body is sent; otherwise such a request is refused.
    pub partial: bool,
    /// It is sent as bytes, not as text.
    pub as_bytes: bool,
}

/// What an authorizer that speaks HTTP is sent, and what of its answers is passed on. Names of headers may start or end with `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct HttpCheck {
    /// Put before the path that is asked.
    pub path_prefix: Str,
    /// Headers of the request that are sent.
    pub request_headers: Vec<Str>,
    /// Further headers that are sent, sorted by name; values may have Envoy's formatters.
    pub additional_headers: Vec<(Str, Str)>,
    /// Headers of a consenting answer that are added to the request.
    pub upstream_on_allow: Vec<Str>,
    /// Headers of a refusing answer that the client gets.
    pub downstream_on_deny: Vec<Str>,
    /// Headers of a consenting answer that the client gets.
    pub downstream_on_allow: Vec<Str>,
}

/// A service that decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Authorizer {
    /// Name by which policies refer to it.
    pub name: Str,
    /// Where it is.
    pub service: ProviderService,
    /// What it is asked by HTTP; none = it speaks Envoy's gRPC.
    pub http: Option<HttpCheck>,
    /// Time for an answer.
    pub timeout: Duration,
    /// Requests pass when it cannot be asked.
    pub fail_open: bool,
    /// Status when it cannot be asked; none = 403.
    pub status_on_error: Option<u16>,
    /// Routes are chosen anew after its answer.
    pub clear_route_cache: bool,
    /// The body that it is sent.
    pub body: Option<CheckedBody>,
}

/// The authorizers of a mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Authorizers {
    /// Those that can be asked.
    pub usable: Vec<Authorizer>,
    /// Those that cannot: name, and why.
    pub broken: Vec<(Str, Str)>,
    /// A workload may have policies of more than one.
    pub several: bool,
}

impl Authorizers {
    /// An authorizer by its name.
    ///
    /// # Errors
    /// Why there is none that can be asked.
    pub fn get(&self, name: &str) -> Result<&Authorizer, Str> {
        if let Some((_, why)) = self.broken.iter().find(|(known, _)| &**known == name) {
            return Err(why.clone());
        }
        let found = self.usable.iter().find(|known| &*known.name == name);
        found.ok_or_else(|| {
            format!("MeshConfig has no extension provider {name:?} of external authorization under extensionProviders")
                .into()
        })
    }
}
