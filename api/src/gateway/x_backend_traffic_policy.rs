// SPDX-License-Identifier: Apache-2.0
//! XBackendTrafficPolicy: retry budgets and session persistence of a backend.

use serde::{Deserialize, Serialize};

use super::common::{LocalObjectReference, SessionPersistence};
use crate::value::Duration;

/// How traffic to a backend behaves. <https://gateway-api.sigs.k8s.io/geps/gep-3388/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XBackendTrafficPolicy {
    /// The backends, in the policy's namespace.
    pub target_refs: Vec<LocalObjectReference>,
    /// Bounds retries.
    pub retry_constraint: Option<RetryConstraint>,
    /// Binds a client to one endpoint.
    pub session_persistence: Option<SessionPersistence>,
}

/// Bounds retries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryConstraint {
    /// How many of the requests may be retries.
    pub budget: Option<BudgetDetails>,
    /// How many retries are always allowed; unset means 10 a second.
    pub min_retry_rate: Option<RequestRate>,
}

/// A share of the requests of an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetDetails {
    /// The share; unset means 20 percent.
    pub percent: Option<i32>,
    /// The interval; unset means 10 seconds.
    pub interval: Option<Duration>,
}

/// Requests in an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestRate {
    /// How many.
    pub count: Option<i32>,
    /// In how long.
    pub interval: Option<Duration>,
}
