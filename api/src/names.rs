// SPDX-License-Identifier: Apache-2.0
//! Names of annotations and labels that have a meaning to the mesh
//! (<https://istio.io/latest/docs/reference/config/annotations/>, <https://istio.io/latest/docs/reference/config/labels/>).

/// Annotations.
pub mod annotation {
    /// On Pod.
    pub const MERGE_METRICS: &str = "prometheus.istio.io/merge-metrics";
    /// On Service (deprecated).
    pub const KUBERNETES_SERVICEACCOUNTS: &str = "alpha.istio.io/kubernetes-serviceaccounts";
    /// On Service (deprecated).
    pub const CANONICAL_SERVICEACCOUNTS: &str = "alpha.istio.io/canonical-serviceaccounts";
    /// On Service.
    pub const EXPORT_TO: &str = "networking.istio.io/exportTo";
    /// On Pod (deprecated).
    pub const INJECT: &str = "sidecar.istio.io/inject";
    /// On Pod.
    pub const STATUS: &str = "sidecar.istio.io/status";
    /// On Pod.
    pub const REWRITE_APP_HTTP_PROBERS: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
    /// On Pod (deprecated).
    pub const DISCOVERY_ADDRESS: &str = "sidecar.istio.io/discoveryAddress";
    /// On Pod.
    pub const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
    /// On Pod.
    pub const PROXY_IMAGE_TYPE: &str = "sidecar.istio.io/proxyImageType";
    /// On Pod.
    pub const PROXY_CPU: &str = "sidecar.istio.io/proxyCPU";
    /// On Pod.
    pub const PROXY_CPU_LIMIT: &str = "sidecar.istio.io/proxyCPULimit";
    /// On Pod.
    pub const PROXY_MEMORY: &str = "sidecar.istio.io/proxyMemory";
    /// On Pod.
    pub const PROXY_MEMORY_LIMIT: &str = "sidecar.istio.io/proxyMemoryLimit";
    /// On Pod.
    pub const INTERCEPTION_MODE: &str = "sidecar.istio.io/interceptionMode";
    /// On Pod.
    pub const BOOTSTRAP_OVERRIDE: &str = "sidecar.istio.io/bootstrapOverride";
    /// On Pod (deprecated).
    pub const STATS_INCLUSION_PREFIXES: &str = "sidecar.istio.io/statsInclusionPrefixes";
    /// On Pod (deprecated).
    pub const STATS_INCLUSION_SUFFIXES: &str = "sidecar.istio.io/statsInclusionSuffixes";
    /// On Pod (deprecated).
    pub const STATS_INCLUSION_REGEXPS: &str = "sidecar.istio.io/statsInclusionRegexps";
    /// On Pod.
    pub const STATS_HISTOGRAM_BUCKETS: &str = "sidecar.istio.io/statsHistogramBuckets";
    /// On Pod.
    pub const STATS_FLUSH_INTERVAL: &str = "sidecar.istio.io/statsFlushInterval";
    /// On Pod.
    pub const STATS_EVICTION_INTERVAL: &str = "sidecar.istio.io/statsEvictionInterval";
    /// On Pod.
    pub const STATS_HISTOGRAM_BINS: &str = "sidecar.istio.io/statsHistogramBins";
    /// On Pod.
    pub const USER_VOLUME: &str = "sidecar.istio.io/userVolume";
    /// On Pod.
    pub const USER_VOLUME_MOUNT: &str = "sidecar.istio.io/userVolumeMount";
    /// On Pod.
    pub const PORT: &str = "status.sidecar.istio.io/port";
    /// On Pod.
    pub const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
    /// On Pod.
    pub const COMPONENT_LOG_LEVEL: &str = "sidecar.istio.io/componentLogLevel";
    /// On Pod.
    pub const AGENT_LOG_LEVEL: &str = "sidecar.istio.io/agentLogLevel";
    /// On Pod.
    pub const NATIVE_SIDECAR: &str = "sidecar.istio.io/nativeSidecar";
    /// On Pod.
    pub const INITIAL_DELAY_SECONDS: &str = "readiness.status.sidecar.istio.io/initialDelaySeconds";
    /// On Pod.
    pub const PERIOD_SECONDS: &str = "readiness.status.sidecar.istio.io/periodSeconds";
    /// On Pod.
    pub const FAILURE_THRESHOLD: &str = "readiness.status.sidecar.istio.io/failureThreshold";
    /// On Pod.
    pub const APPLICATION_PORTS: &str = "readiness.status.sidecar.istio.io/applicationPorts";
    /// On Service.
    pub const NODE_SELECTOR: &str = "traffic.istio.io/nodeSelector";
    /// On Pod.
    pub const INCLUDE_OUTBOUND_IP_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
    /// On Pod.
    pub const EXCLUDE_OUTBOUND_IP_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    /// On Pod.
    pub const INCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";
    /// On Pod.
    pub const EXCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
    /// On Pod.
    pub const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";
    /// On Pod.
    pub const INCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
    /// On Pod.
    pub const EXCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
    /// On Pod (deprecated).
    pub const KUBEVIRT_INTERFACES: &str = "traffic.sidecar.istio.io/kubevirtInterfaces";
    /// On Ingress.
    pub const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
    /// On Any.
    pub const ANALYZE_SUPPRESS: &str = "galley.istio.io/analyze-suppress";
    /// On Pod.
    pub const CONFIG: &str = "proxy.istio.io/config";
    /// On AuthorizationPolicy.
    pub const DRY_RUN: &str = "istio.io/dry-run";
    /// On Pod.
    pub const REV: &str = "istio.io/rev";
    /// On Pod.
    pub const OVERRIDES: &str = "proxy.istio.io/overrides";
    /// On Pod.
    pub const TEMPLATES: &str = "inject.istio.io/templates";
    /// On Pod (deprecated).
    pub const EXTRA_STAT_TAGS: &str = "sidecar.istio.io/extraStatTags";
    /// On WorkloadEntry.
    pub const AUTO_REGISTRATION_GROUP: &str = "istio.io/autoRegistrationGroup";
    /// On WorkloadEntry.
    pub const WORKLOAD_CONTROLLER: &str = "istio.io/workloadController";
    /// On WorkloadEntry.
    pub const CONNECTED_AT: &str = "istio.io/connectedAt";
    /// On WorkloadEntry.
    pub const DISCONNECTED_AT: &str = "istio.io/disconnectedAt";
    /// On Namespace.
    pub const CONTROL_PLANE_CLUSTERS: &str = "topology.istio.io/controlPlaneClusters";
    /// On Any.
    pub const CONTROLLER_VERSION: &str = "gateway.istio.io/controller-version";
    /// On Pod.
    pub const REDIRECTION: &str = "ambient.istio.io/redirection";
    /// On GatewayClass, Gateway.
    pub const WAYPOINT_INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";
    /// On Gateway.
    pub const SERVICE_ACCOUNT: &str = "gateway.istio.io/service-account";
    /// On Gateway.
    pub const NAME_OVERRIDE: &str = "gateway.istio.io/name-override";
    /// On Gateway.
    pub const SERVICE_TYPE: &str = "networking.istio.io/service-type";
    /// On Namespace, Service, ServiceEntry.
    pub const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
    /// On Service, ServiceEntry, Namespace.
    pub const USE_WAYPOINT_CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";
    /// On Pod.
    pub const BYPASS_INBOUND_CAPTURE: &str = "ambient.istio.io/bypass-inbound-capture";
    /// On Pod.
    pub const REROUTE_VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
    /// On Pod.
    pub const DNS_CAPTURE: &str = "ambient.istio.io/dns-capture";
    /// On Pod (deprecated).
    pub const STATS_COMPRESSION: &str = "sidecar.istio.io/statsCompression";
}

