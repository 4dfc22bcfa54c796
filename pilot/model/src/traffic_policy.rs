// SPDX-License-Identifier: Apache-2.0
//! Which policy counts: a rule's, its port's, its subset's, and the mesh's defaults below them.
//!
//! Port-level settings inherit nothing from what is around them; a subset overrides what it sets, and its own port-level settings
//! replace the host's as a whole; the mesh's defaults fill what the host's policy leaves open.

use crate::{ClientTlsMode, DestinationRule, Subset, TrafficDefaults, TrafficPolicy};
use std::borrow::Cow;

impl TrafficPolicy {
    /// The policy of a port: what its port-level settings say, which inherit nothing, else the policy itself.
    fn of_port(&self, port: u32) -> (Cow<'_, Self>, bool) {
        match self.ports.get(&port) {
            None => (Cow::Borrowed(self), false),
            Some(own) => {
                let policy = Self {
                    load_balancer: own.load_balancer.clone(),
                    connection_pool: own.connection_pool.clone(),
                    outlier_detection: own.outlier_detection.clone(),
                    tls: own.tls.clone(),
                    ..Self::default()
                };
                (Cow::Owned(policy), true)
            }
        }
    }

    /// Puts the fields that are set in `over` in the place of its own.
    pub fn override_with(&mut self, over: &Self) {
        self.replace(over, false);
        if over.proxy_protocol.is_some() {
            self.proxy_protocol = over.proxy_protocol;
        }
        if over.retry_budget.is_some() {
            self.retry_budget.clone_from(&over.retry_budget);
        }
    }

    fn replace(&mut self, over: &Self, all: bool) {
        if all || over.load_balancer.is_some() {
            self.load_balancer.clone_from(&over.load_balancer);
        }
        if all || over.connection_pool.is_some() {
            self.connection_pool.clone_from(&over.connection_pool);
        }
        if all || over.outlier_detection.is_some() {
            self.outlier_detection.clone_from(&over.outlier_detection);
        }
        if all || over.tls.is_some() {
            self.tls.clone_from(&over.tls);
        }
    }

    /// The TLS mode that a port's settings or the policy itself ask for.
    fn tls_mode(&self, port: u32) -> Option<ClientTlsMode> {
        let of_port = self.ports.get(&port).and_then(|own| own.tls.as_ref());
        of_port.or(self.tls.as_ref()).map(|tls| tls.mode)
    }
}

impl TrafficDefaults {
    /// What counts for a port of a host, or of a subset of it, under the rule for the host if there is one.
    pub fn policy<'a>(
        &self,
        rule: Option<&'a DestinationRule>,
        port: u32,
        subset: Option<&str>,
    ) -> Option<Cow<'a, TrafficPolicy>> {
        let whole = rule.and_then(|rule| rule.policy.as_ref()).map(|policy| policy.of_port(port).0);
        let whole = self.fill(whole);
        match rule {
            Some(rule) => rule.with_subset(whole, port, subset),
            None => whole,
        }
    }

    fn fill<'a>(&self, policy: Option<Cow<'a, TrafficPolicy>>) -> Option<Cow<'a, TrafficPolicy>> {
        let lacks = |has: Option<bool>| !has.unwrap_or(false);
        let pool = self.connection_pool.is_some() && lacks(policy.as_ref().map(|p| p.connection_pool.is_some()));
        let outlier = self.outlier_detection.is_some() && lacks(policy.as_ref().map(|p| p.outlier_detection.is_some()));
        if !pool && !outlier {
            return policy;
        }
        let mut filled = policy.map(Cow::into_owned).unwrap_or_default();
        if pool {
            filled.connection_pool.clone_from(&self.connection_pool);
        }
        if outlier {
            filled.outlier_detection.clone_from(&self.outlier_detection);
        }
        Some(Cow::Owned(filled))
    }
}

