// SPDX-License-Identifier: Apache-2.0
//! What goes out.

use super::{
    CaptureConfig, Chain, Match, OUTBOUND_MARK, PASSTHROUGH, Ranges, Rule, Table, Target, V6_LOOPBACK, for_each, list,
    lo, tcp, udp,
};

fn output(matches: Vec<Match>, target: Target) -> Rule {
    Rule::new(Table::Nat, Chain::Outbound, matches, target)
}

/// Excluded ports, and what the proxy itself sends.
pub(super) fn proxy_itself(config: &CaptureConfig, included: &Ranges, rules: &mut Vec<Rule>) {
    rules.push(Rule::new(Table::Nat, Chain::Output, vec![], Target::Jump(Chain::Outbound)));
    for port in list(&config.outbound_ports_exclude) {
        for protocol in [tcp(), udp()] {
            rules.push(output(vec![protocol, Match::Port(port.into())], Target::Return));
        }
    }
    for_each(PASSTHROUGH, rules, |address| output(vec![lo(), Match::Source(address.into())], Target::Return));
    let owner = |user: bool, id: &str| if user { Match::User(id.into()) } else { Match::Group(id.into()) };
    let other = |user: bool, id: &str| if user { Match::NotUser(id.into()) } else { Match::NotGroup(id.into()) };
    let ids = list(&config.proxy_uid).map(|i| (true, i)).chain(list(&config.proxy_gid).map(|i| (false, i)));
    let dns = super::dns::wanted(config);
    for (user, id) in ids {
        // An application that calls itself by its service's address: Envoy's outbound side goes to its inbound side. The agent's
        // DNS goes straight to the server.
        for_each((&config.loopback, V6_LOOPBACK), rules, |loopback| {
            let mut matches = vec![lo(), Match::NotDestination(loopback.into()), tcp()];
            matches.push(if dns && user {
                Match::NotPorts(vec!["53".into(), config.tunnel_port.clone()])
            } else {
                Match::NotPort(config.tunnel_port.clone())
            });
            matches.push(owner(user, id));
            output(matches, Target::Jump(Chain::InRedirect))
        });
        // An application that calls itself by the pod's address is let through, unless loopback is to be captured. A DNS server
        // on loopback is still captured.
        if !included.loopback {
            let mut matches = vec![lo()];
            if dns {
                matches.extend([tcp(), Match::NotPort("53".into())]);
            }
            matches.push(other(user, id));
            rules.push(output(matches, Target::Return));
        }
        // Whatever else the proxy sends goes where it is sent.
        rules.push(output(vec![owner(user, id)], Target::Return));
    }
}

/// Groups whose traffic is let through.
pub(super) fn groups(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    if config.groups_include == "*" {
        for group in list(&config.groups_exclude) {
            rules.push(output(vec![Match::Group(group.into())], Target::Return));
        }
    } else {
        let none = list(&config.groups_include).map(|group| Match::NotGroup(group.into())).collect();
        rules.push(output(none, Target::Return));
    }
}

/// Which destinations are captured.
pub(super) fn destinations(config: &CaptureConfig, included: &Ranges, excluded: &Ranges, rules: &mut Vec<Rule>) {
    for_each((&config.loopback, V6_LOOPBACK), rules, |loopback| {
        output(vec![Match::Destination(loopback.into())], Target::Return)
    });
    for (family, range) in &excluded.some {
        rules.push(output(vec![Match::Destination(range.clone())], Target::Return).only(*family));
    }
    for port in list(&config.outbound_ports_include) {
        rules.push(output(vec![tcp(), Match::Port(port.into())], Target::Jump(Chain::Redirect)));
    }
    let from_machine = |name: &str, to: Option<&String>| {
        let matches = [Some(Match::In(name.into())), to.cloned().map(Match::Destination)];
        let target = Target::Jump(Chain::Redirect);
        Rule::new(Table::Nat, Chain::Prerouting, matches.into_iter().flatten().collect(), target).at(1)
    };
    if included.all {
        rules.push(output(vec![], Target::Jump(Chain::Redirect)));
        rules.extend(list(&config.virtual_interfaces).map(|name| from_machine(name, None)));
    }
    for (family, range) in &included.some {
        let machines = list(&config.virtual_interfaces);
        rules.extend(machines.map(|name| from_machine(name, Some(range)).only(*family)));
        let redirect = output(vec![Match::Destination(range.clone())], Target::Jump(Chain::Redirect));
        rules.push(redirect.only(*family));
    }
}

/// With TPROXY the application sees the client's address; its answers find back to Envoy by the connection's mark.
pub(super) fn marks(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    let mark = &config.tproxy_mark;
    let mangle = |chain, matches, target| Rule::new(Table::Mangle, chain, matches, target);
    rules.push(mangle(Chain::Prerouting, vec![tcp(), Match::Mark(mark.clone())], Target::SaveMark));
    rules.push(mangle(Chain::Output, vec![tcp(), lo(), Match::Mark(mark.clone())], Target::Return));
    let users = list(&config.proxy_uid).map(|id| Match::User(id.into()));
    let groups = list(&config.proxy_gid).map(|id| Match::Group(id.into()));
    for owner in users.chain(groups) {
        for_each((&config.loopback, V6_LOOPBACK), rules, |loopback| {
            let matches = vec![Match::NotDestination(loopback.into()), tcp(), lo(), owner.clone()];
            mangle(Chain::Output, matches, Target::SetMark(OUTBOUND_MARK.into()))
        });
    }
    rules.push(mangle(Chain::Output, vec![tcp(), Match::ConnectionMark(mark.clone())], Target::RestoreMark));
}
