// SPDX-License-Identifier: Apache-2.0
//! The order of containers: what captures traffic and what carries it start at the right time.

use serde_json::Value as Json;

use super::pod::{self, List};

enum To {
    First,
    Last,
}

fn move_to(pod: &mut Json, list: List, name: &str, to: To) {
    if pod::find(pod::containers(pod, list), name).is_none() {
        return;
    }
    let containers = pod::containers_mut(pod, list);
    let Some(at) = containers.iter().position(|container| container["name"] == name) else { return };
    let container = containers.remove(at);
    match to {
        To::First => containers.insert(0, container),
        To::Last => containers.push(container),
    }
}

/// Moves the user's container istio-proxy to where a native sidecar stands, so that both are merged.
pub fn make_native(pod: &mut Json) {
    let containers = pod::containers_mut(pod, List::Containers);
    if let Some(at) = containers.iter().position(|container| container["name"] == pod::PROXY) {
        let proxy = containers.remove(at);
        pod::containers_mut(pod, List::Init).push(proxy);
    }
}

/// Puts the injected containers into their places. With `hold` the application waits for the proxy.
pub fn arrange(pod: &mut Json, hold: bool) {
    // Last, `kubectl exec` still means the application.
    move_to(pod, List::Containers, pod::PROXY, if hold { To::First } else { To::Last });
    if pod::find(pod::containers(pod, List::Init), pod::PROXY).is_some() {
        // Capture, then the proxy, then the user's init containers, which are in the mesh.
        for name in [pod::CORE_DUMP, pod::PROXY, pod::VALIDATION, pod::INIT] {
            move_to(pod, List::Init, name, To::First);
        }
        return;
    }
    // The check stops a pod that is not captured before anything of it runs; capture comes after the user's init containers, which would
    // reach nothing without a proxy.
    move_to(pod, List::Init, pod::VALIDATION, To::First);
    move_to(pod, List::Init, pod::INIT, To::Last);
    move_to(pod, List::Init, pod::CORE_DUMP, To::Last);
}
