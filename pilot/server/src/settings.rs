// SPDX-License-Identifier: Apache-2.0
//! Settings by environment variable, with istiod's names: the one place that reads them.
//!
//! Variables that are the default of a flag (CLUSTER_ID, POD_NAMESPACE, ROOT_CA_DIR, GRPC_KEEPALIVE_INTERVAL, GRPC_KEEPALIVE_TIMEOUT) are read
//! with the flags. What istiod has and this server has not, and unknown names that start with `PILOT_`, are named in warnings.

mod identity;

use std::collections::BTreeSet;
use std::time::Duration;

pub use identity::{CertProvider, IDENTITY_TABLE, IdentitySettings};

use tiphys_webhook::admission::NativeSidecars;

use crate::rollout::Patience;
use crate::webhooks;

/// A setting that is obeyed: a row of docs/settings.md.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name of the environment variable.
    pub name: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// Every setting of the server that is obeyed.
pub const TABLE: &[Setting] = &[
    Setting {
        name: "PILOT_DEBOUNCE_AFTER",
        default: "10ms",
        meaning: "Quiet time before a change of configuration is pushed",
    },
    Setting {
        name: "PILOT_DEBOUNCE_MAX",
        default: "100ms",
        meaning: "Longest time that changes of configuration gather",
    },
    Setting {
        name: "PILOT_ENABLE_EDS_DEBOUNCE",
        default: "false",
        meaning: "Whether changes of endpoints alone wait as well",
    },
    Setting { name: "XDS_AUTH", default: "true", meaning: "Whether streams on the TLS port need a credential" },
    Setting {
        name: "PILOT_ENABLE_XDS_IDENTITY_CHECK",
        default: "true",
        meaning: "Whether a proxy may only be what its credential says",
    },
    Setting { name: "ENABLE_CA_SERVER", default: "true", meaning: "Whether certificates are issued" },
    Setting { name: "ENABLE_DEBUG_ON_HTTP", default: "true", meaning: "Whether /debug is served at all" },
    Setting {
        name: "ENABLE_DEBUG_ENDPOINT_AUTH",
        default: "true",
        meaning: "Whether a token from outside the system namespace sees its own namespace only",
    },
    Setting {
        name: "DEBUG_ENDPOINT_AUTH_ALLOWED_NAMESPACES",
        default: "",
        meaning: "Namespaces whose tokens see all of /debug, with commas between",
    },
    Setting {
        name: "UNSAFE_ENABLE_ADMIN_ENDPOINTS",
        default: "false",
        meaning: "Whether /debug/force_disconnect is served",
    },
    Setting { name: "ISTIO_GPRC_MAXSTREAMS", default: "100000", meaning: "Most streams on one connection" },
    Setting {
        name: "DEFAULT_WORKLOAD_CERT_TTL",
        default: "24h",
        meaning: "Life of a certificate for which none was asked",
    },
    Setting { name: "MAX_WORKLOAD_CERT_TTL", default: "2160h", meaning: "Longest life of a certificate" },
    Setting { name: "POD_NAME", default: "tiphys", meaning: "Name of this instance, in what it tells proxies" },
    Setting { name: "REVISION", default: "default", meaning: "Revision of this control plane" },
    Setting {
        name: "ENABLE_NATIVE_SIDECARS",
        default: "auto",
        meaning: "Whether sidecars are init containers that go on running: true, false, or auto, where the nodes have them",
    },
    Setting {
        name: "COMPLIANCE_POLICY",
        default: "",
        meaning: "What injected proxies are told to comply with, such as fips-140-3",
    },
    Setting {
        name: "PLATFORM",
        default: "",
        meaning: "With openshift, proxies get users from the ranges of their namespace",
    },
    Setting {
        name: "PILOT_ENABLE_GATEWAY_API_STATUS",
        default: "true",
        meaning: "Whether statuses of the Gateway API's objects are written",
    },
    Setting {
        name: "TIPHYS_MTLS_ROLLOUT_TIMEOUT",
        default: "10s",
        meaning: "How long a change of mutual TLS modes waits for proxies that do not take one of its steps; 0 makes changes at once",
    },
    Setting {
        name: "TIPHYS_MTLS_ROLLOUT_SETTLE",
        default: "1s",
        meaning: "Time between two steps of a change of mutual TLS modes, in which proxies put in force what they acknowledged",
    },
    Setting {
        name: "SHARED_MESH_CONFIG",
        default: "",
        meaning: "ConfigMap whose MeshConfig lies beneath that of the mounted file",
    },
];

