// SPDX-License-Identifier: Apache-2.0
//! Kubernetes' label selectors, which MeshConfig and the Gateway API have in common.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Kubernetes label selector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must be there with this value.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions; all must hold.
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One condition of a label selector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelectorRequirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values that `In` and `NotIn` speak of.
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether labels fulfil all conditions; a selector without conditions selects everything. A condition with an operator that is none
    /// selects nothing. See
    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements>.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|condition| condition.holds(labels))
    }
}

impl LabelSelectorRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_expressions() {
        let labels = BTreeMap::from([("mesh".to_owned(), "on".to_owned()), ("team".to_owned(), "a".to_owned())]);
        let with = |operator: &str, key: &str, values: &[&str]| LabelSelector {
            match_labels: BTreeMap::from([("mesh".to_owned(), "on".to_owned())]),
            match_expressions: vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: values.iter().map(|v| (*v).to_owned()).collect(),
            }],
        };
        assert!(LabelSelector::default().matches(&labels));
        assert!(with("In", "team", &["a", "b"]).matches(&labels));
        assert!(!with("In", "team", &["b"]).matches(&labels));
        assert!(!with("In", "none", &["b"]).matches(&labels));
        assert!(with("NotIn", "none", &["b"]).matches(&labels));
        assert!(!with("NotIn", "team", &["a"]).matches(&labels));
        assert!(with("Exists", "team", &[]).matches(&labels) && !with("DoesNotExist", "team", &[]).matches(&labels));
        assert!(!with("Like", "team", &["a"]).matches(&labels));
        assert!(!with("Exists", "team", &[]).matches(&BTreeMap::new()));
    }
}
