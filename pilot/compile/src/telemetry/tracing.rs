// SPDX-License-Identifier: Apache-2.0
//! Spans of one side.

use super::effective::Sources;
use tiphys_model::{CustomTag, Float, ProviderKind, Side, Str, Tracing, TracingProvider, TracingRule};

/// The spans of a side; none = off.
pub(super) fn merge(sources: &Sources<'_>, side: Side) -> Option<Tracing> {
    let rules: Vec<&TracingRule> = sources.levels.iter().flat_map(|policy| &policy.tracing).collect();
    let default = sources.settings.default_tracing.first();
    if rules.is_empty() && default.is_none() {
        return sources.settings.tracing.then(|| fallback(sources));
    }
    let applying = || rules.iter().filter(|rule| rule.side.covers(side));
    let last = |field: fn(&TracingRule) -> Option<bool>| applying().filter_map(|rule| field(rule)).next_back();
    let named = applying().filter_map(|rule| rule.providers.first()).next_back();
    if last(|rule| rule.disabled).unwrap_or(false) {
        return None;
    }
    let (_, kind) = sources.provider(named.or(default)?)?;
    let (provider, max_tag_length) = provider(sources, kind)?;
    let sampling: Option<Float> = applying().filter_map(|rule| rule.sampling).next_back();
    let tags: Option<&Vec<CustomTag>> = applying().map(|rule| &rule.custom_tags).rfind(|tags| !tags.is_empty());
    Some(Tracing {
        provider: Some(provider),
        sampling: sampling.unwrap_or_else(|| fallback_sampling(sources)),
        istio_tags: last(|rule| rule.istio_tags).unwrap_or(true),
        custom_tags: tags.unwrap_or(&sources.config.tracing.custom_tags).clone(),
        max_path_tag_length: max_tag_length.or(sources.config.tracing.max_path_tag_length),
        request_id_sampling: last(|rule| rule.request_id_sampling).unwrap_or(true),
        no_context_propagation: last(|rule| rule.no_context_propagation).unwrap_or(false),
    })
}

/// Spans where no provider is named: what the bootstrap says of them counts.
fn fallback(sources: &Sources<'_>) -> Tracing {
    let own = &sources.config.tracing;
    Tracing {
        provider: None,
        sampling: fallback_sampling(sources),
        istio_tags: own.istio_tags.unwrap_or(true),
        custom_tags: own.custom_tags.clone(),
        max_path_tag_length: own.max_path_tag_length,
        request_id_sampling: true,
        no_context_propagation: false,
    }
}

fn fallback_sampling(sources: &Sources<'_>) -> Float {
    sources.config.tracing.sampling.unwrap_or(sources.settings.trace_sampling)
}

fn provider(sources: &Sources<'_>, kind: &ProviderKind) -> Option<(TracingProvider, Option<u32>)> {
    match kind {
        ProviderKind::Zipkin { service, path, short_ids, w3c, timeout, headers, max_tag_length } => {
            let (host, cluster) = sources.cluster(service)?;
            let provider = TracingProvider::Zipkin {
                cluster,
                host,
                path: path.clone(),
                short_ids: *short_ids,
                w3c: *w3c,
                timeout: *timeout,
                headers: headers.clone(),
            };
            Some((provider, *max_tag_length))
        }
        ProviderKind::Datadog { service, max_tag_length } => {
            let (host, cluster): (Str, Str) = sources.cluster(service)?;
            Some((TracingProvider::Datadog { cluster, host }, *max_tag_length))
        }
        ProviderKind::OpenTelemetry { service, http_path, timeout, headers, environment_detector, max_tag_length } => {
            let (host, cluster) = sources.cluster(service)?;
            let provider = TracingProvider::OpenTelemetry {
                cluster,
                host,
                http_path: http_path.clone(),
                timeout: *timeout,
                headers: headers.clone(),
                environment_detector: *environment_detector,
            };
            Some((provider, *max_tag_length))
        }
        _ => None,
    }
}
