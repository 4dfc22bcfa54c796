// SPDX-License-Identifier: Apache-2.0
//! Lowering of Istio Gateways (<https://istio.io/latest/docs/reference/config/networking/gateway/>).

use crate::LowerContext;
use crate::lower::{labels, strs};
use tiphys_api::istio::networking::{gateway as api, tls};
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{
    Attachment, CertificateFiles, Gateway, Protocol, Semantics, Server, ServerHost, ServerTls, ServerTlsMode,
    TlsVersion,
};

/// A Gateway in the words of the model.
pub fn lower(object: &Object, _: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<Gateway> {
    let Spec::IstioGateway(spec) = &object.spec else { return None };
    let namespace = object.meta.namespace.as_str();
    let mut servers = Vec::new();
    for (index, one) in spec.servers.iter().enumerate() {
        match server(one, namespace) {
            Some(server) => servers.push(server),
            None => problems.push(Problem::warning(
                format!("spec.servers[{index}].port"),
                "a server without a port is left out: say number, protocol and name",
            )),
        }
    }
    Some(Gateway {
        name: object.meta.name.as_str().into(),
        namespace: namespace.into(),
        creation: object.meta.creation,
        semantics: Semantics::Istio,
        attachment: Attachment::Labels(labels(&spec.selector)),
        servers,
        service_account: Default::default(),
        proxy_namespace: namespace.into(),
        listener_set: false,
    })
}

fn server(one: &api::Server, namespace: &str) -> Option<Server> {
    let port = one.port.as_ref()?;
    let mut hosts: Vec<ServerHost> = one.hosts.iter().map(|host| ServerHost::parse(host, namespace)).collect();
    // `*/*` takes every host of every namespace: the others add nothing.
    if one.hosts.iter().any(|host| host == "*/*") {
        hosts = vec![ServerHost::parse("*", namespace)];
    }
    Some(Server {
        port: port.number,
        port_name: port.name.as_str().into(),
        protocol: Protocol::parse(&port.protocol),
        bind: one.bind.as_str().into(),
        hosts,
        tls: one.tls.as_ref().map(server_tls),
        name: one.name.as_str().into(),
    })
}

/// TLS settings of a server, of a gateway or of a Sidecar's ingress listener.
pub fn server_tls(settings: &tls::ServerTlsSettings) -> ServerTls {
    let names = match settings.credential_names.is_empty() {
        true => std::slice::from_ref(&settings.credential_name),
        false => settings.credential_names.as_slice(),
    };
    let own = CertificateFiles {
        certificate: settings.server_certificate.as_str().into(),
        key: settings.private_key.as_str().into(),
        ca: settings.ca_certificates.as_str().into(),
    };
    let listed = settings.tls_certificates.iter().map(|files| CertificateFiles {
        certificate: files.server_certificate.as_str().into(),
        key: files.private_key.as_str().into(),
        ca: files.ca_certificates.as_str().into(),
    });
    let own = (!own.certificate.is_empty()).then_some(own);
    let files: Vec<CertificateFiles> = listed.collect();
    ServerTls {
        mode: mode(&settings.mode),
        https_redirect: settings.https_redirect,
        credentials: names.iter().filter(|name| !name.is_empty()).map(|name| name.as_str().into()).collect(),
        ca_credential: settings.ca_cert_credential_name.as_str().into(),
        files: if files.is_empty() { own.into_iter().collect() } else { files },
        ca_file: settings.ca_certificates.as_str().into(),
        crl_file: settings.ca_crl.as_str().into(),
        subject_alt_names: strs(&settings.subject_alt_names),
        certificate_spki: strs(&settings.verify_certificate_spki),
        certificate_hash: strs(&settings.verify_certificate_hash),
        min_version: version(&settings.min_protocol_version),
        max_version: version(&settings.max_protocol_version),
        cipher_suites: strs(&settings.cipher_suites),
        skip_verify: settings.insecure_skip_verify.unwrap_or(false),
    }
}

fn mode(mode: &tls::ServerTlsMode) -> ServerTlsMode {
    match mode {
        tls::ServerTlsMode::Simple => ServerTlsMode::Simple,
        tls::ServerTlsMode::Mutual => ServerTlsMode::Mutual,
        tls::ServerTlsMode::OptionalMutual => ServerTlsMode::OptionalMutual,
        tls::ServerTlsMode::IstioMutual => ServerTlsMode::IstioMutual,
        tls::ServerTlsMode::AutoPassthrough => ServerTlsMode::AutoPassthrough,
        // Validation has refused objects with a word that is not known.
        tls::ServerTlsMode::Passthrough | tls::ServerTlsMode::Unknown(_) => ServerTlsMode::Passthrough,
    }
}

fn version(version: &tls::TlsProtocol) -> TlsVersion {
    match version {
        tls::TlsProtocol::TlsV10 => TlsVersion::V1_0,
        tls::TlsProtocol::TlsV11 => TlsVersion::V1_1,
        tls::TlsProtocol::TlsV12 => TlsVersion::V1_2,
        tls::TlsProtocol::TlsV13 => TlsVersion::V1_3,
        tls::TlsProtocol::TlsAuto | tls::TlsProtocol::Unknown(_) => TlsVersion::Auto,
    }
}
