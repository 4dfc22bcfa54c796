// SPDX-License-Identifier: Apache-2.0
//! BackendTLSPolicies (<https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/>) as rules for the hosts of their targets, merged into what
//! DestinationRules say of these.
//!
//! Authorities that cannot be had are replaced by a name that no secret has: connections then fail, as a policy that cannot be fulfilled must
//! not let them through unverified.

use super::{INTERNAL, Inputs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tiphys_api::gateway::backend_tls_policy::{BackendTlsPolicy, BackendTlsPolicyValidation};
use tiphys_api::gateway::common::PolicyTargetReference;
use tiphys_api::{Key, Kind, Object, Problem, Spec};
use tiphys_model::{ClientTls, ClientTlsMode, DestinationRule, Host, Marked, PortPolicy, Str, TrafficPolicy};

/// An annotation that has a policy left to other implementations.
const IGNORED: &str = "istio.io/ignore-policy-attachment";
/// The group of ServiceEntries.
const ISTIO_GROUP: &str = "networking.istio.io";
/// A credential that there cannot be.
const NOWHERE: &str = "invalid://";

type Warnings = BTreeMap<Key, Vec<Problem>>;

/// What a policy says of a host.
struct Wanted {
    /// The port that is meant; none = all.
    port: Option<u32>,
    tls: ClientTls,
}

/// A target of policies: kind, namespace and name.
type Target = (Kind, String, String);

/// The rules that policies make, sorted by target and host.
pub(super) fn lower(inputs: &Inputs<'_>, warnings: &mut Warnings) -> Vec<Marked<DestinationRule>> {
    let mut policies: Vec<(&Arc<Object>, &BackendTlsPolicy)> = inputs
        .store
        .of_kind(Kind::BackendTlsPolicy)
        .filter_map(|object| match &object.spec {
            Spec::BackendTlsPolicy(policy) if !is_ignored(object) => Some((object, policy)),
            _ => None,
        })
        .collect();
    // Of two for one target the older one counts.
    policies.sort_by(|(a, _), (b, _)| {
        (a.meta.creation, &a.meta.namespace, &a.meta.name).cmp(&(b.meta.creation, &b.meta.namespace, &b.meta.name))
    });
    let mut taken = BTreeSet::new();
    let mut wanted: BTreeMap<(Target, String), Vec<Wanted>> = BTreeMap::new();
    for (object, policy) in policies {
        let mut warn = |path: String, text: String| {
            warnings.entry(object.key()).or_default().push(Problem::warning(path, text));
        };
        let namespace = &object.meta.namespace;
        let (tls, wrong) = tls(inputs, namespace, &policy.validation);
        if let Some(text) = wrong {
            warn("spec.validation.caCertificateRefs[0]".to_owned(), format!("{text}: connections to the targets fail"));
        }
        for (index, reference) in policy.target_refs.iter().enumerate() {
            let path = format!("spec.targetRefs[{index}]");
            let (target, hosts, port) = match resolve(inputs, namespace, reference) {
                Ok(found) => found,
                Err(text) => {
                    warn(path, format!("{text}: the policy has no effect there"));
                    continue;
                }
            };
            if !taken.insert((target.clone(), reference.section_name.clone())) {
                warn(path, "an older BackendTLSPolicy has the same target: this one has no effect there".to_owned());
                continue;
            }
            for host in hosts {
                wanted.entry((target.clone(), host)).or_default().push(Wanted { port, tls: tls.clone() });
            }
        }
    }
    wanted.into_iter().map(|((target, host), all)| Marked::new(rule(&target, &host, all))).collect()
}

fn is_ignored(object: &Object) -> bool {
    object.meta.annotations.get(IGNORED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The TLS settings; with what is wrong in them when they let nothing through.
fn tls(inputs: &Inputs<'_>, namespace: &str, validation: &BackendTlsPolicyValidation) -> (ClientTls, Option<String>) {
    let names = validation.subject_alt_names.iter().filter_map(|name| name.hostname.as_ref().or(name.uri.as_ref()));
    let tls = ClientTls {
        mode: ClientTlsMode::Simple,
        sni: validation.hostname.as_str().into(),
        subject_alt_names: names.map(|name| Str::from(name.as_str())).collect(),
        ..ClientTls::default()
    };
    // Nothing more is needed for the authorities that the system trusts.
    if validation.well_known_ca_certificates.is_some() {
        return (tls, None);
    }
    let Some(reference) = validation.ca_certificate_refs.first() else { return (tls, None) };
    let wrong = match (reference.group.as_str(), reference.kind.as_str()) {
        ("", "ConfigMap") => match inputs.look(Kind::ConfigMap, namespace, &reference.name).map(|o| &o.spec) {
            Some(Spec::ConfigMap(map)) if crate::credentials::authorities(map).is_some() => None,
            Some(_) => Some(format!("ConfigMap {namespace}/{} has no certificates in ca.crt", reference.name)),
            None => Some(format!("there is no ConfigMap {namespace}/{}", reference.name)),
        },
        (group, kind) => Some(format!("{kind} of group {group:?} cannot hold authorities: name a ConfigMap")),
    };
    let credential_name = match wrong {
        None => format!("configmap://{namespace}/{}", reference.name).into(),
        Some(_) => NOWHERE.into(),
    };
    (ClientTls { credential_name, ..tls }, wrong)
}

/// A target with its hosts, and the number of the port that is meant.
fn resolve(
    inputs: &Inputs<'_>,
    namespace: &str,
    reference: &PolicyTargetReference,
) -> Result<(Target, Vec<String>, Option<u32>), String> {
    let PolicyTargetReference { group, kind, name, section_name } = reference;
    let missing = || format!("there is no {kind} {namespace}/{name}");
    let (kind, hosts, ports): (Kind, Vec<String>, Vec<(String, u32)>) = match (group.as_str(), kind.as_str()) {
        ("", "Service") => {
            let object = inputs.store.get(Kind::Service, namespace, name).ok_or_else(missing)?;
            let Spec::Service(service) = &object.spec else { return Err(missing()) };
            let number = |port: i32| u32::try_from(port).unwrap_or_default();
            let ports = service.spec.ports.iter().map(|port| (port.name.clone(), number(port.port))).collect();
            (Kind::Service, vec![format!("{name}.{namespace}.svc.{}", inputs.mesh.domain)], ports)
        }
        (ISTIO_GROUP, "ServiceEntry") => {
            let object = inputs.store.get(Kind::ServiceEntry, namespace, name).ok_or_else(missing)?;
            let Spec::ServiceEntry(entry) = &object.spec else { return Err(missing()) };
            let ports = entry.ports.iter().map(|port| (port.name.clone(), port.number)).collect();
            (Kind::ServiceEntry, entry.hosts.clone(), ports)
        }
        (group, kind) => return Err(format!("{kind} of group {group:?} cannot be a target")),
    };
    let target = (kind, namespace.to_owned(), name.clone());
    let Some(section) = section_name.as_deref().filter(|section| !section.is_empty()) else {
        return Ok((target, hosts, None));
    };
    match ports.into_iter().find(|(port, _)| port == section) {
        Some((_, number)) => Ok((target, hosts, Some(number))),
        None => Err(format!("{namespace}/{name} has no port {section}")),
    }
}

fn rule(target: &Target, host: &str, all: Vec<Wanted>) -> DestinationRule {
    let mut policy = TrafficPolicy::default();
    for wanted in all {
        match wanted.port {
            None => policy.tls = policy.tls.or(Some(wanted.tls)),
            Some(port) => {
                let of_port = policy.ports.entry(port).or_insert_with(PortPolicy::default);
                of_port.tls = of_port.tls.take().or(Some(wanted.tls));
            }
        }
    }
    let (kind, namespace, name) = target;
    let name = match kind {
        Kind::ServiceEntry => format!("{name}~{}~{INTERNAL}", host.replace('.', "-")),
        _ => format!("{name}~{INTERNAL}"),
    };
    DestinationRule {
        name: name.into(),
        namespace: namespace.as_str().into(),
        creation: 0,
        host: Host::new(host),
        export_to: tiphys_model::Visibility::Unset,
        workload_selector: None,
        policy: Some(policy),
        subsets: Vec::new(),
        backend_policy: true,
    }
}
