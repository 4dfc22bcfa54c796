// SPDX-License-Identifier: Apache-2.0
//! EnvoyFilter: whether patches are complete and match what they patch. Their values are looked at where Envoy's messages are known.

use super::report::{At, Report};
use super::{re2, selector};
use crate::istio::networking::EnvoyFilter;
use crate::istio::networking::envoy_filter::{
    ApplyTo, EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, FilterMatch, PatchContext, PatchOperation,
};

/// Both names of the filter that HTTP filters are in.
const CONNECTION_MANAGERS: [&str; 2] =
    ["envoy.filters.network.http_connection_manager", "envoy.http_connection_manager"];

pub(super) fn check(report: &mut Report, at: &At<'_>, spec: &EnvoyFilter) {
    selector::network_workloads(report, at, spec.workload_selector.as_ref());
    report.at_most_one(
        at,
        &[("workloadSelector", spec.workload_selector.is_some()), ("targetRefs", !spec.target_refs.is_empty())],
    );
    selector::target_refs(report, at, &spec.target_refs);
    for (index, patch) in spec.config_patches.iter().enumerate() {
        self::patch(report, &at.field("configPatches").index(index), patch);
    }
}

fn patch(report: &mut Report, at: &At<'_>, patch: &EnvoyConfigObjectPatch) {
    if patch.apply_to == ApplyTo::Invalid {
        report.error(&at.field("applyTo"), "must be set");
    }
    match &patch.patch {
        None => report.error(&at.field("patch"), "must be set"),
        Some(change) => {
            let at = at.field("patch");
            if change.operation == PatchOperation::Invalid {
                report.error(&at.field("operation"), "must be set");
            } else if change.operation != PatchOperation::Remove && change.value.is_none() {
                report.error(&at.field("value"), format!("must be set for {}", change.operation));
            }
            if change.value.as_ref().is_some_and(|value| !value.is_object()) {
                report.error(&at.field("value"), "must be an object");
            }
        }
    }
    if let Some(matched) = &patch.r#match {
        self::matched(report, &at.field("match"), matched, &patch.apply_to);
    }
}

fn matched(report: &mut Report, at: &At<'_>, matched: &EnvoyConfigObjectMatch, apply_to: &ApplyTo) {
    let set = [
        ("listener", matched.listener.is_some()),
        ("routeConfiguration", matched.route_configuration.is_some()),
        ("cluster", matched.cluster.is_some()),
        ("waypoint", matched.waypoint.is_some()),
    ];
    report.at_most_one(at, &set);
    if let Some(proxy) = matched.proxy.as_ref().filter(|proxy| !proxy.proxy_version.is_empty()) {
        report.check(&at.field("proxy").field("proxyVersion"), re2::check(&proxy.proxy_version));
    }
    if matched.context == PatchContext::Waypoint {
        return;
    }
    let expected = match apply_to {
        ApplyTo::Listener
        | ApplyTo::FilterChain
        | ApplyTo::NetworkFilter
        | ApplyTo::HttpFilter
        | ApplyTo::ListenerFilter => "listener",
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => "routeConfiguration",
        ApplyTo::Cluster => "cluster",
        _ => return,
    };
    for (field, _) in set.iter().filter(|(field, set)| *set && *field != expected) {
        report.error(&at.field(field), format!("does not go with applyTo: {apply_to}, which is matched by {expected}"));
    }
    let chain = matched.listener.as_ref().and_then(|listener| listener.filter_chain.as_ref());
    if let Some(filter) = chain.and_then(|chain| chain.filter.as_ref()) {
        let at = at.field("listener");
        let at = at.field("filterChain");
        self::filter(report, &at.field("filter"), filter, apply_to);
    }
}

fn filter(report: &mut Report, at: &At<'_>, filter: &FilterMatch, apply_to: &ApplyTo) {
    report.present(&at.field("name"), &filter.name);
    if matches!(apply_to, ApplyTo::Listener | ApplyTo::FilterChain) {
        report.warning(at, format!("has no effect with applyTo: {apply_to}"));
    }
    if filter.name == "envoy.http_connection_manager" {
        report.warning(&at.field("name"), format!("is an old name: use {}", CONNECTION_MANAGERS[0]));
    }
    if let Some(sub_filter) = &filter.sub_filter {
        let at = at.field("subFilter");
        if *apply_to != ApplyTo::HttpFilter {
            report.error(&at, "works with applyTo: HTTP_FILTER only");
        } else if !CONNECTION_MANAGERS.contains(&filter.name.as_str()) {
            report.error(&at, format!("needs the filter {}", CONNECTION_MANAGERS[0]));
        }
        report.present(&at.field("name"), &sub_filter.name);
    }
}
