// SPDX-License-Identifier: Apache-2.0
//! What objects name that is not there: hosts that no service has, subsets that no DestinationRule declares, Gateways that do not exist. The
//! object is served all the same, as Istio's is, since what is missing may come later; meanwhile it is told.

use crate::services::Services;
use crate::{DestinationRules, Store};
use std::collections::BTreeSet;
use tiphys_api::istio::networking::virtual_service as api;
use tiphys_api::{Key, Kind, Problem, Spec};
use tiphys_model::{
    AuthorizationPolicy, DestinationRule, Host, MESH_GATEWAY, Marked, Mesh, PolicyAction, Str, VirtualService,
};

use crate::istio::virtual_service::Names;

/// What is looked through.
pub(crate) struct References<'a> {
    pub store: &'a Store,
    pub mesh: &'a Mesh,
    pub services: &'a Services,
    pub virtual_services: &'a [Marked<VirtualService>],
    pub rules: &'a [Marked<DestinationRule>],
    pub merged: &'a DestinationRules,
    pub policies: &'a [Marked<AuthorizationPolicy>],
}

impl References<'_> {
    /// What is named and not there, by object.
    pub(crate) fn problems(&self) -> Vec<(Key, Problem)> {
        let wildcards: Vec<&Host> =
            self.services.all.iter().map(|service| &service.host).filter(|host| host.is_wildcard()).collect();
        let known = |host: &Host| {
            self.services.of_host(host).next().is_some() || wildcards.iter().any(|wildcard| host.subset_of(wildcard))
        };
        let mut problems = Vec::new();
        for one in self.virtual_services {
            let key = key(Kind::VirtualService, &one.namespace, &one.name);
            let missing: BTreeSet<&Host> = one.destinations.iter().filter(|host| !known(host)).collect();
            for gateway in one.gateways.iter().filter(|name| &***name != MESH_GATEWAY) {
                let (namespace, name) = gateway.split_once('/').unwrap_or(("", gateway));
                if self.store.get(Kind::IstioGateway, namespace, name).is_none() {
                    let text = format!("there is no Gateway {gateway}: the routes have no effect there");
                    problems.push((key.clone(), Problem::warning("spec.gateways", text)));
                }
            }
            self.destinations(&key, one, &missing, &mut problems);
        }
        for one in self.rules.iter().filter(|one| !one.host.is_wildcard() && !known(&one.host)) {
            let text = format!("no service has the host {}: the rule has no effect", one.host);
            problems.push((key(Kind::DestinationRule, &one.namespace, &one.name), Problem::warning("spec.host", text)));
        }
        self.authorizers(&mut problems);
        problems
    }

    /// Policies whose decisions nobody can be asked for, as the service of their provider is not there.
    fn authorizers(&self, problems: &mut Vec<(Key, Problem)>) {
        for policy in self.policies.iter().filter(|policy| policy.action == PolicyAction::Custom) {
            let Ok(authorizer) = self.mesh.authorizers.get(&policy.provider) else { continue };
            let wanted = &authorizer.service;
            let service = self.services.cluster_of(wanted);
            let host = wanted.service.split_once('/').map_or(&*wanted.service, |(_, host)| host);
            let why = match service {
                None if self.services.of_host(&Host::new(host)).nth(1).is_some() => {
                    format!("more than one namespace has {host}: name it as NAMESPACE/{host}")
                }
                None => format!("there is no service {}", wanted.service),
                Some(_) => continue,
            };
            let text =
                format!("provider {:?} cannot be asked: {why}: what the rules match is refused", policy.provider);
            let key = key(Kind::AuthorizationPolicy, &policy.namespace, &policy.name);
            problems.push((key, Problem::warning("spec.provider.name", text)));
        }
    }

    /// Destinations whose host or subset is not there, each by its place in the object.
    fn destinations(
        &self,
        key: &Key,
        lowered: &VirtualService,
        missing: &BTreeSet<&Host>,
        problems: &mut Vec<(Key, Problem)>,
    ) {
        let Some(object) = self.store.get(key.kind, &key.namespace, &key.name) else { return };
        let Spec::VirtualService(spec) = &object.spec else { return };
        let names = Names { namespace: &lowered.namespace, domain: &self.mesh.short_name_domain };
        for (path, destination) in destinations(spec) {
            let host = names.host(&destination.host);
            let problem = if missing.contains(&host) {
                let text = format!("no service has the host {host}: what is sent there is answered with 503");
                Problem::warning(format!("{path}.host"), text)
            } else if !destination.subset.is_empty() && !self.declares(lowered, &host, &destination.subset) {
                let text = format!(
                    "no DestinationRule of {host} has a subset {}: what is sent there is answered with 503",
                    destination.subset
                );
                Problem::warning(format!("{path}.subset"), text)
            } else {
                continue;
            };
            problems.push((key.clone(), problem));
        }
    }

    /// Whether some rule that clients of these routes may see has the subset.
    fn declares(&self, from: &VirtualService, host: &Host, subset: &str) -> bool {
        let mut namespaces: BTreeSet<&Str> = self.services.of_host(host).map(|service| &service.namespace).collect();
        namespaces.extend([&from.namespace, &self.mesh.root_namespace]);
        namespaces.into_iter().any(|namespace| self.merged.declares(namespace, host, subset))
    }
}

fn key(kind: Kind, namespace: &str, name: &str) -> Key {
    Key { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// All destinations of a VirtualService with their paths.
fn destinations(spec: &api::VirtualService) -> Vec<(String, &api::Destination)> {
    let mut all = Vec::new();
    for (index, rule) in spec.http.iter().enumerate() {
        let at = format!("spec.http[{index}]");
        let routes = rule.route.iter().enumerate().filter_map(|(i, route)| Some((i, route.destination.as_ref()?)));
        all.extend(routes.map(|(i, to)| (format!("{at}.route[{i}].destination"), to)));
        all.extend(rule.mirror.iter().map(|to| (format!("{at}.mirror"), to)));
        let mirrors = rule.mirrors.iter().enumerate().filter_map(|(i, mirror)| Some((i, mirror.destination.as_ref()?)));
        all.extend(mirrors.map(|(i, to)| (format!("{at}.mirrors[{i}].destination"), to)));
    }
    let tls = spec.tls.iter().enumerate().map(|(index, rule)| (format!("spec.tls[{index}]"), &rule.route));
    let tcp = spec.tcp.iter().enumerate().map(|(index, rule)| (format!("spec.tcp[{index}]"), &rule.route));
    for (at, routes) in tls.chain(tcp) {
        let routes = routes.iter().enumerate().filter_map(|(i, route)| Some((i, route.destination.as_ref()?)));
        all.extend(routes.map(|(i, to)| (format!("{at}.route[{i}].destination"), to)));
    }
    all
}
