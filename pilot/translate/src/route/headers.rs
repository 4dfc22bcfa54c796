// SPDX-License-Identifier: Apache-2.0
//! Header changes. The authority is not a header to Envoy: a change of it becomes a rewrite of the host.

use std::collections::BTreeMap;
use tiphys_model::{HeaderOperations, Headers, Str};
use tiphys_proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use tiphys_proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};

/// Header changes as Envoy has them.
#[derive(Default)]
pub(super) struct Changes {
    pub request_add: Vec<HeaderValueOption>,
    pub request_remove: Vec<String>,
    pub response_add: Vec<HeaderValueOption>,
    pub response_remove: Vec<String>,
    /// The authority that the request gets.
    pub authority: Option<Str>,
}

impl Changes {
    pub(super) fn of(headers: &Headers) -> Self {
        Self {
            request_add: additions(&headers.request),
            request_remove: removals(&headers.request),
            response_add: additions(&headers.response),
            response_remove: removals(&headers.response),
            authority: authority(&headers.request.set).or_else(|| authority(&headers.request.add)),
        }
    }
}

fn additions(operations: &HeaderOperations) -> Vec<HeaderValueOption> {
    let set = operations.set.iter().map(|pair| (pair, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = operations.add.iter().map(|pair| (pair, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add)
        .filter(|((key, _), _)| !is_internal(key))
        .map(|((key, value), how)| option(key, value, how))
        .collect()
}

/// A header with the way in which it is put in.
pub(super) fn option(key: &str, value: &str, how: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.into(), value: value.into(), ..HeaderValue::default() }),
        append_action: how.into(),
        ..HeaderValueOption::default()
    }
}

fn removals(operations: &HeaderOperations) -> Vec<String> {
    operations.remove.iter().filter(|key| !is_internal(key)).map(ToString::to_string).collect()
}

fn authority(map: &BTreeMap<Str, Str>) -> Option<Str> {
    let is_authority = |key: &str| key.eq_ignore_ascii_case(":authority") || key.eq_ignore_ascii_case("host");
    map.iter().rev().find(|(key, value)| is_authority(key) && !value.is_empty()).map(|(_, value)| value.clone())
}

/// Whether Envoy refuses changes of it.
fn is_internal(key: &str) -> bool {
    key.starts_with(':') || key.eq_ignore_ascii_case("host")
}
