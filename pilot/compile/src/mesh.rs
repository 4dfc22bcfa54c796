// SPDX-License-Identifier: Apache-2.0
//! MeshConfig and settings in the words of the model.

use crate::Settings;
use crate::listener_settings::lower_listener_settings;
use crate::telemetry::lower_telemetry_settings;
use std::time::Duration;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::mesh::config::{H2UpgradePolicy, OutboundMode as ApiOutboundMode};
use tiphys_model::{Mesh, OutboundMode, Visibility};

/// What translation needs of the mesh's configuration.
pub fn lower_mesh(config: &MeshConfig, settings: &Settings) -> Mesh {
    let port = |number: i32| u32::try_from(number).unwrap_or_default();
    let time = |duration: Option<tiphys_api::Duration>, default: Duration| duration.map_or(default, |d| d.get());
    let registry_only =
        config.outbound_traffic_policy.as_ref().is_some_and(|p| p.mode == ApiOutboundMode::RegistryOnly);
    Mesh {
        root_namespace: config.root_namespace.as_str().into(),
        trust_domain: config.trust_domain.as_str().into(),
        trust_domain_aliases: crate::lower::strs(&config.trust_domain_aliases),
        domain: settings.text("DOMAIN_SUFFIX", "cluster.local").into(),
        short_name_domain: settings
            .text("TIPHYS_SHORT_NAME_DOMAIN", settings.text("DOMAIN_SUFFIX", "cluster.local"))
            .into(),
        cluster: settings.text("CLUSTER_ID", "Kubernetes").into(),
        connect_timeout: time(config.connect_timeout, Duration::from_secs(10)),
        protocol_detection_timeout: time(config.protocol_detection_timeout, Duration::ZERO),
        proxy_listen_port: port(config.proxy_listen_port),
        proxy_inbound_listen_port: port(config.proxy_inbound_listen_port),
        proxy_http_port: port(config.proxy_http_port),
        outbound_mode: if registry_only { OutboundMode::RegistryOnly } else { OutboundMode::AllowAny },
        auto_mtls: config.enable_auto_mtls.unwrap_or(true),
        h2_upgrade: config.h2_upgrade_policy == H2UpgradePolicy::Upgrade,
        default_service_export: Visibility::from_list(&config.default_service_export_to),
        default_virtual_service_export: Visibility::from_list(&config.default_virtual_service_export_to),
        default_destination_rule_export: Visibility::from_list(&config.default_destination_rule_export_to),
        default_retries: config.default_http_retry_policy.as_ref().map(crate::istio::retries),
        listener: lower_listener_settings(config, settings),
        telemetry: lower_telemetry_settings(config, settings),
        authorizers: crate::security::lower_authorizers(config, settings),
        traffic: crate::istio::traffic_defaults::lower(config, settings),
    }
}
