// SPDX-License-Identifier: Apache-2.0
//! All DestinationRules: several for one host merged, and looked up as a client sees them.
//!
//! A client's own namespace is asked first, then that of the service, then the mesh's root namespace; in each the most specific host
//! counts. The first namespace that has a rule for the host decides, even if that rule is for other workloads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use tiphys_model::{
    DestinationRule, Fingerprint, Host, Labels, Marked, Mesh, Service, Str, TrafficPolicy, Visibility, labels_match,
};

/// Rules by host.
#[derive(Debug, Default)]
struct ByHost {
    exact: HashMap<Host, Vec<Marked<DestinationRule>>>,
    /// The most specific (longest) first.
    wildcards: Vec<(Host, Vec<Marked<DestinationRule>>)>,
}

/// All rules.
#[derive(Debug, Default)]
pub struct DestinationRules {
    /// What the clients of a namespace see of its own rules.
    own: BTreeMap<Str, ByHost>,
    /// What a namespace lets others see.
    exported: BTreeMap<Str, ByHost>,
    /// Rules of the root namespace that are for its own clients only.
    root_private: ByHost,
    root: Str,
    default_export: Visibility,
    selecting: bool,
    fingerprint: Fingerprint,
    reads: ClientReads,
    /// Some rule is exported to named namespaces.
    restricted: bool,
    duplicates: BTreeSet<(Host, Str)>,
}

/// What of a client some rule makes its configuration depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientReads {
    /// Its labels (workload selectors, failover priorities).
    pub labels: bool,
    /// Its locality (balancing by locality; outlier detection switches failover on).
    pub place: bool,
}

impl ClientReads {
    fn add(&mut self, rule: &DestinationRule) {
        let policies = rule.policy.iter().chain(rule.subsets.iter().filter_map(|subset| subset.policy.as_ref()));
        let parts = policies.flat_map(|policy| {
            let ports = policy.ports.values().map(|port| (&port.load_balancer, &port.outlier_detection));
            std::iter::once((&policy.load_balancer, &policy.outlier_detection)).chain(ports)
        });
        for (balancer, outlier) in parts {
            let locality = balancer.as_ref().and_then(|balancer| balancer.locality.as_ref());
            let zones = balancer.as_ref().and_then(|balancer| balancer.zone_aware.as_ref());
            self.place |= outlier.is_some() || locality.is_some() || zones.is_some();
            self.labels |= locality.is_some_and(|locality| !locality.failover_priority.is_empty());
            self.labels |= zones.is_some_and(|zones| !zones.failover_priority.is_empty());
        }
        self.labels |= rule.workload_selector.is_some();
    }
}

