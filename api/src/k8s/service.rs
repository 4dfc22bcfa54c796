// SPDX-License-Identifier: Apache-2.0
//! Service: a name, a virtual address and ports for a set of pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::value::{IntOrString, open_enum};

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// What is wanted.
    pub spec: ServiceSpec,
    /// What the cluster gave it.
    pub status: ServiceStatus,
}

/// What a service is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// How it is reached.
    #[serde(rename = "type")]
    pub service_type: ServiceType,
    /// The virtual address; `None` for headless services, empty while none is given.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// The virtual addresses, one an IP family; the first is `cluster_ip`.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// The ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its pods; empty when endpoints are made by hand.
    pub selector: BTreeMap<String, String>,
    /// The DNS name that an ExternalName service stands for.
    pub external_name: String,
    /// Further addresses that lead here.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    /// The address that a load balancer is asked for.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: String,
    /// `ClientIP` or `None`.
    pub session_affinity: String,
    /// Endpoints count even when they are not ready.
    pub publish_not_ready_addresses: bool,
    /// `Local` keeps traffic from outside on the node.
    pub external_traffic_policy: String,
    /// `Local` keeps traffic from inside on the node.
    pub internal_traffic_policy: String,
    /// `PreferClose`, `PreferSameZone` or `PreferSameNode`.
    pub traffic_distribution: String,
    /// `IPv4` and `IPv6`, in order of preference.
    pub ip_families: Vec<String>,
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
    pub ip_family_policy: String,
}

open_enum! {
    /// How a service is reached.
    pub enum ServiceType {
        /// By a virtual address in the cluster.
        ClusterIp = "ClusterIP",
        /// Also by a port of every node.
        NodePort = "NodePort",
        /// Also by a load balancer.
        LoadBalancer = "LoadBalancer",
        /// It is another name for a DNS name.
        ExternalName = "ExternalName",
    }
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name; may be empty when it is the only one.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`; empty means TCP.
    pub protocol: String,
    /// The application's protocol.
    pub app_protocol: Option<String>,
    /// The number.
    pub port: i32,
    /// The pod's port, by number or name; unset means the same number.
    pub target_port: Option<IntOrString>,
    /// The node's port.
    pub node_port: i32,
}

/// What the cluster gave a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// The load balancer.
    pub load_balancer: LoadBalancerStatus,
}

/// A load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerStatus {
    /// Its addresses.
    pub ingress: Vec<LoadBalancerIngress>,
}

/// An address of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerIngress {
    /// As IP.
    pub ip: String,
    /// As name.
    pub hostname: String,
}
