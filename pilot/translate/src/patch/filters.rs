// SPDX-License-Identifier: Apache-2.0
//! Filters and transport sockets: things with a name and a packed configuration.

use super::place::place;
use super::{Patcher, lists};
use tiphys_model::{Patch, PatchOperation};
use tiphys_proto::envoy::config::core::v3::{TransportSocket, transport_socket};
use tiphys_proto::envoy::config::listener::v3::{Filter, ListenerFilter, filter, listener_filter};
use tiphys_proto::google::protobuf::Any;
use tiphys_proto::{Lists, merge_any};

/// Whether a filter is the one that a patch names; any is when it names none.
pub(super) fn is_named(wanted: Option<&str>, name: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == name)
}

/// Puts a network filter where it belongs, or removes it.
pub(super) fn place_network_filter(
    patcher: &mut Patcher<'_>,
    patch: &Patch,
    wanted: Option<&str>,
    list: &mut Vec<Filter>,
) {
    place(list, patch.operation, wanted.is_some(), || patcher.value(patch), |f| is_named(wanted, &f.name));
}

/// Merges into a network filter.
pub(super) fn merge_network_filter(patcher: &mut Patcher<'_>, patch: &Patch, wanted: Option<&str>, into: &mut Filter) {
    if patch.operation != PatchOperation::Merge || !is_named(wanted, &into.name) {
        return;
    }
    let Some(filter::ConfigType::TypedConfig(config)) = &mut into.config_type else { return };
    let Some(value) = patcher.value::<Filter>(patch) else { return };
    let given = match &value.config_type {
        Some(filter::ConfigType::TypedConfig(given)) => Some(given),
        _ => None,
    };
    merge_config(patcher, patch, config, given);
    rename(&mut into.name, value.name);
}

/// Puts a listener filter where it belongs, removes it, or merges into it.
pub(super) fn patch_listener_filter(
    patcher: &mut Patcher<'_>,
    patch: &Patch,
    wanted: Option<&str>,
    list: &mut Vec<ListenerFilter>,
) {
    if patch.operation != PatchOperation::Merge {
        return place(list, patch.operation, wanted.is_some(), || patcher.value(patch), |f| is_named(wanted, &f.name));
    }
    let Some(value) = patcher.value::<ListenerFilter>(patch) else { return };
    let given = match &value.config_type {
        Some(listener_filter::ConfigType::TypedConfig(given)) => Some(given),
        _ => None,
    };
    for into in list.iter_mut().filter(|filter| wanted.is_some_and(|wanted| wanted == filter.name)) {
        if let Some(listener_filter::ConfigType::TypedConfig(config)) = &mut into.config_type {
            merge_config(patcher, patch, config, given);
            rename(&mut into.name, value.name.clone());
        }
    }
}

/// Merges what a patch gives into a packed configuration of the same type.
pub(super) fn merge_config(patcher: &mut Patcher<'_>, patch: &Patch, into: &mut Any, given: Option<&Any>) {
    if let Some(given) = given {
        let merged = merge_any(into, given, lists(patch.operation).unwrap_or(Lists::Append));
        patcher.check(patch, merged);
    }
}

/// A name that a patch gives takes the place of the other one.
pub(super) fn rename(name: &mut String, given: String) {
    if !given.is_empty() {
        *name = given;
    }
}

fn config(socket: &TransportSocket) -> Option<&Any> {
    match &socket.config_type {
        Some(transport_socket::ConfigType::TypedConfig(config)) => Some(config),
        None => None,
    }
}

/// Whether a patch is about a transport socket of the same name.
pub(super) fn same_socket(own: &TransportSocket, given: Option<&TransportSocket>) -> bool {
    given.is_some_and(|given| given.name == own.name)
}

/// Merges the configuration of a transport socket.
pub(super) fn merge_socket(
    patcher: &mut Patcher<'_>,
    patch: &Patch,
    own: &mut TransportSocket,
    given: Option<&TransportSocket>,
) {
    if let Some(transport_socket::ConfigType::TypedConfig(own)) = &mut own.config_type {
        let merged = given.and_then(config).map_or(Ok(()), |given| merge_any(own, given, Lists::Append));
        patcher.check(patch, merged);
    }
}
