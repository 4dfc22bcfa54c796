// SPDX-License-Identifier: Apache-2.0
//! Ejection of endpoints that fail. Success rates are never used: what counts is failures in a row.

use tiphys_model::OutlierDetection;
use tiphys_proto::envoy::config::cluster::v3 as envoy;
use tiphys_proto::{duration, uint32};

/// The cluster's outlier detection.
pub(super) fn detection(settings: &OutlierDetection) -> envoy::OutlierDetection {
    let enforced = |errors: Option<u32>| errors.and_then(|errors| uint32(if errors > 0 { 100 } else { 0 }));
    let split = settings.split_local_origin;
    let local = (split && settings.consecutive_local_origin > 0).then_some(settings.consecutive_local_origin);
    envoy::OutlierDetection {
        enforcing_success_rate: uint32(0),
        consecutive_5xx: settings.consecutive_5xx.and_then(uint32),
        enforcing_consecutive_5xx: enforced(settings.consecutive_5xx),
        consecutive_gateway_failure: settings.consecutive_gateway.and_then(uint32),
        enforcing_consecutive_gateway_failure: enforced(settings.consecutive_gateway),
        interval: settings.interval.and_then(duration),
        base_ejection_time: settings.base_ejection_time.and_then(duration),
        max_ejection_percent: (settings.max_ejection_percent > 0)
            .then_some(settings.max_ejection_percent)
            .and_then(uint32),
        split_external_local_origin_errors: split,
        consecutive_local_origin_failure: local.and_then(uint32),
        enforcing_consecutive_local_origin_failure: enforced(local),
        enforcing_local_origin_success_rate: if split { uint32(0) } else { None },
        ..envoy::OutlierDetection::default()
    }
}
