// SPDX-License-Identifier: Apache-2.0
//! Capture by nftables alone: rules as a script for `nft`, in tables of our own, replaced in one transaction.

use super::config::CaptureConfig;
use super::rule::{Chain, Family, Match, Protocol, Rule, Table, Target};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Write as _;
use std::process::{Command, Stdio};

const TABLES: [Table; 3] = [Table::Nat, Table::Mangle, Table::Raw];

/// Whether nft is there, and no iptables.
pub fn only_choice() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    found("nft") && !["iptables", "iptables-nft", "iptables-legacy"].into_iter().any(found)
}

/// Applies the rules, in place of those that were there.
///
/// # Errors
/// When there is no nft, or it refuses the rules.
pub fn apply(rules: &[Rule], config: &CaptureConfig) -> Result<(), String> {
    nft(&script(rules, config))
}

/// Removes our tables.
///
/// # Errors
/// When there is no nft, or it fails.
pub fn remove() -> Result<(), String> {
    nft(&TABLES.map(removal).concat())
}

fn nft(script: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("nft: {e}");
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // When nft ends early, its own words say more than a broken pipe.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("nft: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// Without the first command the second would fail where there is no such table.
fn removal(name: Table) -> String {
    format!("add table inet {0}\ndelete table inet {0}\n", table(name))
}

/// The rules as a script for `nft -f`.
pub fn script(rules: &[Rule], config: &CaptureConfig) -> String {
    let mut out = String::new();
    for name in TABLES {
        out.push_str(&removal(name));
        let of_table: Vec<&Rule> =
            rules.iter().filter(|r| r.table == name && (config.ipv6 || r.family != Family::V6)).collect();
        if of_table.is_empty() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, "table inet {} {{", table(name));
        for (chain_name, lines) in chains(&of_table) {
            let _ = writeln!(out, "  chain {} {{", chain(chain_name));
            if let Some(hook) = hook(name, chain_name) {
                let _ = writeln!(out, "    {hook}");
                if !config.ipv6 {
                    out.push_str("    meta nfproto ipv6 return\n");
                }
            }
            lines.iter().for_each(|line| out.push_str(&format!("    {line}\n")));
            out.push_str("  }\n");
        }
        out.push_str("}\n");
    }
    out
}

/// The rules of each chain in the order in which they are tried; a rule with a position goes before those that were there.
fn chains(rules: &[&Rule]) -> BTreeMap<Chain, Vec<String>> {
    let mut chains: BTreeMap<Chain, Vec<String>> = BTreeMap::new();
    let mut inserted: BTreeMap<Chain, usize> = BTreeMap::new();
    for rule in rules {
        if let Target::Jump(to) = rule.target {
            chains.entry(to).or_default();
        }
        let lines = chains.entry(rule.chain).or_default();
        match rule.position {
            // Both families are in one table: the place of a rule for one of them moves down by those for the other.
            Some(position) => {
                let before = inserted.entry(rule.chain).or_default();
                let at = if position == 1 { 0 } else { (*before).min(lines.len()) };
                lines.insert(at, line(rule));
                *before += 1;
            }
            None => lines.push(line(rule)),
        }
    }
    chains
}

fn hook(table: Table, chain: Chain) -> Option<&'static str> {
    Some(match (table, chain) {
        (Table::Nat, Chain::Prerouting) => "type nat hook prerouting priority -100; policy accept;",
        (Table::Nat, Chain::Output) => "type nat hook output priority -100; policy accept;",
        (Table::Mangle, Chain::Prerouting) => "type filter hook prerouting priority -150; policy accept;",
        (Table::Mangle, Chain::Output) => "type route hook output priority -150; policy accept;",
        (Table::Raw, Chain::Prerouting) => "type filter hook prerouting priority -300; policy accept;",
        (Table::Raw, Chain::Output) => "type filter hook output priority -300; policy accept;",
        _ => return None,
    })
}