impl DestinationRules {
    /// Merges rules, given in the order of precedence.
    pub fn build(rules: &Marked<Vec<Marked<DestinationRule>>>, mesh: &Mesh) -> Self {
        let default = &mesh.default_destination_rule_export;
        let mut built = Self {
            root: mesh.root_namespace.clone(),
            default_export: default.clone(),
            selecting: rules.iter().any(|rule| rule.workload_selector.is_some()),
            fingerprint: Fingerprint::of(&(rules, &mesh.root_namespace, default)),
            ..Self::default()
        };
        // Those for single workloads first: others are never merged into them.
        let (selecting, general): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.workload_selector.is_some());
        let mut own: BTreeMap<Str, Building> = BTreeMap::new();
        let mut exported: BTreeMap<Str, Building> = BTreeMap::new();
        let mut root_private = Building::default();
        for rule in selecting.into_iter().chain(general) {
            built.reads.add(rule);
            built.restricted |= matches!(rule.export_to, Visibility::Namespaces(_));
            if in_own_namespace(rule) {
                own.entry(rule.namespace.clone()).or_default().add(rule);
            }
            if !is_private(rule, default) {
                exported.entry(rule.namespace.clone()).or_default().add(rule);
            } else if rule.namespace == built.root {
                root_private.add(rule);
            }
        }
        let all = own.values().chain(exported.values()).chain([&root_private]);
        built.duplicates = all.flat_map(|building| building.duplicates.iter().cloned()).collect();
        let finish = |rules: BTreeMap<Str, Building>| rules.into_iter().map(|(name, r)| (name, r.finish())).collect();
        built.own = finish(own);
        built.exported = finish(exported);
        built.root_private = root_private.finish();
        built
    }

    /// What of a client some rule reads.
    pub fn client_reads(&self) -> ClientReads {
        self.reads
    }

    /// Whether clients of a namespace may find other rules than those of a namespace that has none.
    pub fn tells_apart(&self, namespace: &str) -> bool {
        self.restricted || *namespace == *self.root || self.own.contains_key(namespace)
    }

    /// Subsets of a host that several rules declare, of which the oldest rule's counts.
    pub fn duplicate_subsets(&self) -> impl Iterator<Item = &(Host, Str)> {
        self.duplicates.iter()
    }

    /// Whether a rule of this namespace declares a subset of a host.
    pub fn declares(&self, namespace: &str, host: &Host, subset: &str) -> bool {
        let root = (*namespace == *self.root).then_some(&self.root_private);
        let all = [self.own.get(namespace), self.exported.get(namespace), root];
        let rules = all.into_iter().flatten().filter_map(|rules| rules.get(host)).flatten();
        rules.into_iter().any(|rule| rule.subset(subset).is_some())
    }

    /// Stands for all rules.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether any rule is for single workloads, so that the labels of clients matter.
    pub fn asks_for_labels(&self) -> bool {
        self.selecting
    }

    /// The rule for a service that counts for outbound traffic of a workload.
    pub fn outbound(&self, client: &str, labels: &Labels, service: &Service) -> Option<&Marked<DestinationRule>> {
        self.find(client, service, |rule| {
            *rule.namespace == *client
                && rule.workload_selector.as_ref().is_some_and(|selector| labels_match(selector, labels))
        })
    }

    /// The rule for a service that counts for inbound traffic of the workloads of a namespace: never one for single workloads.
    pub fn inbound(&self, namespace: &str, service: &Service) -> Option<&Marked<DestinationRule>> {
        self.find(namespace, service, |_| false)
    }

    fn find(
        &self,
        client: &str,
        service: &Service,
        selects: impl Fn(&DestinationRule) -> bool,
    ) -> Option<&Marked<DestinationRule>> {
        let rules = self.candidates(client, service);
        rules
            .iter()
            .find(|rule| selects(rule))
            .or_else(|| rules.iter().rfind(|rule| rule.workload_selector.is_none()))
            .copied()
    }

    /// The rules of the first namespace that has some for the host.
    fn candidates(&self, client: &str, service: &Service) -> Vec<&Marked<DestinationRule>> {
        // The root namespace's rules are for the whole mesh: for its own clients those of the service go before them, too.
        let own = if *client == *self.root { Some(&self.root_private) } else { self.own.get(client) };
        if let Some(found) = own.and_then(|rules| rules.get(&service.host)) {
            return found.iter().collect();
        }
        for namespace in [&service.namespace, &self.root] {
            let exported = self.exported.get(namespace).and_then(|rules| rules.get(&service.host));
            let seen: Vec<_> = exported
                .into_iter()
                .flatten()
                .filter(|rule| rule.export_to.allows(&rule.namespace, client, &self.default_export))
                .collect();
            if !seen.is_empty() {
                return seen;
            }
        }
        Vec::new()
    }
}

/// Whether clients of the rule's own namespace see it.
fn in_own_namespace(rule: &DestinationRule) -> bool {
    rule.export_to.allows(&rule.namespace, &rule.namespace, &Visibility::Public)
}

/// Whether nobody but clients of its own namespace sees it.
fn is_private(rule: &DestinationRule, default: &Visibility) -> bool {
    match &rule.export_to {
        Visibility::Private => true,
        Visibility::Unset => *default == Visibility::Private,
        Visibility::Namespaces(names) => **names == [rule.namespace.clone()],
        Visibility::Public | Visibility::None => false,
    }
}

impl ByHost {
    fn get(&self, host: &Host) -> Option<&Vec<Marked<DestinationRule>>> {
        if let Some(found) = self.exact.get(host) {
            return Some(found);
        }
        self.wildcards.iter().find(|(wildcard, _)| host.subset_of(wildcard)).map(|(_, rules)| rules)
    }
}

