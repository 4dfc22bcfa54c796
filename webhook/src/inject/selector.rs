// SPDX-License-Identifier: Apache-2.0
//! Label selectors of Kubernetes.

use std::collections::BTreeMap;

use tiphys_api::LabelSelector;

/// Whether labels fit a selector. The empty selector fits nothing here: it stands for a setting that was left open.
pub fn fits(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    *selector != LabelSelector::default() && selector.matches(labels)
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
