// SPDX-License-Identifier: Apache-2.0
//! Label selectors of Kubernetes.

use std::collections::BTreeMap;

use tiphys_api::mesh::config::LabelSelector;

/// Whether labels fit a selector. The empty selector fits nothing here: it stands for a setting that was left open.
pub fn fits(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
        return false;
    }
    let expressions = selector.match_expressions.iter().all(|expression| {
        let value = labels.get(&expression.key);
        let listed = value.is_some_and(|value| expression.values.contains(value));
        match expression.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            // Refused by `check`.
            _ => false,
        }
    });
    expressions && selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Checks a selector before it is used.
///
/// # Errors
/// When an operator is not known.
pub fn check(selector: &LabelSelector) -> Result<(), String> {
    for (index, expression) in selector.match_expressions.iter().enumerate() {
        if !matches!(expression.operator.as_str(), "In" | "NotIn" | "Exists" | "DoesNotExist") {
            return Err(format!(
                "matchExpressions[{index}].operator: {:?} is no operator: use In, NotIn, Exists or DoesNotExist",
                expression.operator
            ));
        }
    }
    Ok(())
}
