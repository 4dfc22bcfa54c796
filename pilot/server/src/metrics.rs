// SPDX-License-Identifier: Apache-2.0
//! Metrics, with istiod's names and labels where they mean the same, so that dashboards and alerts go on working; new ones start with `tiphys_`.
//!
//! Counters are raised where things happen. What can be read off the running state (clients, objects) is read when Prometheus asks: a
//! [`Collected`] function sets the gauges just before they are encoded, so that they cannot drift.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use tiphys_api::Kind;
use tiphys_ca::Sample;

use crate::push_status::{self, PushStatus};
use crate::version;

/// Something that sets gauges before they are read.
pub type Collected = Box<dyn Fn(&Metrics) + Send + Sync>;
/// A part of the server that counts for itself.
pub type Sampled = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;

const SECONDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];
/// 4 MB is the default limit of gRPC; beyond 10 MB systems strain.
const BYTES: &[f64] = &[1.0, 1e4, 1e6, 4e6, 1e7, 4e7];

/// What tells calls apart.
const CALL: &[&str] = &["grpc_method", "grpc_service", "grpc_type"];

/// Calls by method, service and kind of call.
pub struct Calls {
    /// Calls that began.
    pub started: IntCounterVec,
    /// Calls that ended; their code comes first.
    pub handled: IntCounterVec,
    /// Messages that came in.
    pub received: IntCounterVec,
    /// Messages that went out.
    pub sent: IntCounterVec,
    /// How long calls took.
    pub handling: HistogramVec,
}

impl Calls {
    fn new(m: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            started: m.counters("grpc_server_started_total", "Total number of RPCs started on the server.", CALL)?,
            handled: m.counters(
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
                &["grpc_code", CALL[0], CALL[1], CALL[2]],
            )?,
            received: m.counters(
                "grpc_server_msg_received_total",
                "Total number of RPC stream messages received on the server.",
                CALL,
            )?,
            sent: m.counters(
                "grpc_server_msg_sent_total",
                "Total number of gRPC stream messages sent by the server.",
                CALL,
            )?,
            handling: m.histograms(
                "grpc_server_handling_seconds",
                "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
                CALL,
            )?,
        })
    }
}

/// All metrics of this server.
pub struct Metrics {
    registry: Registry,
    started: Instant,
    collected: Mutex<Vec<Collected>>,
    sampled: Mutex<Vec<Sampled>>,
    uptime: Gauge,
    /// `pilot_xds{version}`: connected clients by version of their agent.
    pub xds_clients: IntGaugeVec,
    /// `pilot_xds_pushes{type}`: responses sent.
    pub pushes: IntCounterVec,
    /// `pilot_xds_expired_nonce{type}`.
    pub expired_nonce: IntCounterVec,
    /// `pilot_total_xds_rejects{type}`: responses that clients refused.
    pub rejects: IntCounterVec,
    /// `pilot_xds_config_size_bytes{type}`.
    pub config_size: HistogramVec,
    /// `pilot_proxy_convergence_time`: from the first change of a push until a client took all of it.
    pub convergence: Histogram,
    /// `pilot_debounce_time`: from the first change of a push until the push.
    pub debounce: Histogram,
    /// `pilot_pushcontext_init_seconds`: time to make the picture of the mesh.
    pub snapshot: Histogram,
    /// `pilot_push_triggers{type}`.
    pub push_triggers: IntCounterVec,
    /// `pilot_inbound_updates{type}`: changes that came in.
    inbound: IntCounterVec,
    /// `pilot_k8s_cfg_events{type,event}`: changes of objects by kind.
    config_events: IntCounterVec,
    /// `pilot_k8s_reg_events{type,event}`: changes of services, endpoints and what they run on.
    registry_events: IntCounterVec,
    /// `pilot_xds_send_time`: until the transport took a response.
    pub send_time: Histogram,
    /// `pilot_xds_push_time{type}`: to make the resources of a type for a class of proxies.
    pub push_time: HistogramVec,
    /// `pilot_proxy_queue_time`: from a push until a proxy's stream turned to it.
    pub queue_time: Histogram,
    /// `pilot_sds_certificate_errors_total`: secrets that were asked for and are not there.
    pub missing_secrets: IntCounter,
    recv_max: IntGauge,
    /// `grpc_server_*`: calls of the gRPC ports.
    pub calls: Calls,
    /// What cannot be served, by [`push_status::NAMES`].
    left_out: BTreeMap<&'static str, IntGauge>,
    /// `pilot_services`.
    pub services: IntGauge,
    /// `pilot_virt_services`.
    pub virtual_services: IntGauge,
    /// `tiphys_objects{kind}`: objects in force.
    pub objects: IntGaugeVec,
    /// `tiphys_rejected_objects`: objects and files that are not in force because of an error.
    pub rejected: IntGauge,
}

