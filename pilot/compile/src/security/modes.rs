// SPDX-License-Identifier: Apache-2.0
//! Which mode of mutual TLS a list of PeerAuthentications gives to whom, and what clients make of it
//! (<https://istio.io/latest/docs/reference/config/security/peer_authentication/>).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use tiphys_model::{Labels, Marked, Mesh, MutualTls, PeerAuthentication, PeerModes, Str};

/// PeerAuthentications in the order of precedence.
pub type Peers = Marked<Vec<Marked<PeerAuthentication>>>;

/// The modes of a workload: its own policy over its namespace's over the mesh's.
pub(super) fn modes_of(peers: &Peers, mesh: &Mesh, namespace: &str, labels: &Labels) -> PeerModes {
    let inherited = namespace_mode(peers, mesh, namespace).unwrap_or(MutualTls::Permissive);
    let own = peers.iter().find(|policy| {
        let in_reach = &*policy.namespace == namespace || policy.namespace == mesh.root_namespace;
        let selects = |selector: &Labels| tiphys_model::labels_match(selector, labels);
        in_reach && policy.selector.as_ref().is_some_and(selects)
    });
    let Some(own) = own else { return PeerModes { mode: inherited, ports: Default::default() } };
    let mode = own.mode.unwrap_or(inherited);
    PeerModes { mode, ports: own.ports.iter().map(|(port, of_port)| (*port, of_port.unwrap_or(mode))).collect() }
}

/// The mode that a namespace sets for all of its workloads, or inherits from the mesh; none when nobody says.
fn namespace_mode(peers: &Peers, mesh: &Mesh, namespace: &str) -> Option<MutualTls> {
    let of = |namespace: &str| {
        let policy = peers.iter().find(|p| &*p.namespace == namespace && p.selector.is_none());
        policy.and_then(|policy| policy.mode)
    };
    of(namespace).or_else(|| of(&mesh.root_namespace))
}

/// PeerAuthentications as clients act on them. A client only asks whether mutual TLS is switched off, so that what differs in nothing else is
/// equal: PERMISSIVE and STRICT are, and so are all lists that switch it off nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientPolicies(Peers);

impl ClientPolicies {
    /// What clients make of these policies.
    pub fn of(peers: &Peers) -> Self {
        let anywhere =
            peers.iter().any(|policy| is_off(policy.mode) || policy.ports.values().any(|mode| is_off(*mode)));
        let as_read = |policy: &Marked<PeerAuthentication>| {
            let read = |mode: Option<MutualTls>| mode.map(|mode| mode.min(MutualTls::Permissive));
            Marked::new(PeerAuthentication {
                name: Str::default(),
                mode: read(policy.mode),
                ports: policy.ports.iter().map(|(port, mode)| (*port, read(*mode))).collect(),
                ..PeerAuthentication::clone(policy)
            })
        };
        Self(Marked::new(if anywhere { peers.iter().map(as_read).collect() } else { Vec::new() }))
    }

    /// A short name: equal ones have equal names, in all replicas.
    pub fn name(&self) -> String {
        format!("{:032x}", self.0.fingerprint().0)
    }

    /// Whether mutual TLS is on for everybody.
    pub fn all_take_mtls(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a namespace, or the mesh for it, switches mutual TLS off.
    pub fn namespace_is_off(&self, mesh: &Mesh, namespace: &str) -> bool {
        is_off(namespace_mode(&self.0, mesh, namespace))
    }

    /// On which ports a workload takes no mutual TLS.
    pub fn modes_of(&self, mesh: &Mesh, namespace: &str, labels: &Labels) -> PeerModes {
        modes_of(&self.0, mesh, namespace, labels)
    }
}

impl Default for ClientPolicies {
    fn default() -> Self {
        Self(Marked::new(Vec::new()))
    }
}

/// One policy as it is told to other replicas.
#[derive(Serialize, Deserialize)]
struct Written {
    namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<BTreeMap<String, String>>,
    /// Whether mutual TLS is on; inherited when it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on: Option<bool>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ports: BTreeMap<u32, Option<bool>>,
}

impl Serialize for ClientPolicies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let on = |mode: Option<MutualTls>| mode.map(|mode| mode != MutualTls::Disable);
        serializer.collect_seq(self.0.iter().map(|policy| {
            Written {
                namespace: policy.namespace.to_string(),
                selector: policy
                    .selector
                    .as_ref()
                    .map(|labels| labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()),
                on: on(policy.mode),
                ports: policy.ports.iter().map(|(port, mode)| (*port, on(*mode))).collect(),
            }
        }))
    }
}

impl<'de> Deserialize<'de> for ClientPolicies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mode = |on: bool| if on { MutualTls::Permissive } else { MutualTls::Disable };
        let policy = |written: Written| {
            Marked::new(PeerAuthentication {
                name: Str::default(),
                namespace: written.namespace.into(),
                selector: written.selector.as_ref().map(crate::lower::labels),
                mode: written.on.map(mode),
                ports: written.ports.into_iter().map(|(port, on)| (port, on.map(mode))).collect(),
            })
        };
        let all = Vec::<Written>::deserialize(deserializer)?;
        Ok(Self(Marked::new(all.into_iter().map(policy).collect())))
    }
}

fn is_off(mode: Option<MutualTls>) -> bool {
    mode == Some(MutualTls::Disable)
}

/// What clients do with one workload.
pub(super) struct Calls {
    namespace_is_off: bool,
    modes: PeerModes,
}

impl Calls {
    /// What clients do that act on these policies.
    pub fn of(policies: &ClientPolicies, mesh: &Mesh, namespace: &str, labels: &Labels) -> Self {
        Self {
            namespace_is_off: policies.namespace_is_off(mesh, namespace),
            modes: policies.modes_of(mesh, namespace, labels),
        }
    }

    /// The ports for which something else may hold than for all others.
    pub fn ports(&self) -> impl Iterator<Item = u32> {
        self.modes.ports.keys().copied()
    }

    /// Whether they call a port in plain text; none for ports that nobody names.
    pub fn in_plain_text(&self, port: Option<u32>) -> bool {
        let mode = port.map_or(self.modes.mode, |port| self.modes.of_port(port));
        self.namespace_is_off || mode == MutualTls::Disable
    }
}

/// What clients do with one workload while a change is on its way.
pub(super) struct MixedCalls {
    /// Those that know of it.
    pub wanted: Calls,
    /// Those that do not.
    pub outdated: Vec<Calls>,
}

impl MixedCalls {
    /// The ports for which something else may hold than for all others.
    pub fn ports(&self) -> impl Iterator<Item = u32> {
        self.outdated.iter().chain([&self.wanted]).flat_map(Calls::ports)
    }

    /// Whether some call a port in plain text and others by mutual TLS; none for ports that nobody names.
    pub fn differ(&self, port: Option<u32>) -> bool {
        let wanted = self.wanted.in_plain_text(port);
        self.outdated.iter().any(|calls| calls.in_plain_text(port) != wanted)
    }
}