fn table(table: Table) -> &'static str {
    match table {
        Table::Nat => "istio-proxy-nat",
        Table::Mangle => "istio-proxy-mangle",
        Table::Raw => "istio-proxy-raw",
    }
}

fn chain(chain: Chain) -> &'static str {
    match chain {
        Chain::Prerouting => "prerouting",
        Chain::Output => "output",
        Chain::Inbound => "istio-inbound",
        Chain::InRedirect => "istio-in-redirect",
        Chain::Redirect => "istio-redirect",
        Chain::Outbound => "istio-output",
        Chain::OutboundDns => "istio-output-dns",
        Chain::Divert => "istio-divert",
        Chain::Tproxy => "istio-tproxy",
        Chain::Drop => "istio-drop",
    }
}

fn line(rule: &Rule) -> String {
    let udp = rule.matches.contains(&Match::Protocol(Protocol::Udp));
    let protocol = if udp { "udp" } else { "tcp" };
    let mut words = Vec::new();
    match rule.family {
        Family::V4 => words.push("meta nfproto ipv4".to_string()),
        Family::V6 => words.push("meta nfproto ipv6".to_string()),
        Family::Both => {}
    }
    words.extend(rule.matches.iter().map(|m| condition(m, protocol)));
    words.push("counter".into());
    words.push(target(&rule.target, rule.family));
    words.join(" ")
}

/// `1:5` is `1-5` here.
fn ports(text: &str) -> String {
    text.replace(':', "-")
}

fn ip(range: &str) -> &'static str {
    if range.contains(':') { "ip6" } else { "ip" }
}

fn condition(condition: &Match, protocol: &str) -> String {
    match condition {
        Match::In(name) => format!("iifname \"{name}\""),
        Match::Out(name) => format!("oifname \"{name}\""),
        Match::Source(range) => format!("{} saddr {range}", ip(range)),
        Match::Destination(range) => format!("{} daddr {range}", ip(range)),
        Match::NotDestination(range) => format!("{} daddr != {range}", ip(range)),
        Match::Protocol(Protocol::Tcp) => "meta l4proto tcp".into(),
        Match::Protocol(Protocol::Udp) => "meta l4proto udp".into(),
        Match::Port(port) => format!("{protocol} dport {}", ports(port)),
        Match::NotPort(port) => format!("{protocol} dport != {}", ports(port)),
        Match::NotPorts(all) => format!("{protocol} dport != {{ {} }}", all.join(", ")),
        Match::SourcePort(port) => format!("{protocol} sport {}", ports(port)),
        Match::User(id) => format!("meta skuid {id}"),
        Match::NotUser(id) => format!("meta skuid != {id}"),
        Match::Group(id) => format!("meta skgid {id}"),
        Match::NotGroup(id) => format!("meta skgid != {id}"),
        Match::Established => "ct state related,established".into(),
        Match::Invalid => "ct state invalid".into(),
        Match::Mark(mark) => format!("meta mark {mark}"),
        Match::NotMark(mark) => format!("meta mark != {mark}"),
        Match::ConnectionMark(mark) => format!("ct mark {mark}"),
    }
}

fn target(target: &Target, family: Family) -> String {
    match target {
        Target::Return => "return".into(),
        Target::Accept => "accept".into(),
        Target::Drop => "drop".into(),
        Target::Jump(to) => format!("jump {}", chain(*to)),
        Target::Redirect(port) => format!("redirect to :{port}"),
        Target::Tproxy { port, mark } => {
            let ip = if family == Family::V6 { "ip6" } else { "ip" };
            format!("tproxy {ip} to :{port} meta mark set {mark} accept")
        }
        Target::SetMark(mark) => format!("meta mark set {mark}"),
        Target::SaveMark => "ct mark set meta mark".into(),
        Target::RestoreMark => "meta mark set ct mark".into(),
        Target::Zone(zone) => format!("ct zone set {zone}"),
    }
}
