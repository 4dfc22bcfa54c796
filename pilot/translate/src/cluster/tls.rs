// SPDX-License-Identifier: Apache-2.0
//! TLS towards endpoints: what a rule asks for, or mutual TLS of the mesh wherever an endpoint states that it takes it.

mod mesh;

use super::{Client, OutboundInput, http_options::HttpOptions};
use crate::sds;
use std::borrow::Cow;
use tiphys_model::{ClientTls, ClientTlsMode, ClusterName, Protocol, ProxyType, Registry, Str, TrafficPolicy};
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, TransportSocketMatch};
use tiphys_proto::envoy::config::core::v3::{
    DataSource, ProxyProtocolConfig, TransportSocket, data_source, proxy_protocol_config, transport_socket,
};
use tiphys_proto::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use tiphys_proto::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, TlsParameters, UpstreamTlsContext, common_tls_context,
    tls_parameters,
};
use tiphys_proto::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use tiphys_proto::google::protobuf::{Any, Struct};
use tiphys_proto::to_any;

use common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};

const TLS_SOCKET: &str = "envoy.transport_sockets.tls";
const PROXY_PROTOCOL_SOCKET: &str = "envoy.transport_sockets.upstream_proxy_protocol";

/// Applies TLS and the PROXY protocol of a policy to an outbound cluster.
pub(super) fn apply(
    cluster: &mut Cluster,
    http: &mut HttpOptions,
    input: &OutboundInput,
    policy: Option<&TrafficPolicy>,
) {
    let written = policy.and_then(|policy| policy.tls.as_ref());
    let wanted = wanted(input, written);
    let socket = wanted.as_ref().and_then(|(tls, _)| socket(tls, cluster, http, input));
    let detected = matches!(&wanted, Some((tls, true)) if tls.mode == ClientTlsMode::IstioMutual);
    let original = ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into());
    if detected && cluster.cluster_discovery_type != Some(original) {
        cluster.transport_socket_matches = vec![
            TransportSocketMatch {
                name: "tlsMode-istio".into(),
                r#match: Some(super::metadata::takes_mtls()),
                transport_socket: socket,
            },
            TransportSocketMatch {
                name: "tlsMode-disabled".into(),
                r#match: Some(Struct::default()),
                transport_socket: Some(raw_buffer()),
            },
        ];
    } else {
        cluster.transport_socket = socket;
    }
    if let Some(version) = policy.and_then(|policy| policy.proxy_protocol) {
        speak_proxy_protocol(cluster, version);
    }
}

/// The TLS settings that count, and whether they were found out rather than written.
fn wanted<'a>(input: &'a OutboundInput, written: Option<&'a ClientTls>) -> Option<(Cow<'a, ClientTls>, bool)> {
    let certificates = input.client.certificates.as_ref();
    let Some(written) = written else {
        if input.service.mesh_external || !input.auto_mtls {
            return None;
        }
        let tls = match certificates {
            Some(own) => with_certificates(own, ClientTls::default()),
            None => ClientTls { mode: ClientTlsMode::IstioMutual, ..ClientTls::default() },
        };
        return Some((Cow::Owned(identified(tls, input)), true));
    };
    match (written.mode, certificates) {
        (ClientTlsMode::Disable | ClientTlsMode::Simple, _) => Some((Cow::Borrowed(written), false)),
        // The proxy's own certificates need not be of an authority that an external service knows.
        (_, Some(own)) if !input.service.mesh_external => {
            Some((Cow::Owned(with_certificates(own, written.clone())), false))
        }
        (ClientTlsMode::IstioMutual, _) => Some((Cow::Owned(identified(written.clone(), input)), false)),
        (ClientTlsMode::Mutual, _) => Some((Cow::Borrowed(written), false)),
    }
}

/// Mutual TLS with the certificates that the proxy was started with.
fn with_certificates(own: &super::Certificates, written: ClientTls) -> ClientTls {
    ClientTls {
        mode: ClientTlsMode::Mutual,
        client_certificate: own.chain.clone(),
        private_key: own.key.clone(),
        ca_certificates: own.root.clone(),
        subject_alt_names: written.subject_alt_names,
        sni: written.sni,
        insecure_skip_verify: written.insecure_skip_verify,
        ..ClientTls::default()
    }
}

/// Fills in the SNI and the identities of the service where nothing was written.
fn identified(mut tls: ClientTls, input: &OutboundInput) -> ClientTls {
    if tls.sni.is_empty() {
        let subset = input.subset.as_deref().unwrap_or_default();
        tls.sni = ClusterName::Sni { port: input.port, subset, host: input.service.host.as_str() }.to_str();
    }
    if tls.subject_alt_names.is_empty() {
        tls.subject_alt_names.clone_from(&input.identities);
    }
    tls
}

/// The transport socket of TLS settings; none for plaintext and for what this proxy cannot do.
fn socket(
    tls: &ClientTls,
    cluster: &mut Cluster,
    http: &mut HttpOptions,
    input: &OutboundInput,
) -> Option<TransportSocket> {
    // A sidecar has no right to read secrets, and would wait for them, unless the rule is meant for it alone.
    let of_selected = input.rule.as_ref().is_some_and(|rule| rule.workload_selector.is_some());
    let secret = !tls.credential_name.is_empty() && !tls.credential_name.starts_with("configmap://");
    let user_tls = matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual);
    if user_tls && secret && input.client.kind == ProxyType::Sidecar && !of_selected {
        return None;
    }
    match tls.mode {
        ClientTlsMode::Disable => None,
        ClientTlsMode::IstioMutual => {
            let protocol = input.service.port(input.port).map_or(Protocol::Tcp, |port| port.protocol);
            let alpn = mesh::Alpn::of(input.client.istio_filters, http.is_http2(), protocol.is_http());
            let sni: &str = if tls.sni.is_empty() { &cluster.name } else { &tls.sni };
            Some(named(TLS_SOCKET, mesh::context(alpn, sni, &tls.subject_alt_names)))
        }
        ClientTlsMode::Simple | ClientTlsMode::Mutual => {
            let context = user_context(tls, http, input)?;
            Some(named(TLS_SOCKET, to_any(&context)))
        }
    }
}