/// Labels.
pub mod label {
    /// On Pod (deprecated).
    pub const TLS_MODE: &str = "security.istio.io/tlsMode";
    /// On Pod.
    pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
    /// On Service.
    pub const GATEWAY_PORT: &str = "networking.istio.io/gatewayPort";
    /// On Pod.
    pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
    /// On Pod, WorkloadEntry.
    pub const WORKLOAD_NAME: &str = "service.istio.io/workload-name";
    /// On Namespace, Gateway, Pod.
    pub const REV: &str = "istio.io/rev";
    /// On MutatingWebhookConfiguration.
    pub const TAG: &str = "istio.io/tag";
    /// On Any.
    pub const COMPONENT: &str = "operator.istio.io/component";
    /// On Any.
    pub const MANAGED: &str = "operator.istio.io/managed";
    /// On Any.
    pub const VERSION: &str = "operator.istio.io/version";
    /// On Node.
    pub const SUBZONE: &str = "topology.istio.io/subzone";
    /// On Namespace, Pod, Service.
    pub const NETWORK: &str = "topology.istio.io/network";
    /// On Pod.
    pub const CLUSTER: &str = "topology.istio.io/cluster";
    /// On Pod.
    pub const LOCALITY: &str = "topology.istio.io/locality";
    /// On Pod.
    pub const INJECT: &str = "sidecar.istio.io/inject";
    /// On ServiceAccount, Deployment, Service.
    pub const GATEWAY_MANAGED: &str = "gateway.istio.io/managed";
    /// On ServiceAccount, Deployment, Service, PodDisruptionBudget, HorizontalPodAutoscaler.
    pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
    /// On ServiceAccount, Deployment, Service, PodDisruptionBudget, HorizontalPodAutoscaler.
    pub const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
    /// On Pod, Namespace.
    pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
    /// On Pod, WorkloadEntry, Service, ServiceEntry, Namespace.
    pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
    /// On Pod, WorkloadEntry, Service, ServiceEntry, Namespace.
    pub const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
    /// On Service, ServiceEntry, Namespace.
    pub const USE_WAYPOINT_CANARY: &str = "istio.io/use-waypoint-canary";
    /// On Service, ServiceEntry, Namespace.
    pub const USE_WAYPOINT_CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
    /// On Service, ServiceEntry, Namespace.
    pub const INGRESS_USE_WAYPOINT: &str = "istio.io/ingress-use-waypoint";
    /// On GatewayClass, Gateway.
    pub const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
    /// On ServiceEntry.
    pub const ENABLE_AUTOALLOCATE_IP: &str = "networking.istio.io/enable-autoallocate-ip";
}
