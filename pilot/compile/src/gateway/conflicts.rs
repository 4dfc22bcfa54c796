// SPDX-License-Identifier: Apache-2.0
//! Which listeners of a Gateway and its ListenerSets get in each other's way: of two that cannot be told apart the first keeps its place
//! (<https://gateway-api.sigs.k8s.io/reference/spec/#gatewayspec>).

use tiphys_api::gateway::gateway::Listener;

/// The listeners that have their place.
#[derive(Default)]
pub(super) struct Taken<'a> {
    listeners: Vec<&'a Listener>,
}

impl<'a> Taken<'a> {
    /// Gives a listener its place; the reason of the conflict when it is taken.
    pub fn take(&mut self, listener: &'a Listener) -> Option<&'static str> {
        match self.listeners.iter().find(|other| !distinct(listener, other)) {
            Some(other) if listener.protocol == other.protocol && is_http_like(listener) => Some("HostnameConflict"),
            Some(other) if listener.protocol == other.protocol && !is_stream(listener) => Some("HostnameConflict"),
            Some(_) => Some("ProtocolConflict"),
            None => {
                self.listeners.push(listener);
                None
            }
        }
    }
}

fn is_stream(listener: &Listener) -> bool {
    matches!(listener.protocol.as_str(), "TCP" | "UDP")
}

fn is_http_like(listener: &Listener) -> bool {
    matches!(listener.protocol.as_str(), "HTTP" | "HTTPS" | "TLS")
}

fn hostname(listener: &Listener) -> &str {
    listener.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or("*")
}

fn distinct(a: &Listener, b: &Listener) -> bool {
    if a.port != b.port {
        return true;
    }
    match (is_stream(a) || is_stream(b), is_http_like(a) && is_http_like(b)) {
        (_, true) => hostname(a) != hostname(b),
        (true, _) if (is_stream(a) || is_http_like(a)) && (is_stream(b) || is_http_like(b)) => false,
        _ => a.protocol != b.protocol,
    }
}
