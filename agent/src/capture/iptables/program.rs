// SPDX-License-Identifier: Apache-2.0
//! The programs of iptables: which of them work here, and how they are run.

use super::super::config::{Binary, CaptureConfig};
use std::io::Write;
use std::process::{Command, Stdio};

/// The programs of one flavour for one address family.
pub(super) struct Program {
    name: String,
    v6: bool,
    lock_file: Option<String>,
}

impl Program {
    /// The flavour to use.
    pub(super) fn find(v6: bool, config: &CaptureConfig) -> Result<Self, String> {
        let base = if v6 { "ip6tables" } else { "iptables" };
        let lock_file = config.network_namespace.clone().filter(|_| config.cni_mode);
        let program = |suffix: &str| Self { name: format!("{base}{suffix}"), v6, lock_file: lock_file.clone() };
        let (legacy, nft, plain) = (program("-legacy"), program("-nft"), program(""));
        match config.binary {
            Binary::Legacy => return legacy.working(),
            Binary::Nft => return nft.working(),
            Binary::Any => {}
        }
        if legacy_tables(v6) && legacy.save().is_ok_and(|text| text.lines().count() > 2) {
            return legacy.working();
        }
        let mut reasons = Vec::new();
        for candidate in [nft, legacy, plain] {
            match candidate.working() {
                Ok(program) => return Ok(program),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(format!("no iptables works here: {}", reasons.join("; ")))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn v6(&self) -> bool {
        self.v6
    }

    /// Itself, when the kernel can do what it needs: the nat table.
    fn working(self) -> Result<Self, String> {
        self.run(&[], &["-t", "nat", "-S", "OUTPUT"], None)?;
        Ok(self)
    }

    /// All that is there.
    pub(super) fn save(&self) -> Result<String, String> {
        self.run(&["-save"], &[], None)
    }

    /// Carries commands out, all of a table or none.
    pub(super) fn restore(&self, text: &str) -> Result<(), String> {
        // The nft flavour has no lock, and takes the flag all the same.
        self.run(&["-restore"], &["--noflush", "--wait=30"], Some(text)).map(drop)
    }

    fn run(&self, suffix: &[&str], arguments: &[&str], input: Option<&str>) -> Result<String, String> {
        let program = format!("{}{}", self.name, suffix.concat());
        let failed = |e: std::io::Error| format!("{program}: {e}");
        let mut command = Command::new(&program);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        if let Some(path) = &self.lock_file {
            command.env("XTABLES_LOCKFILE", path);
        }
        let mut child = command.spawn().map_err(failed)?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            // When the program ends early, its own words say more than a broken pipe.
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program}: {}: {}{}", output.status, words.trim(), named_line(&words, input)))
    }
}

/// The line that iptables-restore complains about.
fn named_line(words: &str, input: Option<&str>) -> String {
    let number =
        words.split("line ").nth(1).and_then(|r| r.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok());
    let line = number.and_then(|n| input?.lines().nth(n.checked_sub(1)?));
    line.map(|l| format!(" (line: {l})")).unwrap_or_default()
}

/// Whether there may be legacy tables in this network namespace: the kernel lists those that were ever used here.
fn legacy_tables(v6: bool) -> bool {
    let path = if v6 { "/proc/net/ip6_tables_names" } else { "/proc/net/ip_tables_names" };
    match std::fs::read_to_string(path) {
        Ok(names) => !names.trim().is_empty(),
        // No such file: the kernel has no legacy tables. No right to read it: see for yourself.
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}