struct Maker {
    registry: Registry,
}

impl Maker {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> prometheus::Result<C> {
        let collector = made?;
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help))
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.add(Gauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
    }

    fn histogram(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())))
    }
}

impl Metrics {
    /// Makes all metrics.
    ///
    /// # Errors
    /// When two have one name, which a test rules out.
    pub fn new() -> prometheus::Result<Arc<Self>> {
        let m = Maker { registry: Registry::new() };
        m.registry.register(Box::new(ProcessCollector::for_self()))?;
        tell_build(&m)?;
        let config_size = HistogramVec::new(
            HistogramOpts::new("pilot_xds_config_size_bytes", "Distribution of configuration sizes pushed to clients")
                .buckets(BYTES.to_vec()),
            &["type"],
        );
        let metrics = Self {
            uptime: m.seconds("istiod_uptime_seconds", "Current istiod server uptime in seconds")?,
            xds_clients: m.gauges("pilot_xds", "Number of endpoints connected to this pilot using XDS.", "version")?,
            pushes: m.counters("pilot_xds_pushes", "Responses sent, by type of resource.", &["type"])?,
            expired_nonce: m.counters(
                "pilot_xds_expired_nonce",
                "Total number of XDS requests with an expired nonce.",
                &["type"],
            )?,
            rejects: m.counters(
                "pilot_total_xds_rejects",
                "Total number of XDS responses from pilot rejected by proxy.",
                &["type"],
            )?,
            config_size: m.add(config_size)?,
            convergence: m.histogram(
                "pilot_proxy_convergence_time",
                "Delay in seconds between config change and a proxy receiving all required configuration.",
            )?,
            debounce: m.histogram(
                "pilot_debounce_time",
                "Delay in seconds between the first config change and the push that has it.",
            )?,
            snapshot: m.histogram(
                "pilot_pushcontext_init_seconds",
                "Total time in seconds Pilot takes to init pushContext.",
            )?,
            push_triggers: m.counters(
                "pilot_push_triggers",
                "Total number of times a push was triggered, labeled by reason for the push.",
                &["type"],
            )?,
            inbound: m.counters("pilot_inbound_updates", "Total number of updates received by pilot.", &["type"])?,
            config_events: m.counters("pilot_k8s_cfg_events", "Events from k8s config.", &["type", "event"])?,
            registry_events: m.counters("pilot_k8s_reg_events", "Events from k8s registry.", &["type", "event"])?,
            send_time: m.histogram(
                "pilot_xds_send_time",
                "Total time in seconds Pilot takes to send generated configuration.",
            )?,
            push_time: m.histograms(
                "pilot_xds_push_time",
                "Total time in seconds Pilot takes to push lds, rds, cds and eds.",
                &["type"],
            )?,
            queue_time: m.histogram(
                "pilot_proxy_queue_time",
                "Time in seconds, a proxy is in the push queue before being dequeued.",
            )?,
            missing_secrets: m.add(IntCounter::new(
                "pilot_sds_certificate_errors_total",
                "Total number of failures to fetch SDS key and certificate.",
            ))?,
            recv_max: m.gauge("pilot_xds_recv_max", "The maximum size request we have received so far.")?,
            calls: Calls::new(&m)?,
            left_out: left_out(&m)?,
            services: m.gauge("pilot_services", "Total services known to pilot.")?,
            virtual_services: m.gauge("pilot_virt_services", "Total virtual services known to pilot.")?,
            objects: m.gauges("tiphys_objects", "Objects in force, by kind.", "kind")?,
            rejected: m
                .gauge("tiphys_rejected_objects", "Objects and files that are not in force because of an error.")?,
            registry: m.registry,
            started: Instant::now(),
            collected: Mutex::default(),
            sampled: Mutex::default(),
        };
        // Alerts compare with zero, which is there before the first refusal.
        for ty in ["cds", "eds", "lds", "rds"] {
            metrics.expired_nonce.with_label_values(&[ty]);
            metrics.rejects.with_label_values(&[ty]);
        }
        Ok(Arc::new(metrics))
    }

    /// Sets how many objects of each kind there are.
    pub fn count_objects(&self, counts: impl Iterator<Item = (Kind, usize)>) {
        // Two groups have a kind Gateway.
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        counts.for_each(|(kind, count)| *by_name.entry(kind.name()).or_default() += count);
        for (name, count) in by_name {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.objects.with_label_values(&[name]).set(count);
            if name == Kind::VirtualService.name() {
                self.virtual_services.set(count);
            }
        }
    }

    /// Sets how many things cannot be served as they were declared.
    pub fn count_left_out(&self, status: &PushStatus) {
        for (name, gauge) in &self.left_out {
            gauge.set(status.get(name).map_or(0, |events| i64::try_from(events.len()).unwrap_or(i64::MAX)));
        }
    }

