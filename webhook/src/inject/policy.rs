// SPDX-License-Identifier: Apache-2.0
//! Whether a pod is injected. Which pods are asked about at all, by namespace and revision, is in the selectors of the
//! MutatingWebhookConfiguration; this is what remains
//! (<https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy>).

use serde_json::Value as Json;
use tiphys_api::names::annotation;

use super::config::InjectionConfig;
use super::{pod, selector};

/// Kubernetes' own namespaces: nothing in them is injected.
pub const KUBERNETES_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Why a pod is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It uses the node's network: capturing its traffic would capture the node's.
    HostNetwork,
    /// It is in a namespace of Kubernetes.
    Namespace,
    /// Its label or annotation sidecar.istio.io/inject says no.
    Refused,
    /// A neverInjectSelector names it.
    Never,
    /// Pods that say nothing are not injected.
    Policy,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::HostNetwork => "it has host networking enabled",
            Self::Namespace => "it is in a namespace of Kubernetes",
            Self::Refused => "it has sidecar injection disabled by sidecar.istio.io/inject",
            Self::Never => "a neverInjectSelector names it",
            Self::Policy => "pods that do not ask for it are not injected",
        })
    }
}

/// Whether a pod is to be injected, or why it is not.
pub fn decide(config: &InjectionConfig, pod: &Json, namespace: &str) -> Result<(), Skipped> {
    if pod["spec"]["hostNetwork"] == true {
        return Err(Skipped::HostNetwork);
    }
    if KUBERNETES_NAMESPACES.contains(&namespace) {
        return Err(Skipped::Namespace);
    }
    let labels = pod::texts(&pod["metadata"]["labels"]);
    // The label goes before the annotation, which is older.
    let said = labels.get(annotation::INJECT).map(String::as_str).or_else(|| pod::annotation(pod, annotation::INJECT));
    match said {
        Some("true") => return Ok(()),
        Some("false") => return Err(Skipped::Refused),
        None | Some("") => {}
        Some(other) => {
            let shown = pod::shown(pod, namespace);
            tracing::warn!(
                target: "webhook",
                "Pod {shown}: {}: {other:?} is neither true nor false: it has no effect", annotation::INJECT
            );
        }
    }
    if config.never.iter().any(|selector| selector::fits(selector, &labels)) {
        return Err(Skipped::Never);
    }
    if config.always.iter().any(|selector| selector::fits(selector, &labels)) || config.enabled {
        return Ok(());
    }
    Err(Skipped::Policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asks(policy: &str, pod: Json) -> Result<(), Skipped> {
        let selectors = "neverInjectSelector: [{matchLabels: {never: y}}, {}]\nalwaysInjectSelector: [{matchExpressions: [{key: always, operator: Exists}]}]";
        decide(&InjectionConfig::parse(&format!("policy: {policy}\n{selectors}")).unwrap(), &pod, "default")
    }

    #[test]
    fn the_label_goes_first_then_selectors_then_the_policy() {
        let labelled = |labels: Json| json!({"metadata": {"labels": labels}});
        assert_eq!(asks("enabled", labelled(json!({}))), Ok(()));
        assert_eq!(asks("disabled", labelled(json!({}))), Err(Skipped::Policy));
        assert_eq!(asks("disabled", labelled(json!({"sidecar.istio.io/inject": "true"}))), Ok(()));
        assert_eq!(asks("enabled", labelled(json!({"sidecar.istio.io/inject": "false"}))), Err(Skipped::Refused));
        assert_eq!(asks("enabled", labelled(json!({"sidecar.istio.io/inject": "maybe"}))), Ok(()));
        assert_eq!(asks("enabled", labelled(json!({"never": "y", "always": "y"}))), Err(Skipped::Never));
        assert_eq!(asks("disabled", labelled(json!({"always": "y"}))), Ok(()));
        assert_eq!(asks("enabled", labelled(json!({"never": "y", "sidecar.istio.io/inject": "true"}))), Ok(()));
        let both = json!({"metadata": {
            "labels": {"sidecar.istio.io/inject": "true"}, "annotations": {"sidecar.istio.io/inject": "false"}
        }});
        assert_eq!(asks("enabled", both), Ok(()));
        let annotated = json!({"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}});
        assert_eq!(asks("enabled", annotated), Err(Skipped::Refused));
    }

    #[test]
    fn the_nodes_network_and_kubernetes_itself_are_left_alone() {
        let forced =
            json!({"metadata": {"labels": {"sidecar.istio.io/inject": "true"}}, "spec": {"hostNetwork": true}});
        assert_eq!(asks("enabled", forced.clone()), Err(Skipped::HostNetwork));
        let config = InjectionConfig::parse("policy: enabled").unwrap();
        assert_eq!(decide(&config, &json!({}), "kube-system"), Err(Skipped::Namespace));
    }
}