/// Settings that decide what proxies are given: [`tiphys_compile::Settings`] takes them by name.
pub const MESH_TABLE: &[Setting] = &[
    Setting {
        name: "PILOT_SEND_UNHEALTHY_ENDPOINTS",
        default: "false",
        meaning: "Whether endpoints that are not ready are sent, marked so",
    },
    Setting {
        name: "PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS",
        default: "true",
        meaning: "Whether that is done for services whose DestinationRule detects outliers",
    },
    Setting {
        name: "PILOT_ENABLE_PERSISTENT_SESSION_FILTER",
        default: "false",
        meaning: "Whether services may have sessions that stay with an endpoint",
    },
    Setting {
        name: "ENABLE_TLS_ON_SIDECAR_INGRESS",
        default: "false",
        meaning: "Whether ingress listeners of a Sidecar may have TLS",
    },
    Setting {
        name: "PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE",
        default: "false",
        meaning: "Whether ports of services are served beside the ingress listeners of a Sidecar",
    },
    Setting { name: "ISTIO_DUAL_STACK", default: "false", meaning: "Whether services have addresses of both families" },
    Setting {
        name: "ENABLE_LOCALITY_WEIGHTED_LB_CONFIG",
        default: "false",
        meaning: "Whether localities are weighted although nothing asks for it",
    },
    Setting { name: "PILOT_HTTP10", default: "false", meaning: "Whether HTTP/1.0 is taken" },
    Setting {
        name: "PILOT_DNS_CARES_UDP_MAX_QUERIES",
        default: "100",
        meaning: "Queries before a proxy changes its UDP socket",
    },
    Setting {
        name: "PILOT_DNS_JITTER_DURATION",
        default: "100ms",
        meaning: "Spread of the times at which proxies ask the DNS",
    },
    Setting {
        name: "MAX_CONNECTIONS_PER_SOCKET_EVENT_LOOP",
        default: "1",
        meaning: "Connections that a proxy accepts at once",
    },
    Setting {
        name: "PILOT_GATEWAY_TRANSPORT_SOCKET_CONNECT_TIMEOUT",
        default: "15s",
        meaning: "Time a client of a gateway has for its handshake",
    },
    Setting {
        name: "PILOT_SKIP_VALIDATE_TRUST_DOMAIN",
        default: "false",
        meaning: "Whether peers of other trust domains are accepted",
    },
    Setting { name: "PILOT_TRACE_SAMPLING", default: "1.0", meaning: "Percent of requests that are traced" },
    Setting {
        name: "PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS",
        default: "false",
        meaning: "Whether policies with the action CUSTOM of more than one provider may hold for one workload; otherwise all of them deny",
    },
    Setting { name: "PILOT_ENABLE_MYSQL_FILTER", default: "false", meaning: "Whether MySQL is looked into" },
    Setting { name: "PILOT_ENABLE_REDIS_FILTER", default: "false", meaning: "Whether Redis is looked into" },
    Setting { name: "PILOT_ENABLE_MONGO_FILTER", default: "true", meaning: "Whether MongoDB is looked into" },
    Setting {
        name: "PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES",
        default: "false",
        meaning: "Whether headless services are balanced over their endpoints",
    },
];