/// Whether all namespaces that are named by `part` are named by `whole`.
fn covers(whole: &Visibility, part: &Visibility) -> bool {
    match (whole, part) {
        (Visibility::Namespaces(whole), Visibility::Namespaces(part)) => part.iter().all(|name| whole.contains(name)),
        _ => false,
    }
}

/// Rules by host while they are merged.
#[derive(Default)]
struct Building {
    rules: BTreeMap<Host, Vec<Merged>>,
    /// Subsets that are there twice.
    duplicates: BTreeSet<(Host, Str)>,
}

enum Merged {
    One(Marked<DestinationRule>),
    Several(Box<DestinationRule>),
}

impl Merged {
    fn rule(&self) -> &DestinationRule {
        match self {
            Self::One(rule) => rule,
            Self::Several(rule) => rule,
        }
    }
}

impl Building {
    /// Merges a rule into those for the same host that the same clients see and that are for the same workloads, or puts it beside them.
    fn add(&mut self, rule: &Marked<DestinationRule>) {
        let known = self.rules.entry(rule.host.clone()).or_default();
        let mut merged = false;
        for slot in known.iter_mut() {
            let first = slot.rule();
            let same = first.export_to == rule.export_to;
            if first.workload_selector != rule.workload_selector || !(same || covers(&rule.export_to, &first.export_to))
            {
                continue;
            }
            let twice = rule.subsets.iter().filter(|subset| first.subset(&subset.name).is_some());
            self.duplicates.extend(twice.map(|subset| (rule.host.clone(), subset.name.clone())));
            let mut rules = Box::new(first.clone());
            merge(&mut rules, rule);
            *slot = Merged::Several(rules);
            // One that more clients see stands for itself, too.
            merged |= same;
        }
        if !merged {
            known.push(Merged::One(rule.clone()));
        }
    }

    fn finish(self) -> ByHost {
        let mut by_host = ByHost::default();
        for (host, rules) in self.rules {
            let rules = rules
                .into_iter()
                .map(|merged| match merged {
                    Merged::One(rule) => rule,
                    Merged::Several(rule) => Marked::new(*rule),
                })
                .collect();
            if host.is_wildcard() {
                by_host.wildcards.push((host, rules));
            } else {
                by_host.exact.insert(host, rules);
            }
        }
        by_host.wildcards.sort_by(|(a, _), (b, _)| b.as_str().len().cmp(&a.as_str().len()).then_with(|| a.cmp(b)));
        by_host
    }
}

/// Adds a rule to one that goes before it: subsets of new names, and the policy where there is none. What a user wrote goes before what
/// a policy of the Gateway API says, whichever came first, and the two are merged field by field.
fn merge(into: &mut DestinationRule, rule: &DestinationRule) {
    for subset in &rule.subsets {
        if into.subset(&subset.name).is_none() {
            into.subsets.push(subset.clone());
        }
    }
    into.policy = match (into.policy.take(), rule.policy.clone()) {
        (None, policy) | (policy, None) => policy,
        (Some(first), Some(_)) if into.backend_policy == rule.backend_policy => Some(first),
        (Some(user), Some(backend)) if rule.backend_policy => Some(over(user, backend)),
        (Some(backend), Some(user)) => Some(over(user, backend)),
    };
}

/// The user's policy with its gaps filled.
fn over(user: TrafficPolicy, backend: TrafficPolicy) -> TrafficPolicy {
    let mut merged = backend;
    merged.override_with(&user);
    for (port, own) in user.ports {
        let slot = merged.ports.entry(port).or_default();
        let filled = std::mem::take(slot);
        *slot = tiphys_model::PortPolicy {
            load_balancer: own.load_balancer.or(filled.load_balancer),
            connection_pool: own.connection_pool.or(filled.connection_pool),
            outlier_detection: own.outlier_detection.or(filled.outlier_detection),
            tls: own.tls.or(filled.tls),
        };
    }
    merged
}

#[cfg(test)]
mod tests;
