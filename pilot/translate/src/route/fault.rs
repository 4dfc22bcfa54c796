// SPDX-License-Identifier: Apache-2.0
//! Faults that are injected on purpose.

use tiphys_model::{AbortStatus, Fault, Share};
use tiphys_proto::duration;
use tiphys_proto::envoy::config::core::v3::RuntimeFractionalPercent;
use tiphys_proto::envoy::extensions::filters::common::fault::v3::{FaultDelay, fault_delay};
use tiphys_proto::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault, fault_abort};
use tiphys_proto::envoy::r#type::v3::FractionalPercent;
use tiphys_proto::envoy::r#type::v3::fractional_percent::DenominatorType;

/// The fault filter's configuration for one route.
pub(super) fn fault(fault: &Fault) -> HttpFault {
    HttpFault {
        delay: fault.delay.as_ref().map(|delay| FaultDelay {
            percentage: Some(fraction(delay.share)),
            fault_delay_secifier: duration(delay.fixed).map(fault_delay::FaultDelaySecifier::FixedDelay),
        }),
        abort: fault.abort.as_ref().map(|abort| FaultAbort {
            percentage: abort.share.map(fraction),
            error_type: Some(match abort.status {
                AbortStatus::Http(status) => fault_abort::ErrorType::HttpStatus(status),
                AbortStatus::Grpc(status) => fault_abort::ErrorType::GrpcStatus(status),
            }),
            ..FaultAbort::default()
        }),
        ..HttpFault::default()
    }
}

/// A share of requests as Envoy has it.
pub(super) fn fraction(share: Share) -> FractionalPercent {
    match share {
        Share::Percent(numerator) => FractionalPercent { numerator, denominator: DenominatorType::Hundred.into() },
        Share::Millionths(numerator) => FractionalPercent { numerator, denominator: DenominatorType::Million.into() },
    }
}

/// The same, where Envoy would let an operator override it at run time.
pub(super) fn runtime_fraction(share: Share) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent { default_value: Some(fraction(share)), runtime_key: String::new() }
}