/// Settings of istiod that have no effect here.
#[rustfmt::skip]
pub const WITHOUT_EFFECT: &[&str] = &[
    "AMBIENT_SCOPED_ADDRESS_PUSHES", "AUDIENCE", "BLOCKED_CIDRS_IN_JWKS_URIS", "BLOCKED_CIDRS_IN_WASM_FETCH",

    "DISABLE_SHADOW_HOST_SUFFIX", "DISABLE_TRACK_REMAINING_CB_METRICS", "ENABLE_100_CONTINUE_HEADERS", "ENABLE_CLUSTER_TRUST_BUNDLE_API",
    "ENABLE_ENHANCED_DESTINATIONRULE_MERGE", "ENABLE_GATEWAY_API_INFERENCE_EXTENSION", "ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT",
    "ENABLE_HCM_INTERNAL_NETWORKS", "ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES", "ENABLE_LAZY_SIDECAR_EVALUATION",
    "ENABLE_MCS_AUTO_EXPORT", "ENABLE_MCS_CLUSTER_LOCAL", "ENABLE_MCS_HOST", "ENABLE_MCS_SERVICE_DISCOVERY",
    "ENABLE_MULTICLUSTER_HEADLESS", "ENABLE_PROXY_FIND_POD_BY_IP", "ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY",
    "ENABLE_VTPROTOBUF", "ENABLE_WILDCARD_HOST_SERVICE_ENTRIES_FOR_TLS", "ENABLE_XDS_API_GENERATOR_AUTH",
    "ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL", "EXTERNAL_ISTIOD", "INJECTION_WEBHOOK_CONFIG_NAME", "INJECT_ENABLED",
    "ISTIO_AGENT_ENABLE_WASM_REMOTE_LOAD_CONVERSION", "ISTIO_DELTA_XDS",     "ISTIO_ENABLE_CONTROLLER_QUEUE_METRICS", "ISTIO_ENABLE_IPV4_OUTBOUND_LISTENER_FOR_IPV6_CLUSTERS", "ISTIO_GPRC_MAXRECVMSGSIZE",
    "ISTIO_KUBE_CLIENT_CONTENT_TYPE", "ISTIO_MULTIROOT_MESH", "ISTIO_WASM_MAX_BINARY_SIZE_BYTES", "ISTIO_WATCH_NAMESPACE",
    "ISTIO_WORKLOAD_ENTRY_VALIDATE_IDENTITY", "JWKS_RESOLVER_INSECURE_SKIP_VERIFY", "JWT_RULE",
    "LABEL_CANONICAL_SERVICES_FOR_MESH_EXTERNAL_SERVICE_ENTRIES", "LOCAL_CLUSTER_SECRET_WATCHER",     "MCS_API_GROUP", "MCS_API_VERSION", "MUTEX_PROFILE_FRACTION", "PILOT_AGENT_MERGE_ENVOY_STATS",
    "PILOT_ALLOW_ANY_DYNAMIC_DNS_MAX_HOSTS", "PILOT_ANALYSIS_INTERVAL",
    "PILOT_CONVERT_SIDECAR_SCOPE_CONCURRENCY",
    "PILOT_CRL_CONFIGMAP", "PILOT_DISABLE_MX_ALPN", "PILOT_DRAINING_LABEL",
    "PILOT_ENABLE_AGENTGATEWAY", "PILOT_ENABLE_ALPN_FILTER", "PILOT_ENABLE_AMBIENT", "PILOT_ENABLE_ANALYSIS", "PILOT_ENABLE_CA_CRL",
    "PILOT_ENABLE_CDS_CACHE", "PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY", "PILOT_ENABLE_GATEWAY_API",
    "PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS", "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER",
    "PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER", "PILOT_ENABLE_HEADLESS_FILTER_CHAIN_LISTENER",
    "PILOT_ENABLE_IP_AUTOALLOCATE", "PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES", "PILOT_ENABLE_METADATA_EXCHANGE",  "PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS",
    "PILOT_ENABLE_QUIC_LISTENERS", "PILOT_ENABLE_RDS_CACHE",     "PILOT_ENABLE_REMOTE_CREDENTIALS_CONTROLLER", "PILOT_ENABLE_ROUTE_COLLAPSE_OPTIMIZATION", "PILOT_ENABLE_SERVICEENTRY_SELECT_PODS",
    "PILOT_ENABLE_STRICT_GATEWAY_MERGING", "PILOT_ENABLE_TELEMETRY_LABEL", "PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION",
    "PILOT_ENABLE_WORKLOAD_ENTRY_HEALTHCHECKS", "PILOT_ENABLE_XDS_CACHE", "PILOT_ENDPOINT_TELEMETRY_LABEL", "PILOT_ENVOY_FILTER_STATS",
    "PILOT_FILTER_GATEWAY_CLUSTER_CONFIG", "PILOT_GATEWAY_API_CONTROLLER_NAME", "PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME",
    "PILOT_IGNORE_RESOURCES", "PILOT_INCLUDE_RESOURCES",
    "PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS", "PILOT_IP_AUTOALLOCATE_IPV4_PREFIX", "PILOT_IP_AUTOALLOCATE_IPV6_PREFIX",
    "PILOT_JWT_ENABLE_REMOTE_JWKS", "PILOT_JWT_PUB_KEY_REFRESH_INTERVAL", "PILOT_MULTICLUSTER_KUBECONFIG_PATH",
    "PILOT_MULTI_NETWORK_DISCOVER_GATEWAY_API", "PILOT_MX_ADDITIONAL_LABELS", "PILOT_NODE_UNTAINT_CONTROLLERS_TAINT_NAME",
    "PILOT_PERSISTENT_SESSION_HEADER_LABEL", "PILOT_PERSISTENT_SESSION_LABEL", "PILOT_PUSH_THROTTLE", "PILOT_REMOTE_CLUSTER_TIMEOUT",
    "PILOT_SCOPE_GATEWAY_TO_NAMESPACE", "PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE",
    "PILOT_SIDECAR_USE_REMOTE_ADDRESS", "PILOT_STATUS_MAX_WORKERS",     "PILOT_UNIFIED_SIDECAR_SCOPE", "PILOT_WORKLOAD_ENTRY_GRACE_PERIOD", "PILOT_XDS_CACHE_INDEX_CLEAR_INTERVAL", "PILOT_XDS_CACHE_SIZE",
    "PILOT_XDS_CACHE_STATS", "PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES", "RESOLVE_HOSTNAME_GATEWAYS", "TOKEN_ISSUER", "TRUSTED_GATEWAY_CIDR", "UNSAFE_PILOT_ENABLE_RUNTIME_ASSERTIONS", "USE_REMOTE_CERTS",
    "VALIDATION_WEBHOOK_CONFIG_NAME",
];

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Quiet time before a change of configuration is pushed.
    pub debounce_after: Duration,
    /// Longest time that changes of configuration gather.
    pub debounce_max: Duration,
    /// Whether changes of endpoints alone wait as well.
    pub debounce_endpoints: bool,
    /// Whether streams on the TLS port need a credential.
    pub xds_auth: bool,
    /// Whether a proxy may only be what its credential says.
    pub xds_identity_check: bool,
    /// Whether certificates are issued.
    pub ca_server: bool,
    /// Whether /debug is served at all.
    pub debug_on_http: bool,
    /// Whether a token from outside the system namespace sees its own namespace only.
    pub debug_auth: bool,
    /// Namespaces whose tokens see all of /debug.
    pub debug_namespaces: BTreeSet<String>,
    /// Whether /debug/force_disconnect is served.
    pub unsafe_admin: bool,
    /// Most streams on one connection.
    pub max_streams: u32,
    /// Life of a certificate for which none was asked.
    pub certificate_ttl: Duration,
    /// Longest life of a certificate.
    pub max_certificate_ttl: Duration,
    /// Name of this instance.
    pub instance: String,
    /// Revision of this control plane.
    pub revision: String,
    /// Whether sidecars are native.
    pub native_sidecars: NativeSidecars,
    /// What injected proxies are told to comply with.
    pub compliance_policy: String,
    /// Whether proxies get users from the ranges of their namespace.
    pub openshift: bool,
    /// Whether statuses of the Gateway API's objects are written.
    pub gateway_statuses: bool,
    /// ConfigMap whose MeshConfig lies beneath that of the mounted file; empty for none.
    pub shared_mesh_config: String,
    /// How changes of mutual TLS modes are made.
    pub mtls_rollout: Patience,
    /// The authority, who accepts credentials, who writes.
    pub identity: IdentitySettings,
}

