// SPDX-License-Identifier: Apache-2.0
//! One listener of a Gateway or ListenerSet: its server, the namespaces and kinds of routes that it takes, its TLS.

use super::grants::Crossing;
use super::{GROUP, Inputs, Refusal};
use std::collections::BTreeMap;
use tiphys_api::gateway as api;
use tiphys_api::{Kind, LabelSelector, Object, Spec};
use tiphys_model::{Protocol, Server, ServerHost, ServerTls, ServerTlsMode};

/// Option of a listener's TLS: how it ends here.
const TERMINATE_MODE: &str = "gateway.istio.io/tls-terminate-mode";
/// Option of a listener's TLS: cipher suites, comma separated.
const CIPHERS: &str = "gateway.istio.io/tls-cipher-suites";
/// The label that every namespace has its own name in.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The server of a listener; what is wrong with it makes it unusable.
pub(super) fn server(
    inputs: &Inputs<'_>,
    owner: &Object,
    gateway: &api::Gateway,
    listener: &api::gateway::Listener,
) -> (Option<Server>, Vec<Refusal>) {
    let mut wrong = Vec::new();
    let protocol = match listener.protocol.as_str() {
        "HTTP" => Protocol::Http,
        "HTTPS" => Protocol::Https,
        "TLS" => Protocol::Tls,
        "TCP" => Protocol::Tcp,
        other => {
            let upper = other.to_ascii_uppercase();
            let hint = match upper.as_str() {
                "HTTP" | "HTTPS" | "TLS" | "TCP" => format!(". hint: {upper:?} (uppercase) may be supported"),
                _ => String::new(),
            };
            wrong.push(Refusal::new("UnsupportedProtocol", format!("protocol {other:?} is unsupported{hint}")));
            return (None, wrong);
        }
    };
    let tls = listener.tls.as_ref().map(|tls| {
        let mut made = ServerTls::default();
        if let Err(refused) = fill_tls(&mut made, &Tls { inputs, owner, gateway, port: listener.port, tls }) {
            wrong.push(refused);
        }
        made
    });
    if tls.is_none() && protocol.is_tls() {
        let message = format!("protocol is {} but no TLS section is defined", listener.protocol);
        return (None, vec![Refusal::new("UnsupportedProtocol", message)]);
    }
    let hostname = listener.hostname.as_deref().unwrap_or("*");
    let namespaces = allowed_namespaces(inputs, &owner.meta.namespace, listener);
    let hosts = namespaces.iter().map(|one| ServerHost::parse(&format!("{one}/{hostname}"), &owner.meta.namespace));
    let server = Server {
        port: listener.port.try_into().unwrap_or_default(),
        port_name: "default".into(),
        protocol,
        hosts: hosts.collect(),
        tls,
        ..Server::default()
    };
    (Some(server), wrong)
}

/// The namespaces whose routes may attach; `*` stands for all, `~` for none.
fn allowed_namespaces(inputs: &Inputs<'_>, own: &str, listener: &api::gateway::Listener) -> Vec<String> {
    let namespaces = listener.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let Some(namespaces) = namespaces else { return vec![own.into()] };
    match &namespaces.from {
        None | Some(api::gateway::FromNamespaces::Same) => vec![own.into()],
        Some(api::gateway::FromNamespaces::Selector) => match &namespaces.selector {
            Some(selector) => selected(inputs, selector),
            None => vec!["*".into()],
        },
        Some(api::gateway::FromNamespaces::All) => vec!["*".into()],
        // A word that is not known lets nobody in.
        Some(_) => vec!["~".into()],
    }
}

fn selected(inputs: &Inputs<'_>, selector: &LabelSelector) -> Vec<String> {
    let namespaces = inputs.store.of_kind(Kind::Namespace);
    let names: Vec<String> = namespaces
        .filter(|object| selector.matches(&namespace_labels(&object.meta.name, &object.meta.labels)))
        .map(|object| object.meta.name.clone())
        .collect();
    if names.is_empty() { vec!["~".into()] } else { names }
}

/// The labels of a namespace with its own name among them.
pub(super) fn namespace_labels(name: &str, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.insert(NAMESPACE_NAME.into(), name.into());
    labels
}

/// Whether a listener has no TLS settings although its protocol needs them.
pub(super) fn lacks_tls(listener: &api::gateway::Listener) -> bool {
    listener.tls.is_none() && matches!(listener.protocol.as_str(), "HTTPS" | "TLS")
}

