// SPDX-License-Identifier: Apache-2.0
//! What is wrong with an object, by the rules of Istio's and Gateway API's validation; one file a kind.
//!
//! `Object::validate` looks at the metadata, at words that enums do not know, and then at the kind's own rules. An error means that the
//! object cannot be used, a warning that it works, but probably not as meant. Nothing here looks at other objects.

mod authentication;
mod authorization_policy;
mod backend_policy;
mod destination_rule;
mod envoy_filter;
mod gateway;
mod gateway_route;
mod http_route;
mod istio_gateway;
mod istio_http;
mod load_balancer;
mod mesh;
mod providers;
mod re2;
mod report;
mod rules;
mod selector;
mod service_entry;
mod sidecar;
mod telemetry;
mod tls;
mod virtual_service;
mod wasm;
mod workload;

use report::{At, Report};

use crate::istio::security::authorization_policy::Action;
use crate::json;
use crate::kind::Spec;
use crate::names::annotation;
use crate::object::{Meta, Object};
use crate::problem::Problem;

pub use re2::check as check_regex;

impl Object {
    /// What is wrong with the object by itself; empty when nothing is.
    pub fn validate(&self) -> Vec<Problem> {
        if !self.kind().is_istio() && !self.kind().is_gateway_api() {
            return Vec::new();
        }
        let mut report = Report::default();
        metadata(&mut report, self);
        for unknown in self.spec.unknown_words("spec") {
            let known = unknown.known.trim_start_matches(", ");
            report.problems.push(Problem::error(
                unknown.path,
                format!("{:?} is not a value that is known: use one of {known}", unknown.word),
            ));
        }
        spec(&mut report, &self.meta, &self.spec);
        report.problems
    }
}

fn metadata(report: &mut Report, object: &Object) {
    let root = At::Root("metadata");
    let name = &object.meta.name;
    if !rules::is_subdomain(name) {
        let message = format!("{name:?} is not a name: use lower-case letters, digits, dots and inner hyphens");
        // Upper case harms nothing here, but an API server would refuse it.
        if rules::is_subdomain(&name.to_ascii_lowercase()) {
            report.warning(&root.field("name"), message);
        } else {
            report.error(&root.field("name"), message);
        }
    }
    if object.kind().namespaced() && !rules::is_lower_label(&object.meta.namespace) {
        report.error(&root.field("namespace"), format!("{:?} is not a namespace", object.meta.namespace));
    }
    let annotations = root.field("annotations");
    if let Some(value) = object.meta.annotations.get(annotation::DRY_RUN) {
        let at = annotations.key(annotation::DRY_RUN);
        match &object.spec {
            Spec::AuthorizationPolicy(policy) if matches!(policy.action, Action::Allow | Action::Deny) => {
                report.check(&at, boolean(value));
            }
            Spec::AuthorizationPolicy(_) => report.error(&at, "works with the actions ALLOW and DENY only"),
            _ if object.kind().is_istio() => {
                report.error(&at, format!("does not work with {}: remove it", object.kind()))
            }
            _ => {}
        }
    }
}

/// The spellings that Go's parser takes.
fn boolean(text: &str) -> rules::Check {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(()),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn spec(report: &mut Report, meta: &Meta, spec: &Spec) {
    let at = At::Root("spec");
    match spec {
        Spec::VirtualService(spec) => virtual_service::check(report, &at, meta, spec),
        Spec::DestinationRule(spec) => destination_rule::check(report, &at, meta, spec),
        Spec::IstioGateway(spec) => istio_gateway::check(report, &at, meta, spec),
        Spec::ServiceEntry(spec) => service_entry::check(report, &at, meta, spec),
        Spec::WorkloadEntry(spec) => workload::entry(report, &at, spec, None),
        Spec::WorkloadGroup(spec) => workload::group(report, &at, spec),
        Spec::Sidecar(spec) => sidecar::check(report, &at, meta, spec),
        Spec::EnvoyFilter(spec) => envoy_filter::check(report, &at, spec),
        Spec::ProxyConfig(spec) => {
            selector::workloads(report, &at, spec.selector.as_ref());
            report.not_negative(&at.field("concurrency"), spec.concurrency.unwrap_or_default().into());
        }
        Spec::PeerAuthentication(spec) => authentication::peer(report, &at, spec),
        Spec::RequestAuthentication(spec) => authentication::request(report, &at, spec),
        Spec::AuthorizationPolicy(spec) => authorization_policy::check(report, &at, spec),
        Spec::Telemetry(spec) => telemetry::check(report, &at, spec),
        Spec::WasmPlugin(spec) => wasm::plugin(report, &at, spec),
        Spec::TrafficExtension(spec) => wasm::extension(report, &at, spec),
        Spec::GatewayClass(spec) => gateway::class(
            report,
            &at,
            &spec.controller_name,
            spec.parameters_ref.as_ref(),
            spec.description.as_deref(),
        ),
        Spec::XMesh(spec) => gateway::class(
            report,
            &at,
            &spec.controller_name,
            spec.parameters_ref.as_ref(),
            spec.description.as_deref(),
        ),
        Spec::Gateway(spec) => gateway::check(report, &at, spec),
        Spec::ListenerSet(spec) => gateway::listener_set(report, &at, spec),
        Spec::HttpRoute(spec) => http_route::check(report, &at, spec),
        Spec::GrpcRoute(spec) => gateway_route::grpc(report, &at, spec),
        Spec::TlsRoute(spec) => gateway_route::tls(report, &at, spec),
        Spec::TcpRoute(spec) => gateway_route::l4(report, &at, spec, &spec.rules),
        Spec::UdpRoute(spec) => gateway_route::l4(report, &at, spec, &spec.rules),
        Spec::BackendTlsPolicy(spec) => backend_policy::backend_tls(report, &at, spec),
        Spec::ReferenceGrant(spec) => backend_policy::reference_grant(report, &at, spec),
        Spec::XBackend(spec) => backend_policy::x_backend(report, &at, spec),
        Spec::XBackendTrafficPolicy(spec) => backend_policy::x_traffic(report, &at, spec),
        Spec::Namespace(_)
        | Spec::Service(_)
        | Spec::EndpointSlice(_)
        | Spec::Endpoints(_)
        | Spec::Pod(_)
        | Spec::Node(_)
        | Spec::Secret(_)
        | Spec::ConfigMap(_)
        | Spec::ServiceAccount(_)
        | Spec::Ingress(_)
        | Spec::IngressClass(_)
        | Spec::ServiceExport(_)
        | Spec::ServiceImport(_) => {}
    }
}

/// Errors for the words of settings that enums do not know.
fn words<T: serde::Serialize>(report: &mut Report, value: &T) {
    for unknown in json::unknown_words(value, "") {
        let known = unknown.known.trim_start_matches(", ");
        report.problems.push(Problem::error(
            unknown.path,
            format!("{:?} is not a value that is known: use one of {known}", unknown.word),
        ));
    }
}
