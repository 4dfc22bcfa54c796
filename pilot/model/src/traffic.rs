// SPDX-License-Identifier: Apache-2.0
//! Traffic policies: how clients behave towards a host (DestinationRule, BackendTLSPolicy, XBackendTrafficPolicy).
//!
//! A [`DestinationRule`] holds what was written; `traffic_policy` tells what of it counts for one port and subset.
//! Field meanings: <https://istio.io/latest/docs/reference/config/networking/destination-rule/>.

use crate::{Float, Host, Labels, Str, Visibility};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// One DestinationRule, or several for one host merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct DestinationRule {
    /// Name of the (first) object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// Creation in seconds since 1970.
    pub creation: i64,
    /// Host that it is about, fully qualified, maybe a wildcard.
    pub host: Host,
    /// Who sees it.
    pub export_to: Visibility,
    /// Client workloads to which it is limited; absent = all.
    pub workload_selector: Option<Labels>,
    /// What holds for the whole host.
    pub policy: Option<TrafficPolicy>,
    /// Named parts of the host's endpoints.
    pub subsets: Vec<Subset>,
    /// It was made of a policy of the Gateway API, to which what users wrote as a DestinationRule is preferred.
    pub backend_policy: bool,
}

/// A named part of a host's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Subset {
    /// Name, as routes refer to it.
    pub name: Str,
    /// Labels of its endpoints; empty = all.
    pub labels: Labels,
    /// What differs from the host's policy.
    pub policy: Option<TrafficPolicy>,
}

/// How clients connect, balance and eject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TrafficPolicy {
    /// Choice of an endpoint.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of endpoints that fail.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the endpoints.
    pub tls: Option<ClientTls>,
    /// Version (1 or 2) of the PROXY protocol that is spoken to the endpoints.
    pub proxy_protocol: Option<u8>,
    /// Limit of retries in flight relative to requests.
    pub retry_budget: Option<RetryBudget>,
    /// Policies of single ports, by port number.
    pub ports: BTreeMap<u32, PortPolicy>,
}

/// What holds for one port instead of the policy around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct PortPolicy {
    /// Choice of an endpoint.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of endpoints that fail.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the endpoints.
    pub tls: Option<ClientTls>,
}

/// Choice of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct LoadBalancer {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Sticky choice by a property of the request.
    pub consistent_hash: Option<ConsistentHash>,
    /// Choice by locality.
    pub locality: Option<LocalityBalancing>,
    /// Choice by zone, left to the proxy.
    pub zone_aware: Option<ZoneAware>,
    /// New endpoints get their share of requests gradually.
    pub warmup: Option<Warmup>,
}

/// Simple load balancing algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Algorithm {
    /// Nothing was said: least requests.
    #[default]
    Unspecified,
    /// The less loaded of two random endpoints.
    LeastRequest,
    /// A random endpoint.
    Random,
    /// The address that the client dialled.
    Passthrough,
    /// One after the other.
    RoundRobin,
}

/// Sticky choice of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ConsistentHash {
    /// What is hashed.
    pub key: HashKey,
    /// How hashes are laid on endpoints.
    pub ring: HashRing,
}

/// What is hashed; absent = nothing, which is a random choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum HashKey {
    /// Nothing was said.
    None,
    /// A header's value.
    Header(Str),
    /// A cookie, set when the request has none and `ttl` is given.
    Cookie(Box<HashCookie>),
    /// The client's address.
    SourceIp,
    /// A query parameter's value.
    QueryParameter(Str),
}

/// The cookie that is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct HashCookie {
    /// Name.
    pub name: Str,
    /// Path; may be empty.
    pub path: Str,
    /// Lifetime; zero = that of the session.
    pub ttl: Option<Duration>,
    /// Further attributes, name and value.
    pub attributes: Vec<(Str, Str)>,
}

/// How hashes are laid on endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum HashRing {
    /// Nothing was said: a Ketama ring of at least so many entries; 0 = 1024.
    Unspecified {
        /// Least number of entries.
        minimum_size: u64,
    },
    /// Ketama ring of at least so many entries; 0 = Envoy's default.
    Ring {
        /// Least number of entries.
        minimum_size: u64,
    },
    /// Maglev table of so many entries; 0 = Envoy's default.
    Maglev {
        /// Number of entries, a prime.
        table_size: u64,
    },
}

