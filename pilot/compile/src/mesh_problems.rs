// SPDX-License-Identifier: Apache-2.0
//! What of MeshConfig is read and has no effect: told by name, as it is for objects.

use crate::Settings;
use crate::telemetry::lower_telemetry_settings;
use tiphys_api::Problem;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::mesh::extension_provider::ExtensionProvider;
use tiphys_model::ProviderKind;

/// Warnings about fields that have no effect here.
pub fn mesh_problems(config: &MeshConfig) -> Vec<Problem> {
    let default = MeshConfig::default();
    let authorities = &config.ca_certificates;
    let unused = [
        ("hboneIdleTimeout", config.hbone_idle_timeout != default.hbone_idle_timeout, "there is no ambient mesh"),
        ("ingressClass", config.ingress_class != default.ingress_class, "Ingress is not served"),
        ("ingressService", config.ingress_service != default.ingress_service, "Ingress is not served"),
        ("ingressSelector", config.ingress_selector != default.ingress_selector, "Ingress is not served"),
        (
            "ingressControllerMode",
            config.ingress_controller_mode != default.ingress_controller_mode,
            "Ingress is not served",
        ),
        ("configSources", !config.config_sources.is_empty(), "objects come from --configDir or the cluster"),
        ("caCertificates", authorities.iter().any(|one| one.pem.is_some()), "roots come from the CA's own files"),
        (
            "caCertificates",
            authorities.iter().any(|one| one.spiffe_bundle_url.is_some() || !one.cert_signers.is_empty()),
            "roots come from the CA's own files",
        ),
        ("certificates", !config.certificates.is_empty(), "no certificates are made for DNS names"),
        ("serviceSettings", !config.service_settings.is_empty(), "there is one cluster"),
        ("serviceScopeConfigs", !config.service_scope_configs.is_empty(), "there is no ambient mesh"),
        (
            "verifyCertificateAtClient",
            config.verify_certificate_at_client != default.verify_certificate_at_client,
            "name the authority in a DestinationRule's caCertificates",
        ),
        ("ca", config.ca.is_some(), "certificates are issued here"),
        ("serviceEntryVisibility", config.service_entry_visibility.is_some(), "exportTo says who sees a ServiceEntry"),
        (
            "outboundTrafficPolicy.tls",
            config.outbound_traffic_policy.as_ref().is_some_and(|policy| policy.tls.is_some()),
            "TLS to unknown hosts is not originated",
        ),
    ];
    let mut problems: Vec<Problem> = unused
        .into_iter()
        .filter(|(_, used, _)| *used)
        .map(|(path, _, why)| Problem::warning(path, format!("has no effect: {why}")))
        .collect();
    problems.extend(providers(config, &default));
    problems
}

/// Providers of kinds that are not supported, and defaults that name such a one or none.
fn providers(config: &MeshConfig, default: &MeshConfig) -> Vec<Problem> {
    let known = lower_telemetry_settings(config, &Settings::default()).providers;
    let supported = |name: &str| known.iter().any(|one| &*one.name == name && !matches!(one.kind, ProviderKind::Other));
    let authorizes = |one: &ExtensionProvider| one.envoy_ext_authz_http.is_some() || one.envoy_ext_authz_grpc.is_some();
    let mut problems = Vec::new();
    for (index, one) in config.extension_providers.iter().enumerate() {
        // Those that every mesh has were not asked for.
        let given = default.extension_providers.contains(one);
        if given || supported(&one.name) || authorizes(one) {
            continue;
        }
        let text = format!("provider {:?} is of a kind that is not supported here: it has no effect", one.name);
        problems.push(Problem::warning(format!("extensionProviders[{index}]"), text));
    }
    let defaults = config.default_providers.clone().unwrap_or_default();
    let lists =
        [("accessLogging", &defaults.access_logging), ("tracing", &defaults.tracing), ("metrics", &defaults.metrics)];
    for (field, names) in lists {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !supported(name)) {
            let why = match config.extension_providers.iter().any(|one| one.name == *name) {
                true => "is of a kind that is not supported here",
                false => "is not among extensionProviders",
            };
            let path = format!("defaultProviders.{field}[{index}]");
            problems.push(Problem::warning(path, format!("provider {name:?} {why}: it is left out")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let (mesh, _) = MeshConfig::default().merge_yaml(text).unwrap();
        mesh_problems(&mesh).into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn what_has_no_effect_is_named() {
        assert!(said("{}").is_empty());
        assert_eq!(
            said("certificates: [{secretName: a, dnsNames: [b]}]\ningressClass: x"),
            ["ingressClass", "certificates"]
        );
        let providers = "\
extensionProviders:
- name: sky
  skywalking: {service: sky, port: 1}
- name: zip
  zipkin: {service: zip, port: 1}
- name: keys
  sds: {name: keys, service: keys, port: 1}
- name: ext
  envoyExtAuthzGrpc: {service: ext, port: 1}
defaultProviders: {tracing: [zip, sky], metrics: [prometheus, nobody]}
";
        assert_eq!(
            said(providers),
            [
                "extensionProviders[3]",
                "extensionProviders[5]",
                "defaultProviders.tracing[1]",
                "defaultProviders.metrics[1]"
            ]
        );
    }
}
