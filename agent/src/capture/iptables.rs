// SPDX-License-Identifier: Apache-2.0
//! Capture by iptables: rules as `iptables-restore` reads them, which kind of iptables to use, and how to see what is there.
//!
//! iptables comes in two flavours that do not see each other's rules: `legacy` and `nft`. The one that has rules in this network
//! namespace is used; when none has, the nft flavour, if the kernel can do it.

mod program;
mod state;

use super::config::CaptureConfig;
use super::rule::{Chain, Match, Protocol, Rule, Table, Target};
use program::Program;
use state::State;
use std::collections::BTreeSet;
use std::fmt::Write;

const TABLES: [Table; 3] = [Table::Mangle, Table::Nat, Table::Raw];

/// Applies the rules, unless they are there already; removes them when only that is asked for.
///
/// # Errors
/// When no iptables works here, or it refuses the rules.
pub fn apply(rules: &[Rule], config: &CaptureConfig) -> Result<(), String> {
    let families: &[bool] = if config.ipv6 { &[false, true] } else { &[false] };
    for &v6 in families {
        let program = Program::find(v6, config)?;
        one_family(&program, rules, config)?;
        tracing::debug!(program = program.name(), "state:\n{}", program.save().unwrap_or_default());
    }
    Ok(())
}

fn one_family(program: &Program, rules: &[Rule], config: &CaptureConfig) -> Result<(), String> {
    let name = program.name();
    let present = State::of(&program.save().unwrap_or_default());
    let wanted = restore_text(rules, program.v6());
    if config.cleanup_only {
        remove_base_rules(program, rules);
        return match present.removal() {
            Some(text) => program.restore(&text),
            None => Ok(()),
        };
    }
    let residue = !present.is_empty();
    let same = residue
        && present.has_chains_of(&State::of(&wanted))
        && program.restore(&check_text(rules, program.v6())).is_ok();
    if same && !config.force_apply {
        tracing::info!(program = name, "the rules are there already");
        return Ok(());
    }
    if residue && config.reconcile {
        tracing::info!(program = name, "replacing rules of a former run");
        remove_base_rules(program, rules);
        // Each table changes at once, so that nothing slips through in between.
        return program.restore(&present.replaced_by(&wanted));
    }
    if residue {
        tracing::warn!(program = name, "other rules of a former run are there; --reconcile replaces them");
    }
    program.restore(&wanted)
}

/// Removes rules that jump to no chain of ours from the kernel's chains; that they are not there is no error.
fn remove_base_rules(program: &Program, rules: &[Rule]) {
    let base = |r: &&Rule| matches!(r.chain, Chain::Prerouting | Chain::Output) && !matches!(r.target, Target::Jump(_));
    for rule in rules.iter().filter(base).filter(|r| r.family.includes(program.v6())) {
        let text = format!("*{}\n-D {} {}\nCOMMIT\n", table(rule.table), chain(rule.chain), body(rule));
        // Until no copy is left, within reason.
        for _ in 0..8 {
            if program.restore(&text).is_err() {
                break;
            }
        }
    }
}

/// The rules as `iptables-restore --noflush` reads them.
pub fn restore_text(rules: &[Rule], v6: bool) -> String {
    text(rules, v6, true, |rule| match rule.position {
        Some(position) => format!("-I {} {position}", chain(rule.chain)),
        None => format!("-A {}", chain(rule.chain)),
    })
}

/// The same as a question whether all rules are there.
fn check_text(rules: &[Rule], v6: bool) -> String {
    text(rules, v6, false, |rule| format!("-C {}", chain(rule.chain)))
}

