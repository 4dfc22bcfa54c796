// SPDX-License-Identifier: Apache-2.0
//! TLSRoutes and TCPRoutes: connections to backends.

use super::Refusal;
use super::backend::{Referrer, destination, weights};
use tiphys_api::gateway as api;
use tiphys_model::{Destination, Host, WeightedDestination};

/// Where the connections of a rule go, and what is wrong with some backend. Without any backend they go where nothing is, and fail.
pub(super) fn destinations(
    rule: &api::l4_route::L4RouteRule,
    referrer: &Referrer<'_>,
) -> Result<(Vec<WeightedDestination>, Option<Refusal>), Refusal> {
    let shares = weights(&rule.backend_refs, |backend| backend.weight);
    if shares.is_empty() {
        let host = Host::new("internal.cluster.local");
        let destination = Destination { host, subset: "zero-weight".into(), port: Some(65535) };
        return Ok((vec![WeightedDestination { destination, weight: 0 }], None));
    }
    let mut refused = None;
    let mut made = Vec::new();
    for (backend, weight) in shares {
        let (destination, wrong) = destination(referrer, backend.into())?;
        refused = wrong.or(refused);
        made.push(WeightedDestination { destination, weight });
    }
    Ok((made, refused))
}
