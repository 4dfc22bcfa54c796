// SPDX-License-Identifier: Apache-2.0
//! TLS that listeners terminate
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/tls.proto>). Certificates and authorities
//! come by SDS: those of the mesh and those in files from the proxy's agent, those of credential names from the control plane.

use crate::listener::Environment;
use crate::sds;
use tiphys_model::{CertificateFiles, Protocol, ServerTls, ServerTlsMode, Str, TlsVersion};
use tiphys_proto::envoy::config::core::v3::{DataSource, TransportSocket, data_source::Specifier, transport_socket};
use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters,
    certificate_validation_context::TrustChainVerification,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    tls_parameters::TlsProtocol,
};
use tiphys_proto::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use tiphys_proto::{boolean, to_any};

/// Ciphers of TLS between workloads.
const MESH_CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];
const HTTP_ALPN: [&str; 2] = ["h2", "http/1.1"];
/// With the protocol of Istio's proxies by which peers tell each other who they are.
const PEER_EXCHANGE_ALPN: [&str; 3] = ["istio-peer-exchange", "h2", "http/1.1"];

/// How a filter chain terminates TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Termination {
    /// Mutual TLS of the mesh, of inbound chains.
    Mesh {
        /// The chain passes bytes on: peers exchange metadata.
        tcp: bool,
    },
    /// As a server of a Gateway or of a Sidecar says.
    Server {
        /// Its settings.
        tls: ServerTls,
        /// What the server speaks: a TCP server of mesh TLS exchanges metadata.
        protocol: Protocol,
    },
}

/// The transport socket of a filter chain.
pub fn transport_socket(termination: &Termination, environment: &Environment) -> TransportSocket {
    let context = match termination {
        Termination::Mesh { tcp } => mesh(*tcp, environment),
        Termination::Server { tls, protocol } => server(tls, *protocol, environment),
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".into(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(to_any(&context))),
    }
}

fn alpn(peer_exchange: bool) -> Vec<String> {
    let names: &[&str] = if peer_exchange { &PEER_EXCHANGE_ALPN } else { &HTTP_ALPN };
    names.iter().map(ToString::to_string).collect()
}

fn mesh(tcp: bool, environment: &Environment) -> DownstreamTlsContext {
    let defaults = &environment.settings.mesh_tls;
    let ciphers = match &defaults.cipher_suites[..] {
        [] => MESH_CIPHERS.iter().map(ToString::to_string).collect(),
        given => texts(given),
    };
    let minimum = if defaults.min_version == TlsVersion::V1_3 { TlsProtocol::TlSv13 } else { TlsProtocol::TlSv12 };
    let mut common = CommonTlsContext {
        alpn_protocols: alpn(tcp && environment.istio_filters),
        tls_params: Some(TlsParameters {
            cipher_suites: ciphers,
            tls_minimum_protocol_version: minimum.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..TlsParameters::default()
        }),
        ..CommonTlsContext::default()
    };
    let domains = environment.settings.trust_domains.iter();
    let domains = domains.map(|domain| MatchPattern::Prefix(format!("spiffe://{domain}/")));
    let validation = validation(matchers(domains));
    let files = &environment.certificate;
    set_agent_certificates(&mut common, std::slice::from_ref(files), environment);
    common.validation_context_type = Some(combined(validation, agent_authorities(&files.ca, environment)));
    DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: boolean(true),
        ..DownstreamTlsContext::default()
    }
}

fn server(tls: &ServerTls, protocol: Protocol, environment: &Environment) -> DownstreamTlsContext {
    let of_mesh = tls.mode == ServerTlsMode::IstioMutual;
    let required = of_mesh || tls.mode == ServerTlsMode::Mutual;
    let validated = required || tls.mode == ServerTlsMode::OptionalMutual;
    let terminated_tcp = !protocol.is_http() && protocol != Protocol::Https;
    let mut common = CommonTlsContext {
        alpn_protocols: alpn(of_mesh && terminated_tcp && environment.istio_filters),
        ..CommonTlsContext::default()
    };
    if of_mesh {
        let files = &environment.certificate;
        set_agent_certificates(&mut common, std::slice::from_ref(files), environment);
        let authorities = agent_authorities(&files.ca, environment);
        common.validation_context_type = Some(combined(agent_validation(tls), authorities));
    } else if !tls.credentials.is_empty() {
        set_credentials(&mut common, tls, validated, environment);
    } else {
        set_agent_certificates(&mut common, &tls.files, environment);
        if validated {
            let authorities = agent_authorities(&tls.ca_file, environment);
            common.validation_context_type = Some(combined(agent_validation(tls), authorities));
        }
    }
    if !of_mesh {
        common.tls_params = parameters(tls, environment);
    }
    DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: boolean(required),
        ..DownstreamTlsContext::default()
    }
}

