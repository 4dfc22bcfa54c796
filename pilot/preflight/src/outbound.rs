// SPDX-License-Identifier: Apache-2.0
//! Clients with a sidecar whose annotations lead connections past it: these go out in plain text.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tiphys_model::{Marked, Port, Service};

use crate::Context;
use crate::capture::Outbound;
use crate::pods::{Class, Group};
use crate::report::{Client, Finding, Reason, Severity};
use crate::servers::of_services;
use crate::words::named;

/// Clients that leave the way to servers out.
pub(crate) fn find(cx: &Context<'_>) -> Vec<Finding> {
    // Workloads of a namespace that leave out the same by the same annotation are one finding.
    type Left = (&'static str, Vec<String>);
    let services = cx.servers.services();
    let mut found: BTreeMap<(&str, Left), Vec<&Group<'_>>> = BTreeMap::new();
    for group in cx.pods.of_class(Class::Sidecar) {
        let Some(outbound) = Outbound::of(group) else { continue };
        let mut left: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        for (service, port) in &services {
            let addresses = addresses(cx, service, port);
            let causes = addresses.into_iter().filter_map(|(address, number)| outbound.leaves_out(address, number));
            for cause in causes {
                left.entry(cause).or_default().insert(format!("{}:{}", service.host.as_str(), port.number));
            }
        }
        for (cause, names) in left {
            found.entry((group.namespace, (cause, names.into_iter().collect()))).or_default().push(group);
        }
    }
    found.into_iter().map(|((namespace, left), groups)| finding(cx, namespace, &left, &groups)).collect()
}

/// Where clients of a service connect to: its addresses, or those of its endpoints when it has none.
fn addresses(cx: &Context<'_>, service: &Marked<Service>, port: &Port) -> Vec<(Option<IpAddr>, u32)> {
    if !service.is_headless() {
        let address = service.addresses.iter().find_map(|address| address.parse().ok());
        return vec![(address, port.number)];
    }
    let endpoints = cx.inputs.snapshot.endpoints.of(service);
    let listed = endpoints.iter().flat_map(|endpoints| endpoints.of_port(port));
    listed.map(|endpoint| (endpoint.address().parse().ok(), endpoint.port)).collect()
}

fn finding(cx: &Context<'_>, namespace: &str, (cause, names): &(&str, Vec<String>), groups: &[&Group<'_>]) -> Finding {
    let workloads: Vec<String> = groups.iter().map(|group| group.workload.to_owned()).collect();
    let services = cx.servers.services();
    let hit: Vec<_> =
        services.into_iter().filter(|(s, p)| names.contains(&format!("{}:{}", s.host.as_str(), p.number))).collect();
    let of: BTreeSet<&str> = hit.iter().map(|(service, _)| &*service.namespace).collect();
    Finding {
        severity: Severity::Breaks,
        reason: Reason::OutboundExcluded,
        client: Client {
            namespaces: vec![namespace.to_owned()],
            pods: groups.iter().map(|group| group.pods.len()).sum(),
            who: String::new(),
            workloads: workloads.clone(),
        },
        server: of_services(&hit, of.into_iter().map(str::to_owned).collect()),
        message: format!(
            "{} of {namespace} leaves {} out of the capture by {cause}: calls of it go out in plain text",
            named(&workloads),
            named(names)
        ),
        fix: format!(
            "remove the annotation {cause} from the clients' pods, or leave these ports PERMISSIVE (portLevelMtls)"
        ),
    }
}
