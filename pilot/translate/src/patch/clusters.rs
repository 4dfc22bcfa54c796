// SPDX-License-Identifier: Apache-2.0
//! Clusters.

use super::filters::{merge_socket, same_socket};
use super::{Patcher, lists};
use tiphys_model::{ClusterName, INBOUND_PASSTHROUGH, Patch, PatchMatch, PatchOperation, Patched, Str, Traffic};
use tiphys_proto::envoy::config::cluster::v3::Cluster;

/// Patches a cluster; none when it is removed.
pub(super) fn patch(patcher: &mut Patcher<'_>, mut cluster: Cluster) -> Option<Cluster> {
    let inbound = cluster.name.starts_with("inbound|") || cluster.name == INBOUND_PASSTHROUGH;
    let traffic = match (patcher.input.gateway, inbound) {
        (true, _) => Traffic::Gateway,
        (false, true) => Traffic::Inbound,
        (false, false) => Traffic::Outbound,
    };
    for patch in patcher.of(Patched::Cluster, traffic) {
        if !covers(patch, &cluster.name, &patcher.input.facts.hosts) {
            continue;
        }
        match patch.operation {
            PatchOperation::Remove => return None,
            operation if lists(operation).is_some() => merge(patcher, patch, &mut cluster),
            _ => {}
        }
    }
    Some(cluster)
}

/// Merges into a cluster. A transport socket of the same name is merged alone, in its own configuration; another one takes its place, unless
/// the cluster chooses among several.
fn merge(patcher: &mut Patcher<'_>, patch: &Patch, cluster: &mut Cluster) {
    let Some(value) = patcher.value::<Cluster>(patch) else { return };
    let Some(given) = &value.transport_socket else { return patcher.merge(patch, cluster) };
    let several = !cluster.transport_socket_matches.is_empty();
    let sockets = cluster.transport_socket_matches.iter_mut().filter_map(|one| one.transport_socket.as_mut());
    let own = match several {
        true => sockets.into_iter().find(|socket| same_socket(socket, Some(given))),
        false => cluster.transport_socket.as_mut().filter(|socket| same_socket(socket, Some(given))),
    };
    match own {
        Some(own) => merge_socket(patcher, patch, own, Some(given)),
        None if several => {
            patcher.problem(
                patch,
                "the cluster chooses among transport sockets, of which none has the name of the value's",
            );
        }
        None => cluster.transport_socket = value.transport_socket,
    }
}

/// Whether a patch means a cluster. Inbound clusters are known by the hosts of the services that they serve.
fn covers(patch: &Patch, name: &str, hosts: &[Str]) -> bool {
    let PatchMatch::Cluster(wanted) = &patch.matching else { return true };
    if !wanted.name.is_empty() {
        return *wanted.name == *name;
    }
    let (port, subset, host) = match ClusterName::parse(name) {
        Some(ClusterName::Outbound { port, subset, host } | ClusterName::Sni { port, subset, host }) => {
            (port, subset, host)
        }
        Some(ClusterName::Inbound { port }) => (port, "", ""),
        None => (0, "", ""),
    };
    let has_host = |wanted: &str| host == wanted || hosts.iter().any(|host| **host == *wanted);
    (wanted.subset.is_empty() || *wanted.subset == *subset)
        && (wanted.service.is_empty() || has_host(&wanted.service))
        && (wanted.port == 0 || wanted.port == port)
}
