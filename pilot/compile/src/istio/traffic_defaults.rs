// SPDX-License-Identifier: Apache-2.0
//! What MeshConfig and the settings say about the traffic to every host.

use super::traffic_policy::{connection_pool, keepalive, locality, outlier_detection, zone_aware};
use crate::Settings;
use crate::lower::strs;
use std::time::Duration;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::mesh::config::InboundMode;
use tiphys_model::{ListUnready, TrafficDefaults};

/// The defaults in force.
pub(crate) fn lower(config: &MeshConfig, settings: &Settings) -> TrafficDefaults {
    let policy = config.default_traffic_policy.as_ref();
    let tls = config.tls_defaults.as_ref();
    let inbound = config.inbound_traffic_policy.as_ref();
    TrafficDefaults {
        tcp_keepalive: config.tcp_keepalive.as_ref().map(keepalive),
        dns_refresh_rate: config.dns_refresh_rate.map_or(Duration::from_mins(1), tiphys_api::Duration::get),
        locality: config.locality_lb_setting.as_ref().map(locality),
        zone_aware: config.zone_aware_lb_setting.as_ref().map(zone_aware),
        inbound_stat_name: config.inbound_cluster_stat_name.as_str().into(),
        outbound_stat_name: config.outbound_cluster_stat_name.as_str().into(),
        connection_pool: policy.and_then(|policy| policy.connection_pool.as_ref()).map(connection_pool),
        outlier_detection: policy.and_then(|policy| policy.outlier_detection.as_ref()).map(outlier_detection),
        tls_curves: tls.map(|tls| strs(&tls.ecdh_curves)).unwrap_or_default(),
        tls_ciphers: tls.map(|tls| strs(&tls.cipher_suites)).unwrap_or_default(),
        inbound_loopback: inbound.is_some_and(|policy| policy.mode == InboundMode::Localhost),
        list_unready: list_unready(settings),
        dns_jitter: settings
            .text("PILOT_DNS_JITTER_DURATION", "100ms")
            .parse::<tiphys_api::Duration>()
            .map_or(Duration::from_millis(100), tiphys_api::Duration::get),
        dns_max_queries: settings.text("PILOT_DNS_CARES_UDP_MAX_QUERIES", "100").parse().unwrap_or(100),
        dual_stack: settings.flag("ISTIO_DUAL_STACK", false),
        headless_endpoints: settings.flag("PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES", false),
        always_weigh_localities: settings.flag("ENABLE_LOCALITY_WEIGHTED_LB_CONFIG", false),
    }
}

fn list_unready(settings: &Settings) -> ListUnready {
    if settings.flag("PILOT_SEND_UNHEALTHY_ENDPOINTS", false) {
        ListUnready::Always
    } else if settings.flag("PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS", true) {
        ListUnready::WhereUnused
    } else {
        ListUnready::Never
    }
}
