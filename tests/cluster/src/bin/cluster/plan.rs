// SPDX-License-Identifier: Apache-2.0
//! Names and addresses. Every cluster of this machine has an index of its own, from which all its ranges follow, so that clusters are
//! distinct; all nodes of all clusters are on one bridge, so that they can reach each other.

use anyhow::{Result, ensure};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The bridge of all nodes, and the machine's own address on it.
pub const BRIDGE: &str = "tiphys0";
pub const BRIDGE_ADDRESS: &str = "172.30.255.254/16";

/// So many clusters fit into the ranges.
pub const MAX_CLUSTERS: u8 = 16;
/// So many nodes fit into the pod range of a cluster.
pub const MAX_NODES: u8 = 8;

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the user calls it.
    pub name: String,
    /// From 0; no other cluster of this machine has it.
    pub index: u8,
    /// How many nodes it has; the first also runs the control plane.
    pub nodes: u8,
    /// Where it keeps everything.
    pub folder: PathBuf,
    /// Where its logs go.
    pub logs: PathBuf,
}

/// One node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub number: u8,
    /// Its name in Kubernetes, and its host name.
    pub name: String,
    /// Its address on the bridge.
    pub ip: Ipv4Addr,
    /// The range of its pods.
    pub pods: String,
    /// The zone that its label says.
    pub zone: String,
    /// The machine's end of its cable.
    pub interface: String,
    /// What it keeps, and what its parts read.
    pub folder: PathBuf,
    /// Where its logs go.
    pub logs: PathBuf,
    /// Its processes and containers, below the root of each cgroup hierarchy.
    pub cgroup: String,
}

impl Plan {
    /// The plan of a cluster.
    ///
    /// # Errors
    /// When the name cannot be part of the names of interfaces and hosts, or there are too many nodes.
    pub fn new(name: &str, index: u8, nodes: u8) -> Result<Plan> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            !name.is_empty()
                && name.len() <= 32
                && name.chars().all(plain)
                && !name.starts_with('-')
                && !name.ends_with('-'),
            "{name:?} is no name for a cluster: up to 32 lower-case letters, digits and dashes between them"
        );
        ensure!((1..=MAX_NODES).contains(&nodes), "a cluster has 1 to {MAX_NODES} nodes, not {nodes}");
        ensure!(index < MAX_CLUSTERS, "there are {MAX_CLUSTERS} clusters on this machine already: end one");
        let folder = tiphys_cluster_tests::folder::state(name)?;
        let logs = tiphys_cluster_tests::folder::logs(name)?;
        Ok(Plan { name: name.to_owned(), index, nodes, folder, logs })
    }

    /// All of its nodes.
    pub fn all_nodes(&self) -> impl Iterator<Item = Node> + '_ {
        (1..=self.nodes).map(|number| self.node(number))
    }

    /// The node with this number, from 1.
    pub fn node(&self, number: u8) -> Node {
        Node {
            number,
            name: format!("{}-{number}", self.name),
            ip: Ipv4Addr::new(172, 30, self.index, number),
            pods: format!("10.{}.{}.0/22", 128 + self.index, (number - 1) * 4),
            zone: format!("zone-{number}"),
            interface: format!("{}{number}", cluster_interfaces(self.index)),
            folder: self.folder.join(format!("node-{number}")),
            logs: self.logs.join(format!("node-{number}")),
            cgroup: format!("tiphys/{}/node-{number}", self.name),
        }
    }

    /// The first node, which runs the control plane.
    pub fn control_plane(&self) -> Node {
        self.node(1)
    }

    /// The range of all pods.
    pub fn pods(&self) -> String {
        format!("10.{}.0.0/16", 128 + self.index)
    }

    /// The range of the Services' cluster addresses.
    pub fn services(&self) -> String {
        format!("10.{}.0.0/16", 96 + self.index)
    }

    /// The address of the Service `kubernetes`.
    pub fn kubernetes_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96 + self.index, 0, 1)
    }

    /// The address of the Service of the cluster's DNS.
    pub fn dns_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96 + self.index, 0, 10)
    }

    /// The range of the load balancers' addresses.
    pub fn load_balancers(&self) -> String {
        format!("172.31.{}.0/24", self.index)
    }

    /// Where the API server is.
    pub fn server(&self) -> String {
        format!("https://{}:6443", self.control_plane().ip)
    }

    /// What kubectl reads.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The folder of kubectl and helm.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// A key, certificate or token.
    pub fn pki(&self, file: &str) -> PathBuf {
        self.folder.join("pki").join(file)
    }
}

/// How the names of the interfaces of a cluster's nodes begin.
pub fn cluster_interfaces(index: u8) -> String {
    format!("{BRIDGE}c{index}n")
}

impl Node {
    /// What its first process is told: which components to run.
    pub fn components(&self) -> PathBuf {
        self.folder.join("components.json")
    }

    /// What its containerd keeps, above all images. It stays when the cluster is gone: the next one of its name needs not import them
    /// again. Containers that were left there are ended ones, which the kubelet clears away as after a power cut.
    pub fn containerd(&self) -> Result<PathBuf> {
        Ok(tiphys_cluster_tests::folder::base()?.join("containerd").join(&self.name))
    }

    /// The folder of the configuration of its components.
    pub fn etc(&self) -> PathBuf {
        self.folder.join("etc")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn clusters_and_nodes_share_no_address() -> Result<()> {
        let mut seen = BTreeSet::new();
        for index in 0..MAX_CLUSTERS {
            let plan = Plan::new("test", index, MAX_NODES)?;
            assert!(seen.insert(plan.services()) && seen.insert(plan.pods()) && seen.insert(plan.load_balancers()));
            for node in plan.all_nodes() {
                assert!(seen.insert(node.ip.to_string()) && seen.insert(node.interface.clone()));
                assert!(seen.insert(node.pods));
                assert!(node.interface.len() <= 15, "{} is too long for an interface", node.interface);
            }
        }
        Ok(())
    }

    #[test]
    fn names_that_no_interface_could_have_are_refused() {
        for name in ["", "a b", "../up", "UP", "-a"] {
            assert!(Plan::new(name, 0, 1).is_err(), "{name}");
        }
        assert!(Plan::new("a", 0, 0).is_err());
    }
}