    /// Takes note of the size of a request.
    pub fn received(&self, bytes: i64) {
        // Two at once may pass each other: the smaller one is put right by the next larger request.
        if bytes > self.recv_max.get() {
            self.recv_max.set(bytes);
        }
    }

    /// Counts a change of an object, by istiod's name of its kind.
    pub fn count_event(&self, kind: Kind, event: &str) {
        let registry = match kind {
            Kind::Service => Some("Services"),
            Kind::Endpoints | Kind::EndpointSlice => Some("EndpointSlice"),
            Kind::Pod => Some("Pods"),
            Kind::Node => Some("Nodes"),
            Kind::Namespace => Some("Namespaces"),
            _ => None,
        };
        match registry {
            Some(name) => self.registry_events.with_label_values(&[name, event]).inc(),
            None => self.config_events.with_label_values(&[kind.name(), event]).inc(),
        }
        let update = match (kind, event) {
            (Kind::Service, "delete") => "svcdelete",
            (Kind::Service, _) => "svc",
            (Kind::Endpoints | Kind::EndpointSlice | Kind::Pod, _) => "eds",
            _ => "config",
        };
        self.inbound.with_label_values(&[update]).inc();
    }

    /// Has a function set gauges whenever metrics are read.
    pub fn collect(&self, set: Collected) {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner).push(set);
    }

    /// Enters the metrics of another part.
    ///
    /// # Errors
    /// When there is one of the same name.
    pub fn register<T>(&self, enter: impl FnOnce(&Registry) -> prometheus::Result<T>) -> prometheus::Result<T> {
        enter(&self.registry)
    }

    /// Has the counts of another part written beside these.
    pub fn sample(&self, samples: Sampled) {
        self.sampled.lock().unwrap_or_else(PoisonError::into_inner).push(samples);
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> prometheus::Result<Vec<u8>> {
        self.uptime.set(self.started.elapsed().as_secs_f64());
        for set in self.collected.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            set(self);
        }
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        for samples in self.sampled.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            write_samples(&samples(), &mut out);
        }
        Ok(out)
    }
}

/// What this server is.
fn tell_build(m: &Maker) -> prometheus::Result<()> {
    let build =
        m.add(IntGaugeVec::new(Opts::new("istio_build", "Istio component build info"), &["component", "tag"]))?;
    build.with_label_values(&["pilot", version::VERSION]).set(1);
    let info = m.gauges("pilot_info", "Pilot version and build information.", "version")?;
    info.with_label_values(&[&version::build()]).set(1);
    let clusters = m.gauges("istiod_managed_clusters", "Number of clusters managed by istiod", "cluster_type")?;
    clusters.with_label_values(&["local"]).set(1);
    Ok(())
}

fn left_out(m: &Maker) -> prometheus::Result<BTreeMap<&'static str, IntGauge>> {
    push_status::NAMES.iter().map(|(name, help)| Ok((*name, m.gauge(name, help)?))).collect()
}

/// Samples of one name stand together.
fn write_samples(samples: &[Sample], out: &mut Vec<u8>) {
    let mut last = "";
    for sample in samples {
        let (name, kind) = (sample.name, if sample.counter { "counter" } else { "gauge" });
        let mut text = String::new();
        if name != last {
            let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n", sample.help);
        }
        let _ = match sample.label {
            Some((label, value)) => writeln!(text, "{name}{{{label}=\"{value}\"}} {}", sample.value),
            None => writeln!(text, "{name} {}", sample.value),
        };
        out.extend_from_slice(text.as_bytes());
        last = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_istiods() {
        let metrics = Metrics::new().unwrap();
        metrics.pushes.with_label_values(&["cds"]).inc();
        metrics.collect(Box::new(|m| m.xds_clients.with_label_values(&["1.30.0"]).set(7)));
        metrics.convergence.observe(0.02);
        metrics.sample(Box::new(|| {
            let sample = |name, label, value| Sample { name, help: "Help.", counter: true, label, value };
            vec![
                sample("citadel_server_csr_count", None, 3.0),
                sample("citadel_server_csr_sign_err_count", Some(("error", "TTL_ERROR")), 1.0),
            ]
        }));
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            "pilot_xds_pushes{type=\"cds\"} 1",
            "pilot_xds{version=\"1.30.0\"} 7",
            "pilot_proxy_convergence_time_bucket{le=\"0.1\"} 1",
            "citadel_server_csr_count 3",
            "citadel_server_csr_sign_err_count{error=\"TTL_ERROR\"} 1",
            "istiod_managed_clusters{cluster_type=\"local\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes") && text.contains("process_cpu_seconds_total"));
    }
}