/// Choice by locality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct LocalityBalancing {
    /// Switched off by name.
    pub disabled: bool,
    /// Weights by the client's locality.
    pub distribute: Vec<Distribute>,
    /// Regions to fail over to: from, to.
    pub failover: Vec<(Str, Str)>,
    /// Labels in which endpoints should equal the client, the most important first; `key=value` asks for that value.
    pub failover_priority: Vec<Str>,
}

/// Weights for the clients of a locality.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Distribute {
    /// Locality of clients, `region/zone/subzone` with `*` at the end.
    pub from: Str,
    /// Percent of the load by locality of endpoints.
    pub to: BTreeMap<Str, u32>,
}

/// Choice by zone, left to the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ZoneAware {
    /// Switched off by name.
    pub disabled: bool,
    /// Regions to fail over to: from, to.
    pub failover: Vec<(Str, Str)>,
    /// As in [`LocalityBalancing`].
    pub failover_priority: Vec<Str>,
    /// Below so many endpoints zones are not minded.
    pub min_cluster_size: Option<u64>,
}

/// Gradual load for new endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Warmup {
    /// How long.
    pub duration: Duration,
    /// Percent of its share that an endpoint gets at first, and the speed of the growth; absent in the older form that has only a duration.
    pub curve: Option<(Float, Float)>,
}

/// Limits of connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: Option<TcpPool>,
    /// Of requests.
    pub http: Option<HttpPool>,
}

/// Limits of connections; zero = none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TcpPool {
    /// Connections to the host.
    pub max_connections: u32,
    /// Time for a connection to come up.
    pub connect_timeout: Option<Duration>,
    /// Keepalive probes.
    pub keepalive: Option<TcpKeepalive>,
    /// Age at which a connection is closed.
    pub max_connection_duration: Option<Duration>,
    /// Time without traffic after which a connection is closed.
    pub idle_timeout: Option<Duration>,
}

/// SO_KEEPALIVE; what is absent is the system's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead; 0 = the system's.
    pub probes: u32,
    /// Idle time before probes.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// Whether HTTP/1.1 is upgraded to HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum H2Upgrade {
    /// As the mesh says.
    #[default]
    Default,
    /// No.
    Never,
    /// Yes.
    Always,
}

/// Limits of requests; zero = none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct HttpPool {
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    /// Requests at a time.
    pub max_requests: u32,
    /// Requests on one connection.
    pub max_requests_per_connection: u32,
    /// Retries at a time.
    pub max_retries: u32,
    /// Time without requests after which a connection is closed.
    pub idle_timeout: Option<Duration>,
    /// Upgrade to HTTP/2.
    pub h2_upgrade: H2Upgrade,
    /// The protocol of the client's request is kept.
    pub use_client_protocol: bool,
    /// Streams at a time on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// HTTP/2 pings: interval and timeout.
    pub http2_keepalive: Option<(Option<Duration>, Option<Duration>)>,
}

/// Ejection of endpoints that fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct OutlierDetection {
    /// 5xx answers in a row; 0 switches it off.
    pub consecutive_5xx: Option<u32>,
    /// 502, 503 and 504 answers in a row; 0 switches it off.
    pub consecutive_gateway: Option<u32>,
    /// Failures before an answer are counted by themselves.
    pub split_local_origin: bool,
    /// Such failures in a row.
    pub consecutive_local_origin: u32,
    /// Time between sweeps.
    pub interval: Option<Duration>,
    /// Least time of an ejection.
    pub base_ejection_time: Option<Duration>,
    /// Percent of endpoints that may be ejected; 0 = Envoy's default.
    pub max_ejection_percent: u32,
    /// Percent of healthy endpoints below which ejection is not minded.
    pub min_health_percent: u32,
    /// Status codes that count as failures instead of 5xx.
    pub error_codes: Vec<u32>,
}

