// SPDX-License-Identifier: Apache-2.0
//! Retry policies: what was asked for, else the default of the mesh, else two more attempts at other endpoints when the first cannot have
//! done anything.

use tiphys_model::{Retries, Str};
use tiphys_proto::envoy::config::route::v3::{RetryPolicy, retry_policy};
use tiphys_proto::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use tiphys_proto::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use tiphys_proto::{duration, to_any, uint32};

const OUTBOUND: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// A request that was reset before it reached the application was never worked on: retrying it is always safe.
const INBOUND: &str = "reset-before-request";
const BY_CODE: &str = "retriable-status-codes";

/// The policy of a route to services. Where requests are spread by a hash, other endpoints are no substitute.
pub(super) fn outbound(retries: Option<&Retries>, hashed: bool) -> Option<RetryPolicy> {
    let default = Retries { attempts: 2, ..Retries::default() };
    let retries = retries.unwrap_or(&default);
    if retries.attempts == 0 {
        return None;
    }
    let predicate = retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".into(),
        config_type: Some(retry_policy::retry_host_predicate::ConfigType::TypedConfig(to_any(
            &PreviousHostsPredicate::default(),
        ))),
    };
    let elsewhere = retries.ignore_previous_hosts.unwrap_or(!hashed);
    Some(RetryPolicy {
        host_selection_retry_max_attempts: 5,
        retry_host_predicate: if elsewhere { vec![predicate] } else { Vec::new() },
        per_try_timeout: retries.per_try_timeout.and_then(duration),
        retry_priority: retries.remote_localities.then(previous_priorities),
        ..policy(retries, OUTBOUND)
    })
}

/// The policy of a route to the application beside the proxy.
pub(super) fn inbound(retries: Option<&Retries>) -> Option<RetryPolicy> {
    let default = Retries { attempts: 2, ..Retries::default() };
    let retries = retries.unwrap_or(&default);
    (retries.attempts > 0).then(|| policy(retries, INBOUND))
}

fn policy(retries: &Retries, default: &str) -> RetryPolicy {
    let (retry_on, retriable_status_codes) = conditions(&retries.retry_on, default);
    RetryPolicy {
        num_retries: uint32(retries.attempts),
        retry_on,
        retriable_status_codes,
        retry_back_off: retries
            .backoff
            .map(|backoff| retry_policy::RetryBackOff { base_interval: duration(backoff), max_interval: None }),
        ..RetryPolicy::default()
    }
}

/// Conditions and status codes, which stand in one list.
fn conditions(text: &Str, default: &str) -> (String, Vec<u32>) {
    if text.is_empty() {
        return (default.into(), Vec::new());
    }
    let mut codes = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<u32>() {
            Ok(code) if (100..600).contains(&code) => codes.push(code),
            _ => names.push(part),
        }
    }
    let listed = names.iter().any(|name| name.contains(BY_CODE));
    let mut joined = names.join(",");
    if !codes.is_empty() && !listed {
        joined = format!("{joined},{BY_CODE}");
    }
    (joined, codes)
}

fn previous_priorities() -> retry_policy::RetryPriority {
    let config = PreviousPrioritiesConfig { update_frequency: 2 };
    retry_policy::RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".into(),
        config_type: Some(retry_policy::retry_priority::ConfigType::TypedConfig(to_any(&config))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_from_conditions() {
        let of = |text: &str| conditions(&text.into(), OUTBOUND);
        assert_eq!(of("5xx, 503,reset"), ("5xx,reset,retriable-status-codes".into(), vec![503]));
        assert_eq!(of("retriable-status-codes,429").0, "retriable-status-codes");
        assert_eq!(of(""), (OUTBOUND.into(), vec![]));
    }

    #[test]
    fn no_attempts_is_no_policy() {
        assert_eq!(outbound(Some(&Retries::default()), false), None);
        assert_eq!(outbound(None, false).unwrap().retry_host_predicate.len(), 1);
        assert!(outbound(None, true).unwrap().retry_host_predicate.is_empty());
    }
}