/// TLS as the user set it up.
fn user_context(tls: &ClientTls, http: &mut HttpOptions, input: &OutboundInput) -> Option<UpstreamTlsContext> {
    let auto_sni = tls.sni.is_empty();
    let verify_auto = auto_sni && tls.subject_alt_names.is_empty() && !tls.insecure_skip_verify;
    let names: &[Str] = if tls.subject_alt_names.is_empty() && input.service.registry == Registry::External {
        &input.identities
    } else {
        &tls.subject_alt_names
    };
    let defaults = &input.mesh.traffic;
    let owned = |list: &[Str]| list.iter().map(ToString::to_string).collect();
    let mut common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            ecdh_curves: owned(&defaults.tls_curves),
            cipher_suites: owned(&defaults.tls_ciphers),
            ..parameters()
        }),
        ..CommonTlsContext::default()
    };
    if tls.credential_name.is_empty() {
        from_files(&mut common, tls, names, &input.client)?;
    } else {
        from_credential(&mut common, tls, names, &input.client);
    }
    if http.is_http2() {
        common.alpn_protocols = vec!["h2".into()];
    }
    http.set_auto(auto_sni, verify_auto);
    Some(UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: tls.sni.to_string(),
        ..UpstreamTlsContext::default()
    })
}

fn from_credential(common: &mut CommonTlsContext, tls: &ClientTls, names: &[Str], client: &Client) {
    if tls.mode == ClientTlsMode::Mutual {
        common
            .tls_certificate_sds_secret_configs
            .push(sds::of_credential(&tls.credential_name, client.credential_socket));
    }
    if !tls.insecure_skip_verify {
        let secret = sds::of_credential(&format!("{}-cacert", tls.credential_name), client.credential_socket);
        common.validation_context_type = Some(verified(names, "", secret));
    }
}

/// Files are served by the agent as secrets, so that they may change. None when mutual TLS lacks its files.
fn from_files(common: &mut CommonTlsContext, tls: &ClientTls, names: &[Str], client: &Client) -> Option<()> {
    if tls.mode == ClientTlsMode::Mutual {
        if tls.client_certificate.is_empty() || tls.private_key.is_empty() {
            return None;
        }
        let name = format!("file-cert:{}~{}", tls.client_certificate, tls.private_key);
        common.tls_certificate_sds_secret_configs.push(sds::of_files(&name, client.files_socket));
    }
    common.validation_context_type = Some(if tls.insecure_skip_verify {
        ValidationContextType::ValidationContext(CertificateValidationContext::default())
    } else {
        let authorities = if tls.ca_certificates.is_empty() { "system" } else { &tls.ca_certificates };
        let secret = sds::of_files(&format!("file-root:{authorities}"), client.files_socket);
        verified(names, &tls.ca_crl, secret)
    });
    Some(())
}

fn verified(
    names: &[Str],
    crl: &str,
    authorities: tiphys_proto::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig,
) -> ValidationContextType {
    let crl = (!crl.is_empty())
        .then(|| DataSource { specifier: Some(data_source::Specifier::Filename(crl.into())), ..DataSource::default() });
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext { crl, ..validation(names) }),
        validation_context_sds_secret_config: Some(authorities),
        ..Default::default()
    })
}

/// A server's certificate with one of these names.
// Envoy deprecates the untyped list, which istiod goes on writing: it matches names of every type.
#[allow(deprecated)]
fn validation(names: &[Str]) -> CertificateValidationContext {
    let exact = |name: &Str| StringMatcher {
        match_pattern: Some(MatchPattern::Exact(name.to_string())),
        ..StringMatcher::default()
    };
    CertificateValidationContext {
        match_subject_alt_names: names.iter().map(exact).collect(),
        ..CertificateValidationContext::default()
    }
}

/// TLS 1.2 and 1.3: left to itself Envoy's client stops at 1.2.
fn parameters() -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: tls_parameters::TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: tls_parameters::TlsProtocol::TlSv13.into(),
        ..TlsParameters::default()
    }
}

fn named(name: &str, config: Any) -> TransportSocket {
    TransportSocket { name: name.into(), config_type: Some(transport_socket::ConfigType::TypedConfig(config)) }
}

fn raw_buffer() -> TransportSocket {
    named("envoy.transport_sockets.raw_buffer", to_any(&RawBuffer {}))
}

/// Wraps every transport socket into one that first tells the client's address.
fn speak_proxy_protocol(cluster: &mut Cluster, version: u8) {
    let version = match version {
        1 => proxy_protocol_config::Version::V1,
        _ => proxy_protocol_config::Version::V2,
    };
    let wrap = |inner: TransportSocket| {
        let transport = ProxyProtocolUpstreamTransport {
            config: Some(ProxyProtocolConfig { version: version.into(), ..ProxyProtocolConfig::default() }),
            transport_socket: Some(inner),
            ..ProxyProtocolUpstreamTransport::default()
        };
        named(PROXY_PROTOCOL_SOCKET, to_any(&transport))
    };
    if cluster.transport_socket_matches.is_empty() {
        let inner = cluster.transport_socket.take().unwrap_or_else(raw_buffer);
        cluster.transport_socket = Some(wrap(inner));
    }
    for candidate in &mut cluster.transport_socket_matches {
        candidate.transport_socket = candidate.transport_socket.take().map(wrap);
    }
}