/// TLS mode of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum ClientTlsMode {
    /// Plaintext.
    #[default]
    Disable,
    /// TLS.
    Simple,
    /// TLS with a client certificate.
    Mutual,
    /// TLS with the workload's own identity.
    IstioMutual,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ClientTls {
    /// Mode.
    pub mode: ClientTlsMode,
    /// Path of the client's certificate chain.
    pub client_certificate: Str,
    /// Path of the client's key.
    pub private_key: Str,
    /// Path of the authorities' certificates.
    pub ca_certificates: Str,
    /// Path of a revocation list.
    pub ca_crl: Str,
    /// Secret that holds certificates instead of files.
    pub credential_name: Str,
    /// Names that the server's certificate may have.
    pub subject_alt_names: Vec<Str>,
    /// Name asked for.
    pub sni: Str,
    /// The server's certificate is not verified.
    pub insecure_skip_verify: bool,
}

/// Limit of retries in flight relative to requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct RetryBudget {
    /// Percent of requests; absent = 20.
    pub percent: Option<Float>,
    /// Retries that are always allowed; 0 = 3.
    pub min_concurrency: u32,
    /// Time over which requests are counted.
    pub interval: Option<Duration>,
}

/// Whether endpoints that are not ready are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum ListUnready {
    /// Where proxies are told never to use them (no panic threshold).
    #[default]
    WhereUnused,
    /// Always (PILOT_SEND_UNHEALTHY_ENDPOINTS).
    Always,
    /// Only for services with a traffic distribution, which needs to know them (PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS=false).
    Never,
}

/// What MeshConfig and the control plane's settings say about traffic to every host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TrafficDefaults {
    /// Keepalive probes.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Time between DNS lookups of clusters with names.
    pub dns_refresh_rate: Duration,
    /// Choice by locality.
    pub locality: Option<LocalityBalancing>,
    /// Choice by zone.
    pub zone_aware: Option<ZoneAware>,
    /// Pattern of statistics names of inbound clusters; empty = the cluster's name.
    pub inbound_stat_name: Str,
    /// Pattern of statistics names of outbound clusters; empty = the cluster's name.
    pub outbound_stat_name: Str,
    /// Connection pool where no rule has one.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection where no rule has one.
    pub outlier_detection: Option<OutlierDetection>,
    /// Curves of TLS outside of mutual TLS of the mesh.
    pub tls_curves: Vec<Str>,
    /// Ciphers of TLS outside of mutual TLS of the mesh.
    pub tls_ciphers: Vec<Str>,
    /// Applications are dialled at the loopback address instead of the address that the client dialled (inboundTrafficPolicy).
    pub inbound_loopback: bool,
    /// Listing of endpoints that are not ready.
    pub list_unready: ListUnready,
    /// Greatest addition to the time between DNS lookups (PILOT_DNS_JITTER_DURATION).
    pub dns_jitter: Duration,
    /// Queries on one UDP socket of the DNS resolver (PILOT_DNS_CARES_UDP_MAX_QUERIES).
    pub dns_max_queries: u32,
    /// Endpoints and proxies are taken to have addresses of both families (ISTIO_DUAL_STACK).
    pub dual_stack: bool,
    /// Headless services get endpoints from the control plane (PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES).
    pub headless_endpoints: bool,
    /// Clusters always weigh localities (ENABLE_LOCALITY_WEIGHTED_LB_CONFIG).
    pub always_weigh_localities: bool,
}

impl Default for TrafficDefaults {
    fn default() -> Self {
        Self {
            tcp_keepalive: None,
            dns_refresh_rate: Duration::from_mins(1),
            locality: Some(LocalityBalancing::default()),
            zone_aware: None,
            inbound_stat_name: Str::default(),
            outbound_stat_name: Str::default(),
            connection_pool: None,
            outlier_detection: None,
            tls_curves: Vec::new(),
            tls_ciphers: Vec::new(),
            inbound_loopback: false,
            list_unready: ListUnready::default(),
            dns_jitter: Duration::from_millis(100),
            dns_max_queries: 100,
            dual_stack: false,
            headless_endpoints: false,
            always_weigh_localities: false,
        }
    }
}
