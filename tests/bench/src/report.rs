// SPDX-License-Identifier: Apache-2.0
//! Results as a table and as JSON.

use crate::floor::Floor;
use crate::process::Memory;
use serde::Serialize;

/// What one run with a number of proxies gave.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `delta` or `sotw`.
    pub mode: String,
    /// How many proxies.
    pub proxies: usize,
    /// The first push to all.
    pub initial: Initial,
    /// One line for each kind of change.
    pub changes: Vec<ChangeReport>,
    /// Memory at the end.
    pub memory: Memory,
}

/// The first push.
#[derive(Debug, Serialize)]
pub struct Initial {
    /// CPU seconds from the start of the process until it listened.
    pub startup_cpu_s: f64,
    /// Memory before the first proxy.
    pub memory_before: Memory,
    /// Seconds until all proxies had all.
    pub seconds: f64,
    /// CPU seconds for it.
    pub cpu_s: f64,
    /// What all proxies received, in MB.
    pub megabytes: f64,
    /// Memory after it.
    pub memory: Memory,
}

/// One kind of change, many times.
#[derive(Debug, Serialize)]
pub struct ChangeReport {
    /// What changed.
    pub what: &'static str,
    /// How many times.
    pub times: usize,
    /// Milliseconds from the write of the file to the last proxy, median over the changes.
    pub p50_ms: f64,
    /// The same, 99th percentile.
    pub p99_ms: f64,
    /// Milliseconds to the first proxy, median over the changes.
    pub first_ms: f64,
    /// Milliseconds to the median proxy, median over the changes.
    pub middle_ms: f64,
    /// CPU seconds of the control plane for each.
    pub cpu_s: f64,
    /// Bytes received by all proxies for each.
    pub bytes: u64,
    /// Writing as many bytes to as many sockets.
    pub floor: Floor,
}

/// A percentile of sorted numbers.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank.min(last)).copied().unwrap_or(0.0)
}

/// The table for the terminal.
pub fn print(report: &Report) {
    let initial = &report.initial;
    println!("\n{} proxies, {}", report.proxies, report.mode);
    println!("  start: {:.2} s CPU, {:.0} MB", initial.startup_cpu_s, initial.memory_before.resident);
    println!(
        "  initial push: {:.2} s, {:.2} s CPU, {:.0} MB received; memory {:.0} MB, peak {:.0} MB",
        initial.seconds, initial.cpu_s, initial.megabytes, initial.memory.resident, initial.memory.peak
    );
    println!(
        "  change            to the last proxy p50 / p99   first / middle   CPU each    received    floor p50 / p99, CPU"
    );
    for change in &report.changes {
        println!(
            "  {:<16} {:>10.1} / {:>7.1} ms {:>8.1} / {:>5.1} ms {:>9.4} s {:>8.2} MB {:>9.1} / {:.1} ms, {:.4} s",
            change.what,
            change.p50_ms,
            change.p99_ms,
            change.first_ms,
            change.middle_ms,
            change.cpu_s,
            change.bytes as f64 / 1e6,
            change.floor.p50_ms,
            change.floor.p99_ms,
            change.floor.writer_cpu_s
        );
    }
    println!("  memory at the end {:.0} MB, peak {:.0} MB", report.memory.resident, report.memory.peak);
}
