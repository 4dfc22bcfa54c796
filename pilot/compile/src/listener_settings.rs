// SPDX-License-Identifier: Apache-2.0
//! What listeners read of MeshConfig and of the control plane's settings.

use crate::Settings;
use crate::lower::strs;
use crate::proxy_config::lower_proxy_config;
use std::time::Duration;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::mesh::config::{self as api, NormalizationType};
use tiphys_model::{ListenerSettings, PathNormalization, Str, TlsDefaults, TlsVersion};

/// Time for a TLS handshake with a listener, when nothing is said.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// The settings of listeners.
pub fn lower_listener_settings(config: &MeshConfig, settings: &Settings) -> ListenerSettings {
    let handshake = settings.text("PILOT_GATEWAY_TRANSPORT_SOCKET_CONNECT_TIMEOUT", "");
    ListenerSettings {
        path_normalization: match config.path_normalization.as_ref().map(|field| &field.normalization) {
            Some(NormalizationType::None) => PathNormalization::None,
            Some(NormalizationType::MergeSlashes) => PathNormalization::MergeSlashes,
            Some(NormalizationType::DecodeAndMergeSlashes) => PathNormalization::DecodeAndMergeSlashes,
            _ => PathNormalization::Base,
        },
        http10: settings.flag("PILOT_HTTP10", false),
        mongo_filter: settings.flag("PILOT_ENABLE_MONGO_FILTER", true),
        mysql_filter: settings.flag("PILOT_ENABLE_MYSQL_FILTER", false),
        redis_filter: settings.flag("PILOT_ENABLE_REDIS_FILTER", false),
        stateful_session: settings.flag("PILOT_ENABLE_PERSISTENT_SESSION_FILTER", false),
        dual_stack: settings.flag("ISTIO_DUAL_STACK", false),
        ingress_tls: settings.flag("ENABLE_TLS_ON_SIDECAR_INGRESS", false),
        merge_ingress: settings.flag("PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE", false),
        connections_per_event: settings.text("MAX_CONNECTIONS_PER_SOCKET_EVENT_LOOP", "1").parse().unwrap_or(1),
        handshake_timeout: handshake.parse::<tiphys_api::Duration>().map_or(HANDSHAKE_TIMEOUT, |time| time.get()),
        mesh_tls: config.mesh_mtls.as_ref().map(tls).unwrap_or_default(),
        tls_defaults: config.tls_defaults.as_ref().map(tls).unwrap_or_default(),
        trust_domains: trust_domains(config, settings),
        proxy_config: config.default_config.as_ref().map(lower_proxy_config).unwrap_or_default(),
        outbound_stat_name: config.outbound_cluster_stat_name.as_str().into(),
        inbound_stat_name: config.inbound_cluster_stat_name.as_str().into(),
    }
}

/// Trust domains from which clients are accepted; none = from any.
fn trust_domains(config: &MeshConfig, settings: &Settings) -> Vec<Str> {
    if settings.flag("PILOT_SKIP_VALIDATE_TRUST_DOMAIN", false) {
        return Vec::new();
    }
    let own = std::iter::once(&config.trust_domain).chain(&config.trust_domain_aliases);
    let mut domains: Vec<Str> = Vec::new();
    for domain in own.chain(config.ca_certificates.iter().flat_map(|authority| &authority.trust_domains)) {
        let domain = Str::from(domain.as_str());
        if !domain.is_empty() && !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    domains
}

fn tls(config: &api::TlsConfig) -> TlsDefaults {
    TlsDefaults {
        min_version: match config.min_protocol_version {
            api::TlsProtocol::TlsV12 => TlsVersion::V1_2,
            api::TlsProtocol::TlsV13 => TlsVersion::V1_3,
            _ => TlsVersion::Auto,
        },
        cipher_suites: strs(&config.cipher_suites),
        ecdh_curves: strs(&config.ecdh_curves),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_domains_are_named_once() {
        let config = MeshConfig {
            trust_domain: "a".into(),
            trust_domain_aliases: vec!["b".into(), "a".into()],
            ..MeshConfig::default()
        };
        let domains = |settings: &Settings| lower_listener_settings(&config, settings).trust_domains;
        assert_eq!(domains(&Settings::default()), ["a".into(), "b".into()]);
        let skip = [("PILOT_SKIP_VALIDATE_TRUST_DOMAIN".to_string(), "true".to_string())];
        assert!(domains(&Settings::from_pairs(skip)).is_empty());
    }
}
