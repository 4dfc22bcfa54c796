// SPDX-License-Identifier: Apache-2.0
//! Extension providers of MeshConfig. A wrong one only hurts the policies that use it, so these are warnings.

use std::collections::BTreeSet;

use super::report::{At, Report};
use super::rules;
use crate::mesh::extension_provider::ExtensionProvider;

pub(super) fn check(report: &mut Report, at: &At<'_>, providers: &[ExtensionProvider]) {
    let mut names = BTreeSet::new();
    let mut found = Report::default();
    for (index, provider) in providers.iter().enumerate() {
        let at = at.field("extensionProviders");
        let at = at.index(index);
        found.present(&at.field("name"), &provider.name);
        if !names.insert(&provider.name) {
            found.error(&at.field("name"), format!("{:?} is there twice", provider.name));
        }
        kind(&mut found, &at, provider);
        services(&mut found, &at, provider);
    }
    for problem in found.problems {
        report.problems.push(crate::problem::Problem::warning(problem.path, problem.message));
    }
}

fn kind(report: &mut Report, at: &At<'_>, provider: &ExtensionProvider) {
    report.exactly_one(
        at,
        &[
            ("envoyExtAuthzHttp", provider.envoy_ext_authz_http.is_some()),
            ("envoyExtAuthzGrpc", provider.envoy_ext_authz_grpc.is_some()),
            ("zipkin", provider.zipkin.is_some()),
            ("lightstep", provider.lightstep.is_some()),
            ("datadog", provider.datadog.is_some()),
            ("stackdriver", provider.stackdriver.is_some()),
            ("opencensus", provider.opencensus.is_some()),
            ("skywalking", provider.skywalking.is_some()),
            ("opentelemetry", provider.opentelemetry.is_some()),
            ("prometheus", provider.prometheus.is_some()),
            ("envoyFileAccessLog", provider.envoy_file_access_log.is_some()),
            ("envoyHttpAls", provider.envoy_http_als.is_some()),
            ("envoyTcpAls", provider.envoy_tcp_als.is_some()),
            ("envoyOtelAls", provider.envoy_otel_als.is_some()),
            ("sds", provider.sds.is_some()),
        ],
    );
}

/// Service and port of every kind that has them, and the details of authorization.
fn services(report: &mut Report, at: &At<'_>, provider: &ExtensionProvider) {
    let mut service = |field: &str, service: &str, port: u32| {
        let at = at.field(field);
        let host = service.split_once('/').map_or(service, |(_, host)| host);
        report.check(&at.field("service"), rules::fqdn(host));
        report.check(&at.field("port"), rules::port(port));
    };
    macro_rules! services {
        ($($name:ident $field:literal;)*) => {
            $(if let Some(named) = &provider.$name {
                service($field, &named.service, named.port);
            })*
        };
    }
    services! {
        envoy_ext_authz_http "envoyExtAuthzHttp";
        envoy_ext_authz_grpc "envoyExtAuthzGrpc";
        zipkin "zipkin";
        lightstep "lightstep";
        datadog "datadog";
        opencensus "opencensus";
        skywalking "skywalking";
        opentelemetry "opentelemetry";
        envoy_http_als "envoyHttpAls";
        envoy_tcp_als "envoyTcpAls";
        envoy_otel_als "envoyOtelAls";
    }
    authorization(report, at, provider);
    if provider.opentelemetry.as_ref().is_some_and(|named| named.grpc.is_some() && named.http.is_some()) {
        report.error(&at.field("opentelemetry"), "grpc and http exclude each other: keep one");
    }
}

/// Details of external authorization.
fn authorization(report: &mut Report, at: &At<'_>, provider: &ExtensionProvider) {
    if (provider.envoy_ext_authz_http.is_some() || provider.envoy_ext_authz_grpc.is_some())
        && !provider.name.is_empty()
        && !rules::is_lower_label(&provider.name)
    {
        let message =
            format!("{:?} is not a DNS label in lower case, as names of rules are made from it", provider.name);
        report.error(&at.field("name"), message);
    }
    if let Some(http) = &provider.envoy_ext_authz_http {
        let at = at.field("envoyExtAuthzHttp");
        if !http.path_prefix.is_empty() && !http.path_prefix.starts_with('/') {
            report.error(&at.field("pathPrefix"), "must start with a slash");
        }
        status(report, &at, &http.status_on_error);
        for (field, names) in [
            ("includeRequestHeadersInCheck", &http.include_request_headers_in_check),
            ("includeHeadersInCheck", &http.include_headers_in_check),
            ("headersToUpstreamOnAllow", &http.headers_to_upstream_on_allow),
            ("headersToDownstreamOnDeny", &http.headers_to_downstream_on_deny),
            ("headersToDownstreamOnAllow", &http.headers_to_downstream_on_allow),
        ] {
            for (index, _) in names.iter().enumerate().filter(|(_, name)| *name == "*") {
                let message = "\"*\" alone is not possible: write the start or the end of a name, such as x-auth-*";
                report.error(&at.field(field).index(index), message);
            }
        }
    }
    if let Some(grpc) = &provider.envoy_ext_authz_grpc {
        status(report, &at.field("envoyExtAuthzGrpc"), &grpc.status_on_error);
    }
}

/// Statuses that Envoy knows by name (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/v3/http_status.proto>).
fn is_status(code: u16) -> bool {
    matches!(code, 100 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=424 | 426 | 428 | 429 | 431)
        || matches!(code, 500..=508 | 510 | 511)
}

fn status(report: &mut Report, at: &At<'_>, status: &str) {
    if !status.is_empty() && !status.parse().is_ok_and(is_status) {
        report.error(&at.field("statusOnError"), format!("{status:?} is not a status of HTTP that Envoy knows"));
    }
}
