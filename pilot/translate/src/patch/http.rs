// SPDX-License-Identifier: Apache-2.0
//! HTTP filters in connection managers.

use super::Patcher;
use super::filters::{is_named, merge_config, rename};
use super::listeners::of;
use super::place::place;
use prost::Message;
use tiphys_model::{Patch, PatchOperation};
use tiphys_proto::envoy::config::listener::v3::{Filter, filter};
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use tiphys_proto::to_any;

const MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// Changes the connection manager that a network filter is; any other filter is left as it is.
pub(super) fn in_manager(network: &mut Filter, change: impl FnOnce(&mut HttpConnectionManager)) {
    if network.name != MANAGER {
        return;
    }
    let Some(filter::ConfigType::TypedConfig(config)) = &mut network.config_type else { return };
    let Ok(mut manager) = HttpConnectionManager::decode(&config.value[..]) else { return };
    change(&mut manager);
    *config = to_any(&manager);
}

/// The HTTP filter that a patch means.
fn wanted(patch: &Patch) -> Option<&str> {
    of(patch)?.chain.as_ref()?.sub_filter.as_deref()
}

/// Patches the HTTP filters of a connection manager: all are put in their places, then merged into.
pub(super) fn patch(patcher: &mut Patcher<'_>, patches: &[&Patch], list: &mut Vec<HttpFilter>) {
    for patch in patches {
        let wanted = wanted(patch);
        place(list, patch.operation, wanted.is_some(), || patcher.value(patch), |f| is_named(wanted, &f.name));
    }
    for filter in list {
        for patch in patches {
            if patch.operation == PatchOperation::Merge && is_named(wanted(patch), &filter.name) {
                merge(patcher, patch, filter);
            }
        }
    }
}

fn merge(patcher: &mut Patcher<'_>, patch: &Patch, into: &mut HttpFilter) {
    let Some(http_filter::ConfigType::TypedConfig(config)) = &mut into.config_type else { return };
    let Some(value) = patcher.value::<HttpFilter>(patch) else { return };
    let given = match &value.config_type {
        Some(http_filter::ConfigType::TypedConfig(given)) => Some(given),
        _ => None,
    };
    merge_config(patcher, patch, config, given);
    rename(&mut into.name, value.name);
}