fn parameters(tls: &ServerTls, environment: &Environment) -> Option<TlsParameters> {
    let defaults = &environment.settings.tls_defaults;
    let mut parameters = TlsParameters {
        ecdh_curves: texts(&defaults.ecdh_curves),
        cipher_suites: texts(if tls.cipher_suites.is_empty() { &defaults.cipher_suites } else { &tls.cipher_suites }),
        ..TlsParameters::default()
    };
    let lowest = if tls.min_version == TlsVersion::Auto { defaults.min_version } else { tls.min_version };
    parameters.set_tls_minimum_protocol_version(version(lowest));
    parameters.set_tls_maximum_protocol_version(version(tls.max_version));
    (parameters != TlsParameters::default()).then_some(parameters)
}

fn version(version: TlsVersion) -> TlsProtocol {
    match version {
        TlsVersion::Auto => TlsProtocol::TlsAuto,
        TlsVersion::V1_0 => TlsProtocol::TlSv10,
        TlsVersion::V1_1 => TlsProtocol::TlSv11,
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    }
}

/// Certificates that the agent serves: of the mesh, or read from files.
fn set_agent_certificates(common: &mut CommonTlsContext, files: &[CertificateFiles], env: &Environment) {
    let of = |files: &CertificateFiles| match (&*files.certificate, &*files.key) {
        ("", _) | (_, "") => sds::of_mesh(sds::WORKLOAD_CERTIFICATE),
        (certificate, key) => sds::of_files(&format!("file-cert:{certificate}~{key}"), env.file_socket),
    };
    common.tls_certificate_sds_secret_configs = match files {
        [] => vec![sds::of_mesh(sds::WORKLOAD_CERTIFICATE)],
        files => files.iter().map(of).collect(),
    };
}

fn agent_authorities(ca: &str, environment: &Environment) -> SdsSecretConfig {
    match ca {
        "" => sds::of_mesh(sds::MESH_ROOT),
        ca => sds::of_files(&format!("file-root:{ca}"), environment.file_socket),
    }
}

fn agent_validation(tls: &ServerTls) -> CertificateValidationContext {
    let crl = DataSource { specifier: Some(Specifier::Filename(tls.crl_file.to_string())), ..DataSource::default() };
    let mut context = validation(exact(&tls.subject_alt_names));
    context.crl = (!tls.crl_file.is_empty()).then_some(crl);
    if tls.skip_verify {
        context.set_trust_chain_verification(TrustChainVerification::AcceptUntrusted);
    }
    context
}

fn set_credentials(common: &mut CommonTlsContext, tls: &ServerTls, validated: bool, environment: &Environment) {
    let secret = |name: &str| sds::of_credential(name, environment.credential_socket);
    common.tls_certificate_sds_secret_configs = tls.credentials.iter().map(|name| secret(name)).collect();
    if !validated {
        if !tls.subject_alt_names.is_empty() {
            let context = validation(exact(&tls.subject_alt_names));
            common.validation_context_type = Some(ValidationContextType::ValidationContext(context));
        }
        return;
    }
    let authorities = match (&*tls.ca_credential, tls.credentials.first()) {
        ("", Some(first)) => secret(&format!("{first}-cacert")),
        (own, _) => secret(own),
    };
    let mut context = validation(exact(&tls.subject_alt_names));
    context.verify_certificate_spki = texts(&tls.certificate_spki);
    context.verify_certificate_hash = texts(&tls.certificate_hash);
    if tls.skip_verify {
        context.set_trust_chain_verification(TrustChainVerification::AcceptUntrusted);
    }
    common.validation_context_type = Some(combined(context, authorities));
}

fn combined(context: CertificateValidationContext, authorities: SdsSecretConfig) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(authorities),
        ..CombinedCertificateValidationContext::default()
    })
}

/// Names of any type count: the typed form would have to say whether a name is of DNS, of a URI or of an address.
#[allow(deprecated)]
fn validation(names: Vec<StringMatcher>) -> CertificateValidationContext {
    CertificateValidationContext { match_subject_alt_names: names, ..CertificateValidationContext::default() }
}

fn texts(list: &[Str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn exact(names: &[Str]) -> Vec<StringMatcher> {
    matchers(names.iter().map(|name| MatchPattern::Exact(name.to_string())))
}

fn matchers(patterns: impl Iterator<Item = MatchPattern>) -> Vec<StringMatcher> {
    patterns.map(|pattern| StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() }).collect()
}
