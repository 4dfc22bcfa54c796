// SPDX-License-Identifier: Apache-2.0
//! Which workloads or objects a policy applies to, and who sees an object.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{At, Report};
use super::rules;
use crate::istio::networking::sidecar;
use crate::istio::selector::{PolicyTargetReference, PortSelector, WorkloadSelector};

/// What policies attach to: kind and group.
const TARGETS: [(&str, &str); 5] = [
    ("Service", ""),
    ("Service", "core"),
    ("ServiceEntry", "networking.istio.io"),
    ("Gateway", "gateway.networking.k8s.io"),
    ("GatewayClass", "gateway.networking.k8s.io"),
];

fn labels(report: &mut Report, at: &At<'_>, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        if key.is_empty() {
            report.error(at, "has an empty label name");
        }
        if key.contains('*') || value.contains('*') {
            report.error(&at.key(key), "wildcards do not work in selectors");
        }
    }
    if labels.is_empty() {
        report.warning(at, "selects by no label: it applies to all workloads");
    }
}

/// `selector` of the security, telemetry and extension kinds.
pub(super) fn workloads(report: &mut Report, at: &At<'_>, selector: Option<&WorkloadSelector>) {
    if let Some(selector) = selector {
        labels(report, &at.field("selector").field("matchLabels"), &selector.match_labels);
    }
}

/// `workloadSelector` of DestinationRules, whose shape is that of `selector`.
pub(super) fn destination_workloads(report: &mut Report, at: &At<'_>, selector: Option<&WorkloadSelector>) {
    if let Some(selector) = selector {
        labels(report, &at.field("workloadSelector").field("matchLabels"), &selector.match_labels);
    }
}

/// `workloadSelector` of the older networking kinds.
pub(super) fn network_workloads(report: &mut Report, at: &At<'_>, selector: Option<&sidecar::WorkloadSelector>) {
    if let Some(selector) = selector {
        labels(report, &at.field("workloadSelector").field("labels"), &selector.labels);
    }
}

/// What a policy says of its targets.
pub(super) struct Targets<'a> {
    pub(super) selector: Option<&'a WorkloadSelector>,
    pub(super) target_ref: Option<&'a PolicyTargetReference>,
    pub(super) target_refs: &'a [PolicyTargetReference],
}

/// A policy picks workloads or attaches to objects, in one way.
pub(super) fn targets(report: &mut Report, at: &At<'_>, targets: &Targets<'_>) {
    report.at_most_one(
        at,
        &[
            ("selector", targets.selector.is_some()),
            ("targetRef", targets.target_ref.is_some()),
            ("targetRefs", !targets.target_refs.is_empty()),
        ],
    );
    workloads(report, at, targets.selector);
    if let Some(target) = targets.target_ref {
        one_target(report, &at.field("targetRef"), target);
    }
    target_refs(report, at, targets.target_refs);
}

/// The list `targetRefs`.
pub(super) fn target_refs(report: &mut Report, at: &At<'_>, refs: &[PolicyTargetReference]) {
    report.items(&at.field("targetRefs"), refs, 0, 16);
    for (index, target) in refs.iter().enumerate() {
        one_target(report, &at.field("targetRefs").index(index), target);
    }
}

fn one_target(report: &mut Report, at: &At<'_>, target: &PolicyTargetReference) {
    report.present(&at.field("name"), &target.name);
    if !target.namespace.is_empty() {
        report.error(&at.field("namespace"), "must not be set: policies attach to objects of their own namespace only");
    }
    if !TARGETS.contains(&(target.kind.as_str(), target.group.as_str())) {
        let message = format!(
            "{:?} of group {:?} is no target: use Service, networking.istio.io ServiceEntry, gateway.networking.k8s.io Gateway or GatewayClass",
            target.kind, target.group
        );
        report.error(&at.field("kind"), message);
    }
}

/// `ports` of the matches of extensions.
pub(super) fn ports(report: &mut Report, at: &At<'_>, ports: &[PortSelector]) {
    for (index, port) in ports.iter().enumerate() {
        report.check(&at.field("ports").index(index).field("number"), rules::port(port.number));
    }
}

/// What `exportTo` depends on.
pub(super) struct Export<'a> {
    pub(super) namespace: &'a str,
    pub(super) export_to: &'a [String],
    /// ServiceEntries may be exported to nobody.
    pub(super) nobody: bool,
}

/// The namespaces that see an object.
pub(super) fn export_to(report: &mut Report, at: &At<'_>, export: &Export<'_>) {
    let at = at.field("exportTo");
    let mut seen = BTreeSet::new();
    for (index, entry) in export.export_to.iter().enumerate() {
        let at = at.index(index);
        let entry = if entry == "." { export.namespace } else { entry };
        if !seen.insert(entry) {
            report.error(&at, format!("{entry:?} is there twice"));
        }
        match entry {
            "*" => {}
            "~" if export.nobody => {}
            "~" => report.error(&at, "only ServiceEntries may be exported to nobody"),
            name => report
                .check(&at, rules::label(name).map_err(|_| format!("{name:?} is neither . nor * nor a namespace"))),
        }
    }
    for (all, what) in [("*", "all namespaces"), ("~", "nobody")] {
        if seen.contains(all) && export.export_to.len() > 1 {
            report.error(&at, format!("{all} stands for {what}: nothing may stand beside it"));
        }
    }
}
