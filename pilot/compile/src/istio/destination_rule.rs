// SPDX-License-Identifier: Apache-2.0
//! Lowering of DestinationRules.

use super::traffic_policy;
use crate::LowerContext;
use crate::lower::labels;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{DestinationRule, Host, Subset, Visibility};

/// A DestinationRule in the words of the model.
pub(crate) fn lower(object: &Object, cx: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<DestinationRule> {
    let Spec::DestinationRule(spec) = &object.spec else { return None };
    let meta = &object.meta;
    let workload_selector = spec.workload_selector.as_ref().map(|selector| labels(&selector.match_labels));
    let subsets = spec
        .subsets
        .iter()
        .enumerate()
        .map(|(index, subset)| Subset {
            name: subset.name.as_str().into(),
            labels: labels(&subset.labels),
            policy: subset.traffic_policy.as_ref().map(|policy| {
                traffic_policy::policy(policy, &format!("spec.subsets[{index}].trafficPolicy"), problems)
            }),
        })
        .collect();
    Some(DestinationRule {
        name: meta.name.as_str().into(),
        namespace: meta.namespace.as_str().into(),
        creation: meta.creation,
        host: Host::resolve(&spec.host, &meta.namespace, &cx.mesh.short_name_domain),
        // A rule for some workloads is for those of its own namespace.
        export_to: match &workload_selector {
            Some(_) => Visibility::Private,
            None => Visibility::from_list(&spec.export_to),
        },
        workload_selector,
        policy: spec
            .traffic_policy
            .as_ref()
            .map(|policy| traffic_policy::policy(policy, "spec.trafficPolicy", problems)),
        subsets,
        backend_policy: false,
    })
}
