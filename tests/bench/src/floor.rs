// SPDX-License-Identifier: Apache-2.0
//! What the bytes alone cost: one side writes them to loopback sockets, the other reads them and does nothing else.

use anyhow::{Context, Result};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// What writing cost.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// How many sockets.
    pub sockets: usize,
    /// How many bytes to each.
    pub bytes: usize,
    /// Milliseconds until the last reader had all: median over the rounds.
    pub p50_ms: f64,
    /// The same, 99th percentile.
    pub p99_ms: f64,
    /// CPU seconds of the writing threads in each round.
    pub writer_cpu_s: f64,
}

/// Writes `bytes` to each of `sockets` in each of `rounds`. Writers have a runtime of their own, so that their CPU time can be told.
pub fn measure(sockets: usize, bytes: usize, rounds: usize) -> Result<Floor> {
    let name = "floor-writer";
    let writers = tokio::runtime::Builder::new_multi_thread().thread_name(name).enable_all().build()?;
    let readers = tokio::runtime::Builder::new_multi_thread().thread_name("floor-reader").enable_all().build()?;
    let read = Arc::new((AtomicUsize::new(0), Notify::new()));
    let (go, _) = watch::channel(0usize);
    let payload: Arc<[u8]> = vec![7u8; bytes].into();
    let listener = readers.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    for _ in 0..sockets {
        let mut writer = writers.block_on(TcpStream::connect(address))?;
        let (mut reader, _) = readers.block_on(listener.accept())?;
        let (mut go, payload) = (go.subscribe(), Arc::clone(&payload));
        writers.spawn(async move {
            while go.changed().await.is_ok() {
                if writer.write_all(&payload).await.is_err() {
                    return;
                }
            }
        });
        let read = Arc::clone(&read);
        readers.spawn(async move {
            let mut buffer = vec![0u8; 64 * 1024];
            let mut got = 0;
            while let Ok(n @ 1..) = reader.read(&mut buffer).await {
                got += n;
                if got >= bytes {
                    got -= bytes;
                    read.0.fetch_add(1, Ordering::SeqCst);
                    read.1.notify_one();
                }
            }
        });
    }
    let mut times = Vec::new();
    let before = thread_seconds(name)?;
    for round in 1..=rounds {
        let begin = Instant::now();
        go.send_replace(round);
        readers.block_on(async {
            while read.0.load(Ordering::SeqCst) < round * sockets {
                let notified = read.1.notified();
                // Bounded, since many readers may finish between two looks.
                let _ = tokio::time::timeout(Duration::from_micros(500), notified).await;
            }
        });
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(20));
    }
    let writer_cpu_s = (thread_seconds(name)? - before) / rounds as f64;
    times.sort_by(f64::total_cmp);
    let (p50_ms, p99_ms) = (crate::report::percentile(&times, 50), crate::report::percentile(&times, 99));
    Ok(Floor { sockets, bytes, p50_ms, p99_ms, writer_cpu_s })
}

/// The CPU time of this process's threads of a name.
fn thread_seconds(name: &str) -> Result<f64> {
    let mut nanoseconds = 0u64;
    for task in std::fs::read_dir("/proc/self/task").context("cannot list threads")? {
        let path = task?.path();
        let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let schedstat = std::fs::read_to_string(path.join("schedstat"))?;
            nanoseconds += schedstat.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}
