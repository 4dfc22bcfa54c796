// SPDX-License-Identifier: Apache-2.0
//! What the webhooks count, under istiod's names.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

/// Counts of the webhooks.
#[derive(Clone, Debug)]
pub struct WebhookMetrics {
    /// `sidecar_injection_requests_total`.
    pub requests: IntCounter,
    /// `sidecar_injection_success_total`.
    pub injected: IntCounter,
    /// `sidecar_injection_failure_total`.
    pub failed: IntCounter,
    /// `sidecar_injection_skip_total`.
    pub skipped: IntCounter,
    /// `sidecar_injection_time_seconds`.
    pub time: Histogram,
    /// `galley_validation_passed{group,version,resource}`.
    pub passed: IntCounterVec,
    /// `galley_validation_failed{group,version,resource,reason}`.
    pub refused: IntCounterVec,
    /// `galley_validation_http_error{status}`.
    pub http_errors: IntCounterVec,
    /// `galley_validation_config_updates`.
    pub validator_updates: IntCounter,
    /// `galley_validation_config_update_error{reason}`.
    pub validator_errors: IntCounterVec,
    /// `webhook_patch_attempts_total{name}`.
    pub patches: IntCounterVec,
    /// `webhook_patch_retries_total{name}`.
    pub patch_retries: IntCounterVec,
    /// `webhook_patch_failures_total{name,reason}`.
    pub patch_failures: IntCounterVec,
}

impl WebhookMetrics {
    /// Makes all counts and enters them into a registry.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let kind = ["group", "version", "resource"];
        // istiod's buckets start at 0.1 s; injection here takes a few milliseconds.
        let buckets = vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0];
        let help = "Total time taken for injection in seconds.";
        let time = Histogram::with_opts(HistogramOpts::new("sidecar_injection_time_seconds", help).buckets(buckets))?;
        registry.register(Box::new(time.clone()))?;
        Ok(Self {
            requests: counter("sidecar_injection_requests_total", "Total number of sidecar injection requests.")?,
            injected: counter(
                "sidecar_injection_success_total",
                "Total number of successful sidecar injection requests.",
            )?,
            failed: counter("sidecar_injection_failure_total", "Total number of failed sidecar injection requests.")?,
            skipped: counter("sidecar_injection_skip_total", "Total number of skipped sidecar injection requests.")?,
            time,
            passed: counters("galley_validation_passed", "Resource is valid", &kind)?,
            refused: counters(
                "galley_validation_failed",
                "Resource validation failed",
                &["group", "version", "resource", "reason"],
            )?,
            http_errors: counters(
                "galley_validation_http_error",
                "Resource validation http serve errors",
                &["status"],
            )?,
            validator_updates: counter("galley_validation_config_updates", "k8s webhook configuration updates")?,
            validator_errors: counters(
                "galley_validation_config_update_error",
                "k8s webhook configuration update error",
                &["reason"],
            )?,
            patches: counters("webhook_patch_attempts_total", "Webhook patching attempts", &["name"])?,
            patch_retries: counters("webhook_patch_retries_total", "Webhook patching retries", &["name"])?,
            patch_failures: counters(
                "webhook_patch_failures_total",
                "Webhook patching total failures",
                &["name", "reason"],
            )?,
        })
    }
}