/// A value that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("environment variable {name}: '{value}' is no {wanted}")]
pub struct SettingError {
    name: &'static str,
    value: String,
    wanted: &'static str,
}

impl Settings {
    /// Reads the settings by a function from a name to its value.
    ///
    /// # Errors
    /// When a value cannot be read: guessing what an operator meant is worse than not starting.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let read = Reader { lookup };
        Ok(Self {
            debounce_after: read.duration("PILOT_DEBOUNCE_AFTER")?,
            debounce_max: read.duration("PILOT_DEBOUNCE_MAX")?,
            debounce_endpoints: read.bool("PILOT_ENABLE_EDS_DEBOUNCE")?,
            xds_auth: read.bool("XDS_AUTH")?,
            xds_identity_check: read.bool("PILOT_ENABLE_XDS_IDENTITY_CHECK")?,
            ca_server: read.bool("ENABLE_CA_SERVER")?,
            debug_on_http: read.bool("ENABLE_DEBUG_ON_HTTP")?,
            debug_auth: read.bool("ENABLE_DEBUG_ENDPOINT_AUTH")?,
            debug_namespaces: read.list("DEBUG_ENDPOINT_AUTH_ALLOWED_NAMESPACES"),
            unsafe_admin: read.bool("UNSAFE_ENABLE_ADMIN_ENDPOINTS")?,
            max_streams: read.number("ISTIO_GPRC_MAXSTREAMS")?,
            certificate_ttl: read.duration("DEFAULT_WORKLOAD_CERT_TTL")?,
            max_certificate_ttl: read.duration("MAX_WORKLOAD_CERT_TTL")?,
            instance: read.text("POD_NAME"),
            revision: read.text("REVISION"),
            native_sidecars: read.parse("ENABLE_NATIVE_SIDECARS", "true, false or auto", webhooks::parse_native)?,
            compliance_policy: read.text("COMPLIANCE_POLICY"),
            openshift: read.text("PLATFORM") == "openshift",
            identity: IdentitySettings::read(&read)?,
            gateway_statuses: read.bool("PILOT_ENABLE_GATEWAY_API_STATUS")?,
            shared_mesh_config: read.text("SHARED_MESH_CONFIG"),
            mtls_rollout: Patience {
                timeout: read.duration("TIPHYS_MTLS_ROLLOUT_TIMEOUT")?,
                settle: read.duration("TIPHYS_MTLS_ROLLOUT_SETTLE")?,
            },
        })
    }

    /// Reads the settings of this process.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn from_env() -> Result<Self, SettingError> {
        Self::read(|name| std::env::var(name).ok())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            debounce_after: Duration::from_millis(10),
            debounce_max: Duration::from_millis(100),
            debounce_endpoints: false,
            xds_auth: true,
            xds_identity_check: true,
            ca_server: true,
            debug_on_http: true,
            debug_auth: true,
            debug_namespaces: BTreeSet::new(),
            unsafe_admin: false,
            max_streams: 100_000,
            certificate_ttl: Duration::from_secs(24 * 3_600),
            max_certificate_ttl: Duration::from_secs(90 * 24 * 3_600),
            instance: "tiphys".to_owned(),
            revision: "default".to_owned(),
            native_sidecars: NativeSidecars::Auto,
            compliance_policy: String::new(),
            openshift: false,
            identity: IdentitySettings::default(),
            gateway_statuses: true,
            shared_mesh_config: String::new(),
            mtls_rollout: Patience { timeout: Duration::from_secs(10), settle: Duration::from_secs(1) },
        }
    }
}

