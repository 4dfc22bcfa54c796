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
    if let Some(http) = &provider.envoy_ext_authz_http {
        let at = at.field("envoyExtAuthzHttp");
        if !http.path_prefix.is_empty() && !http.path_prefix.starts_with('/') {
            report.error(&at.field("pathPrefix"), "must start with a slash");
        }
        status(report, &at, &http.status_on_error);
    }
    if let Some(grpc) = &provider.envoy_ext_authz_grpc {
        status(report, &at.field("envoyExtAuthzGrpc"), &grpc.status_on_error);
    }
    if provider.opentelemetry.as_ref().is_some_and(|named| named.grpc.is_some() && named.http.is_some()) {
        report.error(&at.field("opentelemetry"), "grpc and http exclude each other: keep one");
    }
}

fn status(report: &mut Report, at: &At<'_>, status: &str) {
    if !status.is_empty() && !status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status)) {
        report.error(&at.field("statusOnError"), format!("{status:?} is not a status of HTTP"));
    }
}