impl DestinationRule {
    /// The subset of a name.
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| &*subset.name == name)
    }

    /// What counts for a port of the host, or of a subset of it.
    pub fn policy(&self, port: u32, subset: Option<&str>) -> Option<Cow<'_, TrafficPolicy>> {
        let whole = self.policy.as_ref().map(|policy| policy.of_port(port).0);
        self.with_subset(whole, port, subset)
    }

    fn with_subset<'a>(
        &'a self,
        whole: Option<Cow<'a, TrafficPolicy>>,
        port: u32,
        subset: Option<&str>,
    ) -> Option<Cow<'a, TrafficPolicy>> {
        let Some(part) = subset.and_then(|name| self.subset(name)).and_then(|subset| subset.policy.as_ref()) else {
            return whole;
        };
        let (part, by_port) = part.of_port(port);
        let Some(whole) = whole else { return Some(part) };
        let mut merged = whole.into_owned();
        merged.replace(&part, by_port);
        if !by_port {
            merged.override_with(&part);
        }
        Some(Cow::Owned(merged))
    }

    /// The TLS mode that was written for a port of the host or of a subset, which decides for endpoints whatever they say.
    pub fn tls_mode(&self, port: u32, subset: Option<&str>) -> Option<ClientTlsMode> {
        let whole = || self.policy.as_ref().and_then(|policy| policy.tls_mode(port));
        match subset {
            None => whole(),
            // A subset that is not there has no endpoints either.
            Some(name) => self.subset(name)?.policy.as_ref().and_then(|policy| policy.tls_mode(port)).or_else(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientTls, Labels, OutlierDetection, PortPolicy, Visibility};
    use std::collections::BTreeMap;

    fn rule(policy: TrafficPolicy, subset: TrafficPolicy) -> DestinationRule {
        DestinationRule {
            name: "r".into(),
            namespace: "ns".into(),
            creation: 0,
            host: "a.ns.svc.cluster.local".into(),
            export_to: Visibility::Unset,
            workload_selector: None,
            policy: Some(policy),
            subsets: vec![Subset { name: "v1".into(), labels: Labels::new(), policy: Some(subset) }],
            backend_policy: false,
        }
    }

    fn tls(mode: ClientTlsMode) -> Option<ClientTls> {
        Some(ClientTls { mode, ..ClientTls::default() })
    }

    fn outlier() -> Option<OutlierDetection> {
        Some(OutlierDetection { consecutive_5xx: Some(5), ..OutlierDetection::default() })
    }

    #[test]
    fn port_settings_inherit_nothing() {
        let port = PortPolicy { tls: tls(ClientTlsMode::Simple), ..PortPolicy::default() };
        let whole = TrafficPolicy {
            outlier_detection: outlier(),
            ports: BTreeMap::from([(80, port)]),
            ..TrafficPolicy::default()
        };
        let rule = rule(whole, TrafficPolicy::default());
        let policy = rule.policy(80, None).unwrap();
        assert_eq!(
            (policy.outlier_detection.as_ref(), policy.tls.as_ref().unwrap().mode),
            (None, ClientTlsMode::Simple)
        );
        assert!(rule.policy(81, None).unwrap().outlier_detection.is_some());
    }

    #[test]
    fn a_subset_overrides_what_it_sets() {
        let whole =
            TrafficPolicy { outlier_detection: outlier(), tls: tls(ClientTlsMode::Simple), ..TrafficPolicy::default() };
        let part = TrafficPolicy { tls: tls(ClientTlsMode::Disable), ..TrafficPolicy::default() };
        let rule = rule(whole, part);
        let policy = rule.policy(80, Some("v1")).unwrap();
        assert_eq!(policy.tls.as_ref().unwrap().mode, ClientTlsMode::Disable);
        assert!(policy.outlier_detection.is_some());
        assert_eq!(rule.tls_mode(80, Some("v1")), Some(ClientTlsMode::Disable));
        assert_eq!(rule.tls_mode(80, None), Some(ClientTlsMode::Simple));
        assert_eq!(rule.tls_mode(80, Some("none")), None);
    }

    #[test]
    fn port_settings_of_a_subset_replace_the_hosts() {
        let whole =
            TrafficPolicy { outlier_detection: outlier(), tls: tls(ClientTlsMode::Simple), ..TrafficPolicy::default() };
        let part = TrafficPolicy { ports: BTreeMap::from([(80, PortPolicy::default())]), ..TrafficPolicy::default() };
        let rule = rule(whole, part);
        assert_eq!(rule.policy(80, Some("v1")).unwrap().into_owned(), TrafficPolicy::default());
        assert!(rule.policy(81, Some("v1")).unwrap().tls.is_some());
    }
}
