// SPDX-License-Identifier: Apache-2.0
//! What the agent counts, under pilot-agent's names where they mean the same.

use crate::identity::SecretStore;
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// All of the agent's counters.
#[derive(Debug)]
pub struct Metrics {
    /// Requests to the authority.
    pub outgoing_requests: Counter,
    /// Those of them that failed.
    pub failed_outgoing_requests: Counter,
    /// Tries to reach the control plane that failed.
    pub connection_failures: Counter,
    /// Streams that the control plane ended.
    pub connection_terminations: Counter,
    /// Streams that Envoy ended.
    pub envoy_terminations: Counter,
    /// Scrapes of the merged metrics.
    pub scrapes: Counter,
    /// Scrapes of the application that failed.
    pub failed_application_scrapes: Counter,
    /// Scrapes of Envoy that failed.
    pub failed_envoy_scrapes: Counter,
    /// DNS queries of the application.
    pub dns_requests: Counter,
    /// DNS queries that went on to the servers.
    pub dns_upstream_requests: Counter,
    /// Those of them that no server answered.
    pub dns_upstream_failures: Counter,
    /// Streams of configuration that are open.
    pub streams: AtomicU64,
    /// How long it took from the start until the proxy was ready, in seconds.
    pub startup_seconds: OnceLock<f64>,
    started: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            outgoing_requests: Counter::default(),
            failed_outgoing_requests: Counter::default(),
            connection_failures: Counter::default(),
            connection_terminations: Counter::default(),
            envoy_terminations: Counter::default(),
            scrapes: Counter::default(),
            failed_application_scrapes: Counter::default(),
            failed_envoy_scrapes: Counter::default(),
            dns_requests: Counter::default(),
            dns_upstream_requests: Counter::default(),
            dns_upstream_failures: Counter::default(),
            streams: AtomicU64::default(),
            startup_seconds: OnceLock::default(),
            started: Instant::now(),
        }
    }
}

impl Metrics {
    /// Notes, once, that the proxy is ready.
    pub fn ready(&self) {
        self.startup_seconds.get_or_init(|| self.started.elapsed().as_secs_f64());
    }

    /// In Prometheus' text format.
    pub fn text(&self, store: &SecretStore) -> String {
        let mut out = String::new();
        let mut one = |name: &str, kind: &str, help: &str, label: &str, value: f64| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{label} {value}");
        };
        #[allow(clippy::cast_precision_loss)] // Counters stay far below 2^52.
        let mut counter = |name, help, counter: &Counter| one(name, "counter", help, "", counter.get() as f64);
        counter("istio_agent_num_outgoing_requests", "Requests to the authority.", &self.outgoing_requests);
        counter(
            "istio_agent_num_failed_outgoing_requests",
            "Requests to the authority that failed.",
            &self.failed_outgoing_requests,
        );
        counter(
            "istio_agent_istiod_connection_failures",
            "Connections to the control plane that failed.",
            &self.connection_failures,
        );
        counter(
            "istio_agent_istiod_connection_terminations",
            "Streams that the control plane ended.",
            &self.connection_terminations,
        );
        counter("istio_agent_envoy_connection_terminations", "Streams that Envoy ended.", &self.envoy_terminations);
        for (name, help, count) in [
            ("istio_agent_dns_requests_total", "DNS queries of the application.", &self.dns_requests),
            (
                "istio_agent_dns_upstream_requests_total",
                "DNS queries that went on to the servers.",
                &self.dns_upstream_requests,
            ),
            (
                "istio_agent_dns_upstream_failures_total",
                "DNS queries that no server answered.",
                &self.dns_upstream_failures,
            ),
        ] {
            counter(name, help, count);
        }
        counter("istio_agent_scrapes_total", "Scrapes of the merged metrics.", &self.scrapes);
        self.failed_scrapes(&mut out);
        let mut one = |name: &str, kind: &str, help: &str, label: &str, value: f64| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{label} {value}");
        };
        #[allow(clippy::cast_precision_loss)]
        let streams = self.streams.load(Relaxed) as f64;
        one("tiphys_agent_xds_streams", "gauge", "Streams of configuration that are open.", "", streams);
        if let Some(seconds) = self.startup_seconds.get().copied() {
            let help = "Seconds from the start until the proxy was ready.";
            one("istio_agent_startup_duration_seconds", "gauge", help, "", seconds);
        }
        if let Some(certificate) = store.current() {
            let help = "Seconds until the certificate expires.";
            let left = certificate.left().as_secs_f64();
            one("istio_agent_cert_expiry_seconds", "gauge", help, "{resource_name=\"default\"}", left);
        }
        out
    }

    fn failed_scrapes(&self, out: &mut String) {
        let name = "istio_agent_scrape_failures_total";
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} Scrapes that failed.\n# TYPE {name} counter");
        for (kind, count) in [("application", &self.failed_application_scrapes), ("envoy", &self.failed_envoy_scrapes)]
        {
            let _ = writeln!(out, "{name}{{type=\"{kind}\"}} {}", count.get());
        }
    }
}