/// Whether a listener asks for kinds of routes that it cannot take.
pub(super) fn asks_for_odd_kinds(listener: &api::gateway::Listener) -> bool {
    let wanted = listener.allowed_routes.as_ref().map_or(0, |allowed| allowed.kinds.len());
    wanted > 0 && kinds(listener).len() != wanted
}

/// The kinds of routes that a listener takes.
pub(super) fn kinds(listener: &api::gateway::Listener) -> Vec<Kind> {
    let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_ref());
    let supported = match listener.protocol.as_str() {
        "HTTP" | "HTTPS" => vec![Kind::HttpRoute, Kind::GrpcRoute],
        "TCP" => vec![Kind::TcpRoute],
        "TLS" if mode == Some(&api::gateway::TlsModeType::Terminate) => vec![Kind::TlsRoute, Kind::TcpRoute],
        "TLS" => vec![Kind::TlsRoute],
        _ => Vec::new(),
    };
    let wanted = listener.allowed_routes.as_ref().map(|allowed| allowed.kinds.as_slice()).unwrap_or_default();
    if wanted.is_empty() {
        return supported;
    }
    let is_wanted = |kind: &Kind| {
        wanted.iter().any(|one| one.kind == kind.name() && one.group.as_deref().unwrap_or(GROUP) == kind.group())
    };
    supported.into_iter().filter(is_wanted).collect()
}

/// What TLS settings are made from.
struct Tls<'a> {
    inputs: &'a Inputs<'a>,
    owner: &'a Object,
    gateway: &'a api::Gateway,
    port: i32,
    tls: &'a api::gateway::ListenerTlsConfig,
}

fn fill_tls(made: &mut ServerTls, of: &Tls<'_>) -> Result<(), Refusal> {
    let option = |name: &str| of.tls.options.get(name).map(String::as_str);
    if of.tls.mode == Some(api::gateway::TlsModeType::Passthrough) {
        made.mode = ServerTlsMode::Passthrough;
    } else {
        let mode = option(TERMINATE_MODE);
        made.mode = match mode {
            Some("MUTUAL") => ServerTlsMode::Mutual,
            Some("OPTIONAL_MUTUAL") => ServerTlsMode::OptionalMutual,
            Some("ISTIO_MUTUAL") => ServerTlsMode::IstioMutual,
            _ => ServerTlsMode::Simple,
        };
        match mode {
            Some("ISTIO_SIMPLE") => {
                made.credentials = vec!["builtin://".into()];
                return Ok(());
            }
            Some("ISTIO_MUTUAL") => return Ok(()),
            _ => {}
        }
        certificates(made, of)?;
        client_certificates(made, of, mode)?;
    }
    if let Some(ciphers) = option(CIPHERS) {
        made.cipher_suites = ciphers.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Into::into).collect();
    }
    Ok(())
}

fn certificates(made: &mut ServerTls, of: &Tls<'_>) -> Result<(), Refusal> {
    const REASON: &str = "InvalidCertificateRef";
    if of.tls.certificate_refs.len() > 2 {
        return Err(Refusal::new(REASON, "TLS mode can only support up to 2 server certificates"));
    }
    let own = of.owner.meta.namespace.as_str();
    let mut refused: Option<Refusal> = None;
    let mut refuse = |reason, message: String| {
        refused = Some(match refused.take() {
            Some(first) => Refusal { message: format!("{}; {message}", first.message), ..first },
            None => Refusal::new(reason, message),
        });
    };
    for certificate in &of.tls.certificate_refs {
        let (group, kind) =
            (certificate.group.as_deref().unwrap_or_default(), certificate.kind.as_deref().unwrap_or("Secret"));
        let (name, namespace) = (certificate.name.as_str(), certificate.namespace.as_deref().unwrap_or(own));
        let written = format!(
            "{}/{}/{name}.{}",
            certificate.group.as_deref().unwrap_or_default(),
            certificate.kind.as_deref().unwrap_or_default(),
            certificate.namespace.as_deref().unwrap_or_default()
        );
        if !allowed(of, (group, kind, namespace), name) {
            let message = format!(
                "certificateRef {name}/{namespace} not accessible to a Gateway in namespace {own:?} (missing a ReferenceGrant?)"
            );
            refuse("RefNotPermitted", message);
        } else if (group, kind) != ("", "Secret") {
            refuse(REASON, format!("invalid certificate reference {written}, only secret is allowed"));
        } else if let Err(why) = secret(of, namespace, name) {
            refuse(REASON, format!("invalid certificate reference {written}, {why}"));
        } else {
            made.credentials.push(format!("kubernetes-gateway://{namespace}/{name}").into());
        }
    }
    match refused {
        Some(refused) if made.credentials.is_empty() => Err(refused),
        _ => Ok(()),
    }
}

