// SPDX-License-Identifier: Apache-2.0
//! What comes in.

use super::{
    CaptureConfig, Chain, Family, Match, OUTBOUND_MARK, PASSTHROUGH, Rule, Table, Target, V6_LOOPBACK, for_each, list,
    tcp,
};

/// Interfaces that are left alone, and those of virtual machines, which [`super::outbound`] comes back to.
pub(super) fn interfaces(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    for table in [Table::Nat, Table::Mangle] {
        if table == Table::Mangle && !config.tproxy {
            continue;
        }
        for name in list(&config.exclude_interfaces) {
            rules.push(Rule::new(table, Chain::Prerouting, vec![Match::In(name.into())], Target::Return));
            rules.push(Rule::new(table, Chain::Output, vec![Match::Out(name.into())], Target::Return));
        }
    }
    for name in list(&config.virtual_interfaces) {
        rules.push(Rule::new(Table::Nat, Chain::Prerouting, vec![Match::In(name.into())], Target::Return).at(1));
    }
}

/// Packets outside of the window would otherwise reset connections.
pub(super) fn invalid(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    if config.drop_invalid {
        rules.push(Rule::new(Table::Mangle, Chain::Prerouting, vec![Match::Invalid], Target::Jump(Chain::Drop)));
        rules.push(Rule::new(Table::Mangle, Chain::Drop, vec![], Target::Drop));
    }
}

/// The chains that lead to Envoy's ports.
pub(super) fn redirects(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    let tunnel = vec![tcp(), Match::Port(config.tunnel_port.clone())];
    rules.push(Rule::new(Table::Nat, Chain::Inbound, tunnel, Target::Return));
    let to = |port: &str| Target::Redirect(port.to_string());
    rules.push(Rule::new(Table::Nat, Chain::Redirect, vec![tcp()], to(&config.proxy_port)));
    rules.push(Rule::new(Table::Nat, Chain::InRedirect, vec![tcp()], to(&config.inbound_port)));
}

/// Which ports are captured.
pub(super) fn ports(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    if config.inbound_include.is_empty() {
        return;
    }
    if config.tproxy {
        tproxy(config, rules);
    }
    let table = if config.tproxy { Table::Mangle } else { Table::Nat };
    rules.push(Rule::new(table, Chain::Prerouting, vec![tcp()], Target::Jump(Chain::Inbound)));
    let port = |port: &str| vec![tcp(), Match::Port(port.to_string())];
    if config.inbound_include == "*" {
        for excluded in list(&config.inbound_exclude) {
            rules.push(Rule::new(table, Chain::Inbound, port(excluded), Target::Return));
        }
        capture(config, vec![tcp()], rules);
    } else {
        for included in list(&config.inbound_include) {
            capture(config, port(included), rules);
        }
    }
}

fn capture(config: &CaptureConfig, matches: Vec<Match>, rules: &mut Vec<Rule>) {
    if config.tproxy {
        let known = [matches.clone(), vec![Match::Established]].concat();
        rules.push(Rule::new(Table::Mangle, Chain::Inbound, known, Target::Jump(Chain::Divert)));
        rules.push(Rule::new(Table::Mangle, Chain::Inbound, matches, Target::Jump(Chain::Tproxy)));
    } else {
        rules.push(Rule::new(Table::Nat, Chain::Inbound, matches, Target::Jump(Chain::InRedirect)));
    }
}

/// Packets with the mark are routed to loopback, where Envoy's socket takes them.
fn tproxy(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    let mark = &config.tproxy_mark;
    rules.push(Rule::new(Table::Mangle, Chain::Divert, vec![], Target::SetMark(mark.clone())));
    rules.push(Rule::new(Table::Mangle, Chain::Divert, vec![], Target::Accept));
    for_each((&config.loopback, V6_LOOPBACK), rules, |loopback| {
        let target = Target::Tproxy { port: config.inbound_port.clone(), mark: mark.clone() };
        Rule::new(Table::Mangle, Chain::Tproxy, vec![Match::NotDestination(loopback.into()), tcp()], target)
    });
}

/// What must not come to Envoy again.
pub(super) fn marks(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    let inbound = |matches| Rule::new(Table::Mangle, Chain::Inbound, matches, Target::Return);
    // From Envoy, with the client's address.
    rules.push(inbound(vec![tcp(), Match::Mark(config.tproxy_mark.clone())]).at(1));
    // From Envoy and the agent to the application.
    for (family, address) in [(Family::V4, PASSTHROUGH.0), (Family::V6, PASSTHROUGH.1)] {
        let matches = vec![tcp(), Match::Source(address.into()), Match::In("lo".into())];
        rules.push(inbound(matches).at(2).only(family));
    }
    // From the application to itself by the pod's address.
    rules.push(inbound(vec![tcp(), Match::In("lo".into()), Match::NotMark(OUTBOUND_MARK.into())]).at(3));
}
