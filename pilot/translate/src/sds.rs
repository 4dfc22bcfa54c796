// SPDX-License-Identifier: Apache-2.0
//! Where proxies get certificates from: the agent beside them, a secret server on a socket, or this control plane.

use tiphys_proto::duration;
use tiphys_proto::envoy::config::core::v3::{
    AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource, GrpcService, api_config_source::ApiType,
    config_source::ConfigSourceSpecifier, grpc_service,
};
use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;

/// Secret of the workload's own certificate.
pub const WORKLOAD_CERTIFICATE: &str = "default";
/// Secret of the mesh's authorities.
pub const MESH_ROOT: &str = "ROOTCA";
/// Cluster of the agent's secret server, in the proxy's bootstrap.
const AGENT_CLUSTER: &str = "sds-grpc";
/// Cluster of a server for secrets that are files.
const FILES_CLUSTER: &str = "sds-files-grpc";
/// Cluster of a secret server that the user runs beside the proxy.
pub const EXTERNAL_CLUSTER: &str = "sds-external";
/// What a credential name starts with when such a server has it.
const EXTERNAL_PREFIX: &str = "sds://";

/// The workload's own certificate or the mesh's authorities, from the agent; the proxy waits for them.
pub fn of_mesh(name: &str) -> SdsSecretConfig {
    SdsSecretConfig {
        name: name.into(),
        sds_config: Some(ConfigSource {
            initial_fetch_timeout: duration(std::time::Duration::ZERO),
            ..server(AGENT_CLUSTER)
        }),
    }
}

/// A secret made of files (`file-cert:CERT~KEY`, `file-root:CA`), from the agent or from a server for files.
pub fn of_files(name: &str, own_server: bool) -> SdsSecretConfig {
    let cluster = if own_server { FILES_CLUSTER } else { AGENT_CLUSTER };
    SdsSecretConfig { name: name.into(), sds_config: Some(server(cluster)) }
}

/// A secret that is named by `credentialName`: served by this control plane, unless it is the mesh's own (`builtin://`) or an
/// external server beside the proxy has it.
pub fn of_credential(name: &str, external_server: bool) -> SdsSecretConfig {
    let mut name = name;
    if let Some(rest) = name.strip_prefix("builtin://") {
        return of_mesh(if rest.ends_with("-cacert") { MESH_ROOT } else { WORKLOAD_CERTIFICATE });
    }
    if let Some(rest) = name.strip_prefix(EXTERNAL_PREFIX) {
        if external_server {
            return SdsSecretConfig { name: name.into(), sds_config: Some(server(EXTERNAL_CLUSTER)) };
        }
        name = rest;
    }
    let known = ["invalid://", "configmap://", "kubernetes://", "kubernetes-gateway://"];
    let resource = if name.starts_with("invalid://") {
        "invalid://".to_owned()
    } else if known.iter().any(|prefix| name.starts_with(prefix)) {
        name.to_owned()
    } else {
        format!("kubernetes://{name}")
    };
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    };
    SdsSecretConfig { name: resource, sds_config: Some(source) }
}

fn server(cluster: &str) -> ConfigSource {
    let service = GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
            cluster_name: cluster.into(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source)),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_named_by_where_they_are() {
        let name = |credential: &str| of_credential(credential, false).name;
        assert_eq!(name("cert"), "kubernetes://cert");
        assert_eq!(name("ns/cert"), "kubernetes://ns/cert");
        assert_eq!(name("kubernetes-gateway://ns/cert"), "kubernetes-gateway://ns/cert");
        assert_eq!(name("invalid://whatever"), "invalid://");
        assert_eq!(name("builtin://"), WORKLOAD_CERTIFICATE);
        assert_eq!(name("builtin://-cacert"), MESH_ROOT);
        assert_eq!(name("sds://x"), "kubernetes://x");
        assert_eq!(of_credential("sds://x", true).name, "sds://x");
    }
}
