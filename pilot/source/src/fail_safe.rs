// SPDX-License-Identifier: Apache-2.0
//! What stands in for a security policy that cannot be understood: a policy that lets nothing through where it would have applied.

use std::sync::Arc;

use tiphys_api::istio::security::authorization_policy::{Action, AuthorizationPolicy, Rule};
use tiphys_api::istio::security::peer_authentication::{MutualTls, MutualTlsMode, PeerAuthentication};
use tiphys_api::{Key, Kind, Meta, Object, Spec};

use crate::Change;

/// What a change puts in force, in order: for most the object itself. A change with [`Change::rejected`] denies: an AuthorizationPolicy denies
/// all of what it selects, a PeerAuthentication asks for mutual TLS, and a RequestAuthentication, which could only let more through, is
/// replaced by an AuthorizationPolicy that denies. What the object selects is kept where it can be read; else all of its namespace is meant.
pub fn in_force(change: &Change) -> Vec<(Key, Option<Arc<Object>>)> {
    let Key { kind, namespace, name } = change.key.clone();
    let denied = change.rejected.is_some();
    let own = change.object.clone().filter(|_| !denied);
    let meta = || change.object.as_ref().map_or_else(|| Meta::named(&namespace, &name), |o| o.meta.clone());
    let spec = change.object.as_ref().map(|object| &object.spec);
    match kind {
        Kind::AuthorizationPolicy if denied => {
            let policy = match spec {
                Some(Spec::AuthorizationPolicy(policy)) => deny_all(policy.clone()),
                _ => deny_all(AuthorizationPolicy::default()),
            };
            vec![(change.key.clone(), Some(Arc::new(Object::new(meta(), policy))))]
        }
        Kind::PeerAuthentication if denied => {
            let selector = match spec {
                Some(Spec::PeerAuthentication(policy)) => policy.selector.clone(),
                _ => None,
            };
            let mtls = Some(MutualTls { mode: MutualTlsMode::Strict });
            let policy = PeerAuthentication { selector, mtls, ..PeerAuthentication::default() };
            vec![(change.key.clone(), Some(Arc::new(Object::new(meta(), policy))))]
        }
        Kind::RequestAuthentication => {
            // The name is none that a user can give.
            let stand_in = Key {
                kind: Kind::AuthorizationPolicy,
                namespace: namespace.clone(),
                name: format!("{name}/request-authentication"),
            };
            let policy = denied.then(|| {
                let policy = match spec {
                    Some(Spec::RequestAuthentication(auth)) => AuthorizationPolicy {
                        selector: auth.selector.clone(),
                        target_ref: auth.target_ref.clone(),
                        target_refs: auth.target_refs.clone(),
                        ..AuthorizationPolicy::default()
                    },
                    _ => AuthorizationPolicy::default(),
                };
                let meta = Meta { name: stand_in.name.clone(), ..meta() };
                Arc::new(Object::new(meta, deny_all(policy)))
            });
            vec![(change.key.clone(), own), (stand_in, policy)]
        }
        _ => vec![(change.key.clone(), own)],
    }
}

fn deny_all(policy: AuthorizationPolicy) -> AuthorizationPolicy {
    // A rule without conditions matches everything.
    AuthorizationPolicy { action: Action::Deny, rules: vec![Rule::default()], provider: None, ..policy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Report, ReportId, read_documents};
    use std::path::Path;
    use tiphys_api::Origin;

    fn changes(kind: &str, spec: &str, rejected: bool, known: bool) -> Vec<(Key, Option<Arc<Object>>)> {
        let place: Arc<Path> = Arc::from(Path::new("a.yaml"));
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: a, namespace: n}}\nspec: {spec}\n"
        );
        let document = read_documents(&text, &place).documents.remove(0);
        let id = ReportId { place, key: Some(document.key.clone()), nth: 0 };
        let report = Report { id, origin: Origin::default(), problems: Vec::new(), outcome: Outcome::Denied };
        let object = document.object.unwrap_or_else(|o| o.unwrap());
        in_force(&Change {
            key: document.key,
            object: known.then_some(object),
            rejected: rejected.then(|| Arc::new(report)),
        })
    }

    fn text(object: &Option<Arc<Object>>) -> String {
        object.as_ref().unwrap().to_json().unwrap()["spec"].to_string()
    }

    #[test]
    fn a_good_object_is_itself() {
        let all = changes("AuthorizationPolicy", "{action: ALLOW}", false, true);
        assert_eq!((all.len(), all[0].1.as_ref().unwrap().meta.name.as_str()), (1, "a"));
        // A stand-in of before goes.
        let all = changes("RequestAuthentication", "{jwtRules: [{issuer: x}]}", false, true);
        assert!(all.len() == 2 && all[0].1.is_some() && all[1].1.is_none());
    }

    #[test]
    fn a_refused_policy_denies_what_it_selects() {
        let all = changes(
            "AuthorizationPolicy",
            "{selector: {matchLabels: {app: x}}, action: ALLOW, rules: [{when: [{key: no}]}]}",
            true,
            true,
        );
        assert_eq!(text(&all[0].1), r#"{"action":"DENY","rules":[{}],"selector":{"matchLabels":{"app":"x"}}}"#);
        let all = changes("AuthorizationPolicy", "{selector: {matchLabels: {app: x}}}", true, false);
        assert_eq!(text(&all[0].1), r#"{"action":"DENY","rules":[{}]}"#);
        let all =
            changes("PeerAuthentication", "{selector: {matchLabels: {app: x}}, mtls: {mode: DISABLE}}", true, true);
        assert_eq!(text(&all[0].1), r#"{"mtls":{"mode":"STRICT"},"selector":{"matchLabels":{"app":"x"}}}"#);
        let all = changes(
            "RequestAuthentication",
            "{selector: {matchLabels: {app: x}}, jwtRules: [{issuer: ''}]}",
            true,
            true,
        );
        assert!(all[0].1.is_none());
        assert_eq!(all[1].0.kind, Kind::AuthorizationPolicy);
        assert_eq!(text(&all[1].1), r#"{"action":"DENY","rules":[{}],"selector":{"matchLabels":{"app":"x"}}}"#);
    }
}