fn text(rules: &[Rule], v6: bool, create: bool, command: impl Fn(&Rule) -> String) -> String {
    let mut out = String::new();
    for name in TABLES {
        let of_table: Vec<&Rule> = rules.iter().filter(|r| r.table == name && r.family.includes(v6)).collect();
        if of_table.is_empty() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, "*{}", table(name));
        if create {
            let used = of_table.iter().map(|r| r.chain);
            let led_to = of_table.iter().filter_map(|r| if let Target::Jump(to) = r.target { Some(to) } else { None });
            let own: BTreeSet<Chain> =
                used.chain(led_to).filter(|c| !matches!(c, Chain::Prerouting | Chain::Output)).collect();
            own.into_iter().for_each(|c| out.push_str(&format!("-N {}\n", chain(c))));
        }
        for rule in of_table {
            let _ = writeln!(out, "{} {}", command(rule), body(rule));
        }
        out.push_str("COMMIT\n");
    }
    out
}

fn table(table: Table) -> &'static str {
    match table {
        Table::Mangle => "mangle",
        Table::Nat => "nat",
        Table::Raw => "raw",
    }
}

fn chain(chain: Chain) -> &'static str {
    match chain {
        Chain::Prerouting => "PREROUTING",
        Chain::Output => "OUTPUT",
        Chain::Inbound => "ISTIO_INBOUND",
        Chain::InRedirect => "ISTIO_IN_REDIRECT",
        Chain::Redirect => "ISTIO_REDIRECT",
        Chain::Outbound => "ISTIO_OUTPUT",
        Chain::OutboundDns => "ISTIO_OUTPUT_DNS",
        Chain::Divert => "ISTIO_DIVERT",
        Chain::Tproxy => "ISTIO_TPROXY",
        Chain::Drop => "ISTIO_DROP",
    }
}

fn body(rule: &Rule) -> String {
    let mut words: Vec<String> = rule.matches.iter().map(condition).collect();
    words.push(target(&rule.target));
    words.join(" ")
}

fn condition(condition: &Match) -> String {
    match condition {
        Match::In(name) => format!("-i {name}"),
        Match::Out(name) => format!("-o {name}"),
        Match::Source(range) => format!("-s {range}"),
        Match::Destination(range) => format!("-d {range}"),
        Match::NotDestination(range) => format!("! -d {range}"),
        Match::Protocol(Protocol::Tcp) => "-p tcp".into(),
        Match::Protocol(Protocol::Udp) => "-p udp".into(),
        Match::Port(port) => format!("--dport {port}"),
        Match::NotPort(port) => format!("! --dport {port}"),
        Match::NotPorts(ports) => format!("-m multiport ! --dports {}", ports.join(",")),
        Match::SourcePort(port) => format!("--sport {port}"),
        Match::User(id) => format!("-m owner --uid-owner {id}"),
        Match::NotUser(id) => format!("-m owner ! --uid-owner {id}"),
        Match::Group(id) => format!("-m owner --gid-owner {id}"),
        Match::NotGroup(id) => format!("-m owner ! --gid-owner {id}"),
        Match::Established => "-m conntrack --ctstate RELATED,ESTABLISHED".into(),
        Match::Invalid => "-m conntrack --ctstate INVALID".into(),
        Match::Mark(mark) => format!("-m mark --mark {mark}"),
        Match::NotMark(mark) => format!("-m mark ! --mark {mark}"),
        Match::ConnectionMark(mark) => format!("-m connmark --mark {mark}"),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Return => "-j RETURN".into(),
        Target::Accept => "-j ACCEPT".into(),
        Target::Drop => "-j DROP".into(),
        Target::Jump(to) => format!("-j {}", chain(*to)),
        Target::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Target::Tproxy { port, mark } => format!("-j TPROXY --tproxy-mark {mark}/0xffffffff --on-port {port}"),
        Target::SetMark(mark) => format!("-j MARK --set-mark {mark}"),
        Target::SaveMark => "-j CONNMARK --save-mark".into(),
        Target::RestoreMark => "-j CONNMARK --restore-mark".into(),
        Target::Zone(zone) => format!("-j CT --zone {zone}"),
    }
}