/// Of these variable names, those that a user of istiod may expect something of and that do nothing here.
pub fn without_effect(names: impl Iterator<Item = String>) -> Vec<String> {
    let obeyed = |name: &str| TABLE.iter().chain(MESH_TABLE).chain(IDENTITY_TABLE).any(|s| s.name == name);
    let mut found: Vec<String> = names
        .filter(|name| (name.starts_with("PILOT_") && !obeyed(name)) || WITHOUT_EFFECT.contains(&name.as_str()))
        .collect();
    found.sort();
    found
}

struct Reader<F> {
    lookup: F,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn text(&self, name: &'static str) -> String {
        let set = (self.lookup)(name).filter(|v| !v.is_empty());
        set.unwrap_or_else(|| {
            TABLE.iter().chain(IDENTITY_TABLE).find(|s| s.name == name).map_or("", |s| s.default).to_owned()
        })
    }

    fn parse<T>(
        &self,
        name: &'static str,
        wanted: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingError> {
        let value = self.text(name);
        parse(&value).ok_or(SettingError { name, value, wanted })
    }

    fn duration(&self, name: &'static str) -> Result<Duration, SettingError> {
        self.parse(name, "duration such as 100ms", |v| parse_duration(v).ok())
    }

    fn bool(&self, name: &'static str) -> Result<bool, SettingError> {
        self.parse(name, "boolean", |v| match v {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        })
    }

    fn number(&self, name: &'static str) -> Result<u32, SettingError> {
        self.parse(name, "number", |v| v.parse().ok())
    }

    fn list(&self, name: &'static str) -> BTreeSet<String> {
        self.text(name).split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect()
    }
}

/// Text that is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is no duration: write for example 100ms, 30s or 1h30m")]
pub struct DurationError(String);

/// Reads a duration as Go writes it: `100ms`, `1.5s`, `1h30m`.
///
/// # Errors
/// When the text is no such duration.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    const UNITS: &[(&str, f64)] =
        &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
    let error = || DurationError(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..number_end].parse().map_err(|_| error())?;
        rest = &rest[number_end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = UNITS.iter().find(|(unit, _)| *unit == &rest[..unit_end]).ok_or_else(error)?.1;
        rest = &rest[unit_end..];
        seconds += number * factor;
    }
    if text.is_empty() { Err(error()) } else { Duration::try_from_secs_f64(seconds).map_err(|_| error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_the_defaults() {
        assert_eq!(Settings::read(|_| None), Ok(Settings::default()));
    }

    #[test]
    fn values_are_read_and_mistakes_named() {
        let set =
            |name: &'static str, value: &'static str| Settings::read(move |n| (n == name).then(|| value.to_owned()));
        assert_eq!(set("PILOT_DEBOUNCE_AFTER", "1.5s").unwrap().debounce_after, Duration::from_millis(1500));
        assert!(!set("XDS_AUTH", "F").unwrap().xds_auth);
        assert_eq!(set("DEBUG_ENDPOINT_AUTH_ALLOWED_NAMESPACES", "a, b").unwrap().debug_namespaces.len(), 2);
        let error = set("PILOT_DEBOUNCE_MAX", "soon").unwrap_err().to_string();
        assert_eq!(error, "environment variable PILOT_DEBOUNCE_MAX: 'soon' is no duration such as 100ms");
    }

    #[test]
    fn what_does_nothing_is_named() {
        let names = ["PATH", "PILOT_DEBOUNCE_AFTER", "PILOT_NO_SUCH", "ISTIO_DELTA_XDS", "PILOT_ENABLE_AMBIENT"]
            .map(str::to_owned);
        assert_eq!(without_effect(names.into_iter()), ["ISTIO_DELTA_XDS", "PILOT_ENABLE_AMBIENT", "PILOT_NO_SUCH"]);
        assert!(TABLE.iter().chain(MESH_TABLE).chain(IDENTITY_TABLE).all(|s| !WITHOUT_EFFECT.contains(&s.name)));
    }

    #[test]
    fn durations() {
        for (text, millis) in
            [("100ms", 100), ("1h30m", 5_400_000), ("0", 0), ("0s", 0), ("1.5s", 1_500), ("2m0.5s", 120_500)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "5", "s", "1x", "-1s", "1..s", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
