// SPDX-License-Identifier: Apache-2.0
//! All filters that security policies put before a workload.

use super::ext_authz::{self, ExtAuthzInput};
use super::jwt::{self, JwtInput};
use super::prepared::{Prepared, SecurityFilters};
use super::rbac::{self, RbacInput};

/// What the filters of a workload's policies are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SecurityInput {
    /// Tokens.
    pub tokens: JwtInput,
    /// Who may call.
    pub authorization: RbacInput,
    /// Who is asked for policies with the action CUSTOM.
    pub authorizers: ExtAuthzInput,
}

/// The filters of a workload's policies, by their places in a chain.
pub fn filters(input: &SecurityInput) -> SecurityFilters {
    let http = |filters: Vec<_>| filters.iter().filter_map(Prepared::from_http).collect();
    let network = |filters: Vec<_>| filters.iter().filter_map(Prepared::from_network).collect();
    SecurityFilters {
        http_custom: http(ext_authz::http(&input.authorization, &input.authorizers)),
        http_authentication: http(jwt::build(&input.tokens).into_iter().collect()),
        http_authorization: http(rbac::http(&input.authorization)),
        network_custom: network(ext_authz::network(&input.authorization, &input.authorizers)),
        network_authorization: network(rbac::network(&input.authorization)),
    }
}
