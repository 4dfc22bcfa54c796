// SPDX-License-Identifier: Apache-2.0
//! Lowering of Telemetry resources.

use crate::LowerContext;
use crate::security::target as policy_target;
use tiphys_api::istio::telemetry::telemetry as api;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{
    CustomTag, Float, LoggingRule, MetricRule, MetricsRule, ProviderKind, Side, Str, TagValue, TelemetryPolicy,
    TelemetryProvider, TelemetrySettings, TracingRule,
};

/// A Telemetry resource in the words of the model.
pub fn lower(object: &Object, cx: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<TelemetryPolicy> {
    let Spec::Telemetry(spec) = &object.spec else { return None };
    check_providers(spec, &cx.mesh.telemetry, problems);
    Some(TelemetryPolicy {
        name: object.meta.name.as_str().into(),
        namespace: object.meta.namespace.as_str().into(),
        target: policy_target(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs),
        logging: spec.access_logging.iter().map(logging).collect(),
        tracing: spec.tracing.iter().map(tracing).collect(),
        metrics: spec.metrics.iter().map(metrics).collect(),
    })
}

/// Names the providers that the mesh does not have, or that are of a kind that is not supported for telemetry.
fn check_providers(spec: &api::Telemetry, settings: &TelemetrySettings, problems: &mut Vec<Problem>) {
    let lists = spec
        .access_logging
        .iter()
        .enumerate()
        .map(|(index, rule)| (format!("spec.accessLogging[{index}]"), &rule.providers))
        .chain(spec.tracing.iter().enumerate().map(|(i, rule)| (format!("spec.tracing[{i}]"), &rule.providers)))
        .chain(spec.metrics.iter().enumerate().map(|(i, rule)| (format!("spec.metrics[{i}]"), &rule.providers)));
    for (path, providers) in lists {
        for (index, provider) in providers.iter().enumerate() {
            let known = settings.providers.iter().find(|one| one.name.eq_ignore_ascii_case(&provider.name));
            let why = match known {
                None => "is not among the mesh's extensionProviders: name one that is",
                Some(TelemetryProvider { kind: ProviderKind::Other, .. }) => "is of a kind that is not supported here",
                Some(_) => continue,
            };
            let path = format!("{path}.providers[{index}].name");
            problems.push(Problem::warning(path, format!("provider {:?} {why}; it is left out", provider.name)));
        }
    }
}

fn side(mode: Option<&api::WorkloadMode>) -> Side {
    match mode {
        Some(api::WorkloadMode::Client) => Side::Client,
        Some(api::WorkloadMode::Server) => Side::Server,
        _ => Side::Both,
    }
}

fn names(providers: &[api::ProviderRef]) -> Vec<Str> {
    providers.iter().map(|provider| provider.name.as_str().into()).collect()
}

fn logging(rule: &api::AccessLogging) -> LoggingRule {
    LoggingRule {
        side: side(rule.r#match.as_ref().map(|selector| &selector.mode)),
        providers: names(&rule.providers),
        disabled: rule.disabled.unwrap_or(false),
        filter: rule.filter.as_ref().map(|filter| filter.expression.as_str().into()).unwrap_or_default(),
    }
}

fn tracing(rule: &api::Tracing) -> TracingRule {
    TracingRule {
        side: side(rule.r#match.as_ref().map(|selector| &selector.mode)),
        providers: names(&rule.providers),
        disabled: rule.disable_span_reporting,
        sampling: rule.random_sampling_percentage.map(Float::new),
        custom_tags: rule.custom_tags.iter().filter_map(|(name, value)| tag(name, value)).collect(),
        request_id_sampling: rule.use_request_id_for_trace_sampling,
        istio_tags: rule.enable_istio_tags,
        no_context_propagation: rule.disable_context_propagation,
    }
}

fn tag(name: &str, tag: &api::CustomTag) -> Option<CustomTag> {
    let text = |text: &str| Str::from(text);
    let value = if let Some(literal) = &tag.literal {
        TagValue::Literal(text(&literal.value))
    } else if let Some(environment) = &tag.environment {
        TagValue::Environment(text(&environment.name), text(&environment.default_value))
    } else if let Some(header) = &tag.header {
        TagValue::Header(text(&header.name), text(&header.default_value))
    } else {
        TagValue::Formatter(text(&tag.formatter.as_ref()?.value))
    };
    Some(CustomTag { name: name.into(), value })
}

fn metrics(rule: &api::Metrics) -> MetricsRule {
    MetricsRule {
        providers: names(&rule.providers),
        overrides: rule.overrides.iter().map(metric).collect(),
        reporting_interval: rule.reporting_interval.map(tiphys_api::Duration::get),
    }
}

fn metric(change: &api::MetricsOverrides) -> MetricRule {
    let selector = change.r#match.as_ref();
    let own = selector.and_then(|selector| selector.metric.as_ref()).filter(|m| **m != api::IstioMetric::AllMetrics);
    let custom = selector.and_then(|selector| selector.custom_metric.as_deref());
    let tag = |over: &api::TagOverride| match over.operation {
        api::TagOperation::Remove => None,
        _ => Some(Str::from(over.value.as_str())),
    };
    MetricRule {
        metric: custom.map(Str::from).or_else(|| own.map(|metric| Str::from(metric.as_str()))),
        side: side(selector.map(|selector| &selector.mode)),
        disabled: change.disabled,
        tags: change.tag_overrides.iter().map(|(name, over)| (Str::from(name.as_str()), tag(over))).collect(),
    }
}
