// SPDX-License-Identifier: Apache-2.0
//! What to capture: the settings of `istio-iptables`, with its defaults.

use std::net::IpAddr;
use std::time::Duration;

/// Which of iptables' programs to use (FORCE_IPTABLES_BINARY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binary {
    /// Whichever fits.
    #[default]
    Any,
    /// `iptables-legacy`
    Legacy,
    /// `iptables-nft`
    Nft,
}

/// Settings of traffic capture. Lists are kept as the user wrote them; ports are checked when they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Envoy's port for outbound connections.
    pub proxy_port: String,
    /// Envoy's port for inbound connections.
    pub inbound_port: String,
    /// The port for tunnels, which is not captured.
    pub tunnel_port: String,
    /// Users whose traffic is the proxy's own, comma separated.
    pub proxy_uid: String,
    /// Groups whose traffic is the proxy's own, comma separated.
    pub proxy_gid: String,
    /// Inbound connections by TPROXY, not by REDIRECT.
    pub tproxy: bool,
    /// The mark of packets that TPROXY leads to Envoy.
    pub tproxy_mark: String,
    /// The routing table for them.
    pub tproxy_table: String,
    /// Inbound ports to capture: a list, `*`, or nothing.
    pub inbound_include: String,
    /// Inbound ports left out of `*`.
    pub inbound_exclude: String,
    /// Groups whose outbound traffic is captured (ISTIO_OUTBOUND_OWNER_GROUPS).
    pub groups_include: String,
    /// Groups left out of `*` (ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE).
    pub groups_exclude: String,
    /// Outbound ports that are captured whatever the address.
    pub outbound_ports_include: String,
    /// Outbound ports that are never captured.
    pub outbound_ports_exclude: String,
    /// Destinations to capture: CIDRs, `*`, or nothing.
    pub ranges_include: String,
    /// Destinations left out.
    pub ranges_exclude: String,
    /// Interfaces of virtual machines: what comes in there is outbound.
    pub virtual_interfaces: String,
    /// Interfaces that are left alone.
    pub exclude_interfaces: String,
    /// The port to which validation connects.
    pub probe_port: u16,
    /// How long validation may take.
    pub probe_timeout: Duration,
    /// Print, and do nothing.
    pub dry_run: bool,
    /// Do not apply rules.
    pub skip_rule_apply: bool,
    /// See whether rules work.
    pub run_validation: bool,
    /// DNS goes to the agent.
    pub redirect_dns: bool,
    /// All DNS, not only that to the servers of resolv.conf.
    pub capture_all_dns: bool,
    /// Packets that belong to no connection are dropped.
    pub drop_invalid: bool,
    /// Both address families.
    pub dual_stack: bool,
    /// The network namespace to work in.
    pub network_namespace: Option<String>,
    /// Run from a node, on a pod's namespace.
    pub cni_mode: bool,
    /// Other rules of former runs are replaced.
    pub reconcile: bool,
    /// Rules are removed, none applied.
    pub cleanup_only: bool,
    /// Rules are applied even when they are there.
    pub force_apply: bool,
    /// nftables, without iptables.
    pub native_nftables: bool,
    /// Accepted for the sake of old command lines; it has no effect.
    pub trace: bool,
    /// Which iptables.
    pub binary: Binary,
    /// The addresses that are loopback for applications (ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR).
    pub loopback: String,
    /// Rules for IPv6, too; found from the addresses of the machine.
    pub ipv6: bool,
    /// The pod's address.
    pub host: Option<IpAddr>,
    /// The nameservers of resolv.conf.
    pub nameservers: Vec<IpAddr>,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            proxy_port: "15001".into(),
            inbound_port: "15006".into(),
            tunnel_port: "15008".into(),
            proxy_uid: String::new(),
            proxy_gid: String::new(),
            tproxy: false,
            tproxy_mark: "1337".into(),
            tproxy_table: "133".into(),
            inbound_include: String::new(),
            inbound_exclude: String::new(),
            groups_include: "*".into(),
            groups_exclude: String::new(),
            outbound_ports_include: String::new(),
            outbound_ports_exclude: String::new(),
            ranges_include: String::new(),
            ranges_exclude: String::new(),
            virtual_interfaces: String::new(),
            exclude_interfaces: String::new(),
            probe_port: 15002,
            probe_timeout: Duration::from_secs(5),
            dry_run: false,
            skip_rule_apply: false,
            run_validation: false,
            redirect_dns: false,
            capture_all_dns: false,
            drop_invalid: false,
            dual_stack: false,
            network_namespace: None,
            cni_mode: false,
            reconcile: false,
            cleanup_only: false,
            force_apply: false,
            native_nftables: false,
            trace: false,
            binary: Binary::Any,
            loopback: "127.0.0.1/32".into(),
            ipv6: false,
            host: None,
            nameservers: Vec::new(),
        }
    }
}

/// The parts of a comma separated list that are not empty.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|p| !p.is_empty())
}
