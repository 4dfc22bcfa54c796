// SPDX-License-Identifier: Apache-2.0
//! Access logs of one side.

use super::effective::Sources;
use std::collections::{BTreeMap, BTreeSet};
use tiphys_model::{AccessLog, LogFormat, LogService, LogSink, LoggingRule, ProviderKind, Side, Str};

/// What is merged for a provider.
#[derive(Clone, Default)]
struct Spec {
    disabled: bool,
    filter: Str,
}

/// The access logs of a side.
pub(super) fn merge(sources: &Sources<'_>, side: Side) -> Vec<AccessLog> {
    let levels: Vec<&[LoggingRule]> =
        sources.levels.iter().map(|policy| &policy.logging[..]).filter(|rules| !rules.is_empty()).collect();
    let specs = specs(&levels, &sources.settings.default_logging, side);
    let mut known = BTreeMap::new();
    for (name, spec) in specs {
        let Some((name, kind)) = sources.provider(&name) else { continue };
        if let Some(sink) = sink(sources, kind) {
            known.insert(name.clone(), (spec, sink));
        }
    }
    if known.is_empty() {
        return fallback(sources);
    }
    let enabled = known.into_values().filter(|(spec, _)| !spec.disabled);
    enabled.map(|(spec, sink)| AccessLog { sink, filter: spec.filter }).collect()
}

/// What is said of each provider that counts.
fn specs(levels: &[&[LoggingRule]], defaults: &[Str], side: Side) -> BTreeMap<Str, Spec> {
    let mut specs = BTreeMap::new();
    if levels.is_empty() {
        specs.extend(defaults.iter().map(|name| (name.clone(), Spec::default())));
        return specs;
    }
    // The narrowest level that names providers says which ones count.
    let mut in_scope: BTreeSet<&Str> = defaults.iter().collect();
    let mut filters: BTreeMap<&Str, &Str> = BTreeMap::new();
    for rules in levels {
        let applying = || rules.iter().filter(|rule| rule.side.covers(side));
        for rule in applying() {
            filters.extend(rule.providers.iter().map(|name| (name, &rule.filter)));
        }
        let named: BTreeSet<&Str> = applying().flat_map(|rule| &rule.providers).collect();
        if !named.is_empty() {
            in_scope = named;
        }
    }
    let mut around = defaults;
    for rule in levels.iter().flat_map(|rules| rules.iter()) {
        if !rule.providers.is_empty() {
            around = &rule.providers;
        }
        for name in around.iter().filter(|name| in_scope.contains(name) && rule.side.covers(side)) {
            let filter = filters.get(name).map(|filter| (*filter).clone()).unwrap_or_default();
            let filter = if rule.disabled { Str::default() } else { filter };
            specs.insert(name.clone(), Spec { disabled: rule.disabled, filter });
        }
    }
    specs
}

/// Access logs where no provider is named.
fn fallback(sources: &Sources<'_>) -> Vec<AccessLog> {
    let settings = sources.settings;
    let file = (!settings.log_file.is_empty()).then(|| LogSink::File {
        path: settings.log_file.clone(),
        format: settings.log_format.clone(),
        omit_empty: false,
    });
    let service = settings.log_service.then_some(LogSink::BootstrapService);
    file.into_iter().chain(service).map(|sink| AccessLog { sink, filter: Str::default() }).collect()
}

fn sink(sources: &Sources<'_>, kind: &ProviderKind) -> Option<LogSink> {
    let named = |name: &Str, default: &str| if name.is_empty() { default.into() } else { name.clone() };
    match kind {
        ProviderKind::File { path, format, omit_empty } => Some(LogSink::File {
            path: path.clone(),
            format: format.clone().unwrap_or(LogFormat::Text(Str::default())),
            omit_empty: *omit_empty,
        }),
        ProviderKind::LogService {
            http,
            service,
            name,
            filter_state,
            request_headers,
            response_headers,
            response_trailers,
        } => {
            let (authority, cluster) = sources.cluster(service)?;
            let default = if *http { "http_envoy_accesslog" } else { "tcp_envoy_accesslog" };
            let service = LogService {
                cluster,
                authority,
                name: named(name, default),
                filter_state: filter_state.clone(),
                request_headers: request_headers.clone(),
                response_headers: response_headers.clone(),
                response_trailers: response_trailers.clone(),
            };
            Some(if *http { LogSink::HttpService(service) } else { LogSink::TcpService(service) })
        }
        ProviderKind::OpenTelemetryLog { service, name, body, attributes } => {
            let (authority, cluster) = sources.cluster(service)?;
            let name = named(name, "otel_envoy_accesslog");
            Some(LogSink::OpenTelemetry {
                service: LogService { cluster, authority, name, ..LogService::default() },
                body: body.clone(),
                attributes: attributes.clone(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(providers: &[&str], disabled: bool, side: Side) -> LoggingRule {
        let providers = providers.iter().map(|name| (*name).into()).collect();
        LoggingRule { side, providers, disabled, filter: Str::default() }
    }

    fn names(levels: &[&[LoggingRule]], side: Side) -> Vec<(String, bool)> {
        let defaults = ["envoy".into()];
        specs(levels, &defaults, side).into_iter().map(|(name, spec)| (name.to_string(), spec.disabled)).collect()
    }

    #[test]
    fn narrower_levels_win() {
        assert_eq!(names(&[], Side::Client), [("envoy".to_string(), false)]);
        let (wide, narrow) = ([rule(&["a"], false, Side::Both)], [rule(&["b"], false, Side::Both)]);
        assert_eq!(names(&[&wide, &narrow], Side::Client), [("b".to_string(), false)]);
        let off = [rule(&[], true, Side::Both)];
        assert_eq!(names(&[&wide, &off], Side::Client), [("a".to_string(), true)]);
    }

    #[test]
    fn sides_are_told_apart() {
        let server = [rule(&["a"], false, Side::Server)];
        assert_eq!(names(&[&server], Side::Server), [("a".to_string(), false)]);
        assert_eq!(names(&[&server], Side::Client), []);
    }
}
