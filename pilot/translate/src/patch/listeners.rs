// SPDX-License-Identifier: Apache-2.0
//! Listeners, and their listener filters.

use super::{Patcher, chain, filters, lists};
use crate::listener::inbound::VIRTUAL as VIRTUAL_INBOUND;
use crate::listener::virtual_outbound::NAME as VIRTUAL_OUTBOUND;
use tiphys_model::{ListenerMatch, Patch, PatchMatch, PatchOperation, Patched, Traffic};
use tiphys_proto::envoy::config::core::v3::{TrafficDirection, address, socket_address};
use tiphys_proto::envoy::config::listener::v3::Listener;

/// Patches a listener; none when it is removed.
pub(super) fn patch(patcher: &mut Patcher<'_>, mut listener: Listener) -> Option<Listener> {
    let traffic = match (patcher.input.gateway, listener.traffic_direction()) {
        (true, _) => Traffic::Gateway,
        (false, TrafficDirection::Inbound) => Traffic::Inbound,
        (false, _) => Traffic::Outbound,
    };
    if traffic == Traffic::Inbound {
        chain::patch_inline_routes(patcher, &mut listener);
    }
    for patch in patcher.of(Patched::Listener, traffic) {
        if !covers(patch, &listener) {
            continue;
        }
        match patch.operation {
            PatchOperation::Remove => return None,
            operation if lists(operation).is_some() => patcher.merge(patch, &mut listener),
            _ => {}
        }
    }
    for patch in patcher.of(Patched::ListenerFilter, traffic) {
        if covers(patch, &listener) {
            let named = of(patch).map(|wanted| &*wanted.listener_filter).filter(|name| !name.is_empty());
            filters::patch_listener_filter(patcher, patch, named, &mut listener.listener_filters);
        }
    }
    chain::patch(patcher, traffic, &mut listener);
    Some(listener)
}

/// What a patch says of listeners.
pub(super) fn of(patch: &Patch) -> Option<&ListenerMatch> {
    match &patch.matching {
        PatchMatch::Listener(wanted) => Some(wanted),
        _ => None,
    }
}

/// Whether all redirected traffic comes to a listener, so that ports are told by its chains.
pub(super) fn is_virtual(listener: &Listener) -> bool {
    [VIRTUAL_INBOUND, VIRTUAL_OUTBOUND].contains(&listener.name.as_str())
}

/// Whether a patch means a listener, or something in it.
pub(super) fn covers(patch: &Patch, listener: &Listener) -> bool {
    let Some(wanted) = of(patch) else { return true };
    if !wanted.name.is_empty() && *wanted.name != *listener.name {
        return false;
    }
    let by_chain = patch.object != Patched::Listener && is_virtual(listener);
    by_chain || wanted.port == 0 || port(listener) == Some(wanted.port)
}

fn port(listener: &Listener) -> Option<u32> {
    match listener.address.as_ref()?.address.as_ref()? {
        address::Address::SocketAddress(socket) => match socket.port_specifier {
            Some(socket_address::PortSpecifier::PortValue(port)) => Some(port),
            _ => None,
        },
        _ => None,
    }
}
