// SPDX-License-Identifier: Apache-2.0
//! The cables between this machine and the nodes: one bridge for all clusters, one veth pair for each node, and the routes by which
//! nodes and this machine reach pods, Services and load balancers.

use crate::plan::{BRIDGE, BRIDGE_ADDRESS, Node, Plan, cluster_interfaces};
use crate::state::Lock;
use anyhow::{Context, Result};
use rustix::process::Pid;
use std::path::Path;
use tiphys_cluster_tests::command::run;

/// Whether a cluster with this index has a node on this machine.
pub fn is_used(index: u8) -> bool {
    let prefix = cluster_interfaces(index);
    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return false };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).any(|name| name.starts_with(&prefix))
}

/// Whether a node's cable is there.
pub fn is_connected(node: &Node) -> bool {
    Path::new("/sys/class/net").join(&node.interface).exists()
}

/// Makes the bridge of all clusters, if it is not there.
///
/// # Errors
/// When a command fails, which the error quotes.
pub fn bridge(_lock: &Lock) -> Result<()> {
    if run(&["ip", "link", "show", BRIDGE]).is_err() {
        run(&["ip", "link", "add", BRIDGE, "type", "bridge"])?;
        run(&["ip", "address", "add", BRIDGE_ADDRESS, "dev", BRIDGE])?;
    }
    run(&["ip", "link", "set", BRIDGE, "up"]).map(drop)
}

/// Connects a node, whose first process is `first`, to the bridge.
///
/// # Errors
/// When a command fails, which the error quotes.
pub fn connect(_lock: &Lock, plan: &Plan, node: &Node, first: Pid) -> Result<()> {
    let (pid, interface) = (first.as_raw_nonzero().to_string(), node.interface.as_str());
    // One of a node that has just ended goes away by itself, but when that is, is up to the kernel.
    let _ = run(&["ip", "link", "delete", interface]);
    run(&["ip", "link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
    run(&["ip", "link", "set", interface, "master", BRIDGE, "up"])?;
    let inside = |arguments: &[&str]| run(&[&["nsenter", "--net", "--target", &pid, "ip"], arguments].concat());
    inside(&["link", "set", "lo", "up"])?;
    inside(&["address", "add", &format!("{}/16", node.ip), "dev", "eth0"])?;
    inside(&["link", "set", "eth0", "up"])?;
    let (machine, _) = BRIDGE_ADDRESS.split_once('/').context("an address has a length")?;
    inside(&["route", "add", "default", "via", machine])?;
    run(&["nsenter", "--net", "--target", &pid, "sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
    for other in plan.all_nodes().filter(|other| other.number != node.number) {
        inside(&["route", "replace", &other.pods, "via", &other.ip.to_string()])?;
    }
    for (range, via) in routes(plan) {
        if via == node.ip.to_string() {
            run(&["ip", "route", "replace", &range, "via", &via, "dev", BRIDGE])?;
        }
    }
    Ok(())
}

/// What this machine reaches through which node: the pods of each through it, everything else through the first.
fn routes(plan: &Plan) -> Vec<(String, String)> {
    let first = plan.control_plane().ip.to_string();
    let pods = plan.all_nodes().map(|node| (node.pods, node.ip.to_string()));
    pods.chain([(plan.services(), first.clone()), (plan.load_balancers(), first)]).collect()
}

/// Removes routes and cables of a cluster, and the bridge after the last cluster.
///
/// # Errors
/// When the bridge cannot be removed.
pub fn disconnect(_lock: &Lock, plan: &Plan) -> Result<()> {
    for (range, via) in routes(plan) {
        // What is not there need not go.
        let _ = run(&["ip", "route", "delete", &range, "via", &via]);
    }
    for node in plan.all_nodes() {
        let _ = run(&["ip", "link", "delete", &node.interface]);
    }
    let others = run(&["ip", "-brief", "link", "show", "master", BRIDGE]).unwrap_or_default();
    if others.trim().is_empty() && run(&["ip", "link", "show", BRIDGE]).is_ok() {
        run(&["ip", "link", "delete", BRIDGE])?;
    }
    Ok(())
}
