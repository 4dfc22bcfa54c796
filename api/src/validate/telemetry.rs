// SPDX-License-Identifier: Apache-2.0
//! Telemetry: providers, tags and shares.

use super::report::{At, Report};
use super::selector::{self, Targets};
use crate::istio::telemetry::Telemetry;
use crate::istio::telemetry::telemetry::{MetricsOverrides, ProviderRef, TagOperation, Tracing};

pub(super) fn check(report: &mut Report, at: &At<'_>, spec: &Telemetry) {
    selector::targets(
        report,
        at,
        &Targets {
            selector: spec.selector.as_ref(),
            target_ref: spec.target_ref.as_ref(),
            target_refs: &spec.target_refs,
        },
    );
    if spec.tracing.len() > 1 {
        report.warning(&at.field("tracing"), "only the first entry has an effect");
    }
    for (index, tracing) in spec.tracing.iter().enumerate() {
        self::tracing(report, &at.field("tracing").index(index), tracing);
    }
    for (index, metrics) in spec.metrics.iter().enumerate() {
        let at = at.field("metrics");
        let at = at.index(index);
        providers(report, &at, &metrics.providers);
        report.duration(&at.field("reportingInterval"), metrics.reporting_interval);
        for (index, overrides) in metrics.overrides.iter().enumerate() {
            self::overrides(report, &at.field("overrides").index(index), overrides);
        }
    }
    for (index, logging) in spec.access_logging.iter().enumerate() {
        let at = at.field("accessLogging");
        let at = at.index(index);
        providers(report, &at, &logging.providers);
        if let Some(filter) = &logging.filter {
            report.present(&at.field("filter").field("expression"), &filter.expression);
        }
    }
}

fn providers(report: &mut Report, at: &At<'_>, providers: &[ProviderRef]) {
    for (index, provider) in providers.iter().enumerate() {
        report.present(&at.field("providers").index(index).field("name"), &provider.name);
    }
}

fn tracing(report: &mut Report, at: &At<'_>, tracing: &Tracing) {
    providers(report, at, &tracing.providers);
    if tracing.providers.len() > 1 {
        report.warning(&at.field("providers"), "only the first provider has an effect");
    }
    report.percent(&at.field("randomSamplingPercentage"), tracing.random_sampling_percentage.unwrap_or_default());
    for (name, tag) in &tracing.custom_tags {
        let at = at.field("customTags");
        let at = at.key(name);
        report.present(&at, name);
        report.exactly_one(
            &at,
            &[
                ("literal", tag.literal.is_some()),
                ("environment", tag.environment.is_some()),
                ("header", tag.header.is_some()),
                ("formatter", tag.formatter.is_some()),
            ],
        );
        if let Some(literal) = &tag.literal {
            report.present(&at.field("literal").field("value"), &literal.value);
        }
        if let Some(environment) = &tag.environment {
            report.present(&at.field("environment").field("name"), &environment.name);
        }
        if let Some(header) = &tag.header {
            report.present(&at.field("header").field("name"), &header.name);
        }
    }
}

fn overrides(report: &mut Report, at: &At<'_>, overrides: &MetricsOverrides) {
    for (name, tag) in &overrides.tag_overrides {
        let at = at.field("tagOverrides");
        let at = at.key(name);
        if name.is_empty() {
            report.warning(&at, "is a tag without a name");
        }
        match tag.operation {
            TagOperation::Upsert => report.present(&at.field("value"), &tag.value),
            TagOperation::Remove if !tag.value.is_empty() => {
                report.error(&at.field("value"), "does not go with REMOVE")
            }
            _ => {}
        }
    }
    if let Some(matched) = &overrides.r#match {
        let at = at.field("match");
        report.at_most_one(
            &at,
            &[("metric", matched.metric.is_some()), ("customMetric", matched.custom_metric.is_some())],
        );
        if matched.custom_metric.as_deref() == Some("") {
            report.error(&at.field("customMetric"), "must not be empty");
        }
    }
}
