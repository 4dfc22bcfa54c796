// SPDX-License-Identifier: Apache-2.0
//! What of ours is there, by the output of `iptables-save`; the input of `iptables-restore` is read the same way.

use std::collections::BTreeMap;

const OURS: &str = "ISTIO_";

/// For each table, our chains with how many rules they have, and the rules of other chains that lead to ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    tables: BTreeMap<String, OfTable>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct OfTable {
    chains: BTreeMap<String, usize>,
    jumps: Vec<String>,
}

impl State {
    pub(super) fn of(text: &str) -> Self {
        let mut state = Self::default();
        let mut table = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name.trim().to_string();
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut found = |name: &str, rules| {
                *state.tables.entry(table.clone()).or_default().chains.entry(name.to_string()).or_default() += rules;
            };
            match words.as_slice() {
                ["-N", name] if name.starts_with(OURS) => found(name, 0),
                [name, ..] if name.starts_with(":ISTIO_") => found(&name[1..], 0),
                ["-A" | "-I", name, ..] if name.starts_with(OURS) => found(name, 1),
                ["-A", _, .., "-j", to] if to.starts_with(OURS) => {
                    let jump = line.replacen("-A", "-D", 1);
                    state.tables.entry(table.clone()).or_default().jumps.push(jump);
                }
                _ => {}
            }
        }
        state
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Whether our chains are the same, with as many rules each.
    pub(super) fn has_chains_of(&self, other: &Self) -> bool {
        let chains = |s: &Self| -> Vec<(String, BTreeMap<String, usize>)> {
            s.tables.iter().filter(|(_, t)| !t.chains.is_empty()).map(|(n, t)| (n.clone(), t.chains.clone())).collect()
        };
        chains(self) == chains(other)
    }

    /// Commands that remove all that is ours, for `iptables-restore --noflush`.
    pub(super) fn removal(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.replaced_by(""))
    }

    /// The same, and then those of `wanted`, each table in one step.
    pub(super) fn replaced_by(&self, wanted: &str) -> String {
        let mut out = String::new();
        for (name, table) in &self.tables {
            out.push_str(&format!("*{name}\n"));
            table.jumps.iter().for_each(|j| out.push_str(&format!("{j}\n")));
            for command in ["-F", "-X"] {
                table.chains.keys().for_each(|c| out.push_str(&format!("{command} {c}\n")));
            }
            out.push_str(section(wanted, name));
            out.push_str("COMMIT\n");
        }
        for name in wanted.lines().filter_map(|l| l.strip_prefix('*')).filter(|n| !self.tables.contains_key(*n)) {
            out.push_str(&format!("*{name}\n{}COMMIT\n", section(wanted, name)));
        }
        out
    }
}

/// The commands for one table.
fn section<'a>(text: &'a str, table: &str) -> &'a str {
    let head = format!("*{table}\n");
    let Some(start) = text.find(&head).map(|at| at + head.len()) else { return "" };
    let end = text[start..].find("COMMIT\n").map_or(text.len(), |at| start + at);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "*raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:DOCKER - [0:0]\n\
                         -A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j DOCKER\n-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN\nCOMMIT\n";
    const WANTED: &str =
        "*nat\n-N ISTIO_OUTPUT\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN\nCOMMIT\n";

    #[test]
    fn what_is_saved_and_what_is_wanted_compare() {
        let (saved, wanted) = (State::of(SAVED), State::of(WANTED));
        assert!(saved.has_chains_of(&wanted) && !saved.is_empty());
        assert!(!saved.has_chains_of(&State::of(&WANTED.replace("COMMIT", "-A ISTIO_OUTPUT -j RETURN\nCOMMIT"))));
        assert!(State::of("*nat\n:DOCKER - [0:0]\nCOMMIT\n").is_empty());
    }

    #[test]
    fn what_is_ours_goes_and_nothing_else() {
        let removal = State::of(SAVED).removal().unwrap();
        assert_eq!(removal, "*nat\n-D OUTPUT -j ISTIO_OUTPUT\n-F ISTIO_OUTPUT\n-X ISTIO_OUTPUT\nCOMMIT\n");
        let replaced = State::of(SAVED).replaced_by(&format!("*mangle\n-N ISTIO_DROP\nCOMMIT\n{WANTED}"));
        assert!(
            replaced.contains("-X ISTIO_OUTPUT\n-N ISTIO_OUTPUT\n")
                && replaced.ends_with("*mangle\n-N ISTIO_DROP\nCOMMIT\n")
        );
    }
}
