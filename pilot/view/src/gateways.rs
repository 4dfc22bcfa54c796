// SPDX-License-Identifier: Apache-2.0
//! The gateways of a proxy, merged: what its listeners and its routes are made from.

use crate::Context;
use std::collections::BTreeSet;
use tiphys_model::{Attachment, Gateway, Marked, MergedGateway, labels_match};

/// A label of Services whose ports are not to be taken for the ports of gateways.
const NO_TRANSLATION: &str = "experimental.istio.io/disable-gateway-port-translation";

/// The gateways of a proxy, merged.
pub fn merged(cx: &Context<'_>) -> MergedGateway {
    let gateways: Vec<Marked<Gateway>> =
        cx.snapshot.gateways.iter().filter(|gateway| selects(cx, gateway)).cloned().collect();
    MergedGateway::merge(&gateways, |gateway, port| resolve(cx, gateway, port))
}

fn selects(cx: &Context<'_>, gateway: &Gateway) -> bool {
    match &gateway.attachment {
        Attachment::Labels(labels) => labels_match(labels, &cx.proxy.labels),
        Attachment::Services(hosts) => cx.targets.iter().any(|target| hosts.contains(&target.service.host)),
    }
}

/// The ports of the workload at which a gateway's port is opened. A Gateway that selects by labels may name a Service's port, which is then
/// the first match, or the workload's own port; one that is bound to a Service names that Service's port.
fn resolve(cx: &Context<'_>, gateway: &Gateway, port: u32) -> Vec<u32> {
    match &gateway.attachment {
        Attachment::Labels(_) => {
            let translated = |target: &&tiphys_compile::ServiceTarget| {
                target.port.number == port && !target.service.labels.contains_key(NO_TRANSLATION)
            };
            vec![cx.targets.iter().find(translated).map_or(port, |target| target.target_port)]
        }
        Attachment::Services(hosts) => {
            let of = cx.targets.iter().filter(|t| t.port.number == port && hosts.contains(&t.service.host));
            of.map(|target| target.target_port).collect::<BTreeSet<u32>>().into_iter().collect()
        }
    }
}
