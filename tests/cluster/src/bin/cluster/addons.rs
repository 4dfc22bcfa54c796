// SPDX-License-Identifier: Apache-2.0
//! What runs in every cluster: its DNS.

use crate::images::COREDNS;
use crate::plan::Plan;
use crate::up::Kubectl;
use anyhow::Result;

const COREDNS_YAML: &str = include_str!("coredns.yaml");

/// Applies it.
///
/// # Errors
/// When kubectl fails.
pub fn apply(plan: &Plan, kubectl: &Kubectl<'_>) -> Result<()> {
    kubectl.apply(&COREDNS_YAML.replace("DNS_IP", &plan.dns_ip().to_string()).replace("IMAGE", COREDNS))
}