fn secret(of: &Tls<'_>, namespace: &str, name: &str) -> Result<(), String> {
    let object = of.inputs.look(Kind::Secret, namespace, name);
    let Some(Spec::Secret(secret)) = object.map(|object| &object.spec) else {
        return Err(format!("secret {namespace}/{name} not found"));
    };
    let has = |names: [&str; 2]| names.iter().any(|name| secret.get(name).is_some_and(|bytes| !bytes.is_empty()));
    match has(["tls.crt", "cert"]) && has(["tls.key", "key"]) {
        true => Ok(()),
        false => Err("found no certificate and key in it (tls.crt and tls.key)".into()),
    }
}

fn allowed(of: &Tls<'_>, to: (&str, &str, &str), name: &str) -> bool {
    let from = (GROUP, of.owner.kind().name(), of.owner.meta.namespace.as_str());
    of.inputs.grants.allow(&Crossing { from, to, name })
}

/// How the certificates of clients are checked, as the Gateway says for all listeners or for one port.
fn client_certificates(made: &mut ServerTls, of: &Tls<'_>, mode: Option<&str>) -> Result<(), Refusal> {
    const REASON: &str = "InvalidCACertificateRef";
    let frontend = of.gateway.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    let Some(frontend) = frontend else { return Ok(()) };
    let port = frontend.per_port.iter().find(|one| one.port == of.port).and_then(|one| one.tls.as_ref());
    let validation = port.or(frontend.default.as_ref()).and_then(|tls| tls.validation.as_ref());
    let Some(validation) = validation else { return Ok(()) };
    let reference = match validation.ca_certificate_refs.as_slice() {
        [] => return Ok(()),
        [only] => only,
        _ => return Err(Refusal::new(REASON, "only one caCertificateRef is supported")),
    };
    let own = of.owner.meta.namespace.as_str();
    let (name, namespace) = (reference.name.as_str(), reference.namespace.as_deref().unwrap_or(own));
    if !allowed(of, (&reference.group, &reference.kind, namespace), name) {
        let message = format!(
            "caCertificateRef {namespace}/{name} not accessible to a Gateway in namespace {own:?} (missing a ReferenceGrant?)"
        );
        return Err(Refusal::new("RefNotPermitted", message));
    }
    let (scheme, kind) = match (reference.group.as_str(), reference.kind.as_str()) {
        ("", "ConfigMap") => ("configmap", Kind::ConfigMap),
        ("", "Secret") => ("kubernetes-gateway", Kind::Secret),
        (group, kind) => {
            let message = format!(
                "invalid CA certificate reference {group}/{kind}/{name}, only secret and configmap are allowed"
            );
            return Err(Refusal::new("InvalidCACertificateKind", message));
        }
    };
    if kind == Kind::Secret {
        // Authorities beside a certificate have a Secret of their own.
        of.inputs.look(kind, namespace, &format!("{name}-cacert"));
    }
    if of.inputs.look(kind, namespace, name).is_none() {
        let message = format!(
            "invalid CA certificate reference {name}, {} {namespace}/{name} not found",
            kind.name().to_lowercase()
        );
        return Err(Refusal::new(REASON, message));
    }
    made.ca_credential = format!("{scheme}://{namespace}/{name}-cacert").into();
    let insecure = validation.mode == Some(api::gateway::FrontendValidationMode::AllowInsecureFallback);
    (made.mode, made.skip_verify) = match (mode, insecure) {
        (Some("MUTUAL"), _) | (None, false) => (ServerTlsMode::Mutual, false),
        (Some("OPTIONAL_MUTUAL"), _) => (ServerTlsMode::OptionalMutual, false),
        (_, true) => (ServerTlsMode::OptionalMutual, true),
        (_, false) => (ServerTlsMode::Mutual, false),
    };
    Ok(())
}
