// SPDX-License-Identifier: Apache-2.0
//! A control plane as a child process, and what the kernel says of it.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that is killed when this is dropped.
pub struct Server {
    child: Child,
}

/// Resident memory in MB.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Now.
    pub resident: f64,
    /// The most so far.
    pub peak: f64,
}

impl Server {
    /// Starts a control plane in folder mode with plaintext xDS at `address` and nothing else, and waits until it listens.
    pub async fn start(binary: &Path, folder: &Path, address: SocketAddr, log: &Path) -> Result<Self> {
        let output = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(binary)
            .args(["serve", "--configDir"])
            .arg(folder)
            .arg(format!("--grpcAddr={address}"))
            .args(["--secureGRPCAddr=", "--httpAddr=", "--httpsAddr=", "--monitoringAddr="])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Self { child };
        let begin = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended with {status}; see {}", binary.display(), log.display());
            }
            if begin.elapsed() > Duration::from_secs(60) {
                bail!("{} does not listen at {address}; see {}", binary.display(), log.display());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// CPU seconds that the process has used, user and system.
    pub fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may have spaces; user and system time are the 14th and 15th field.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("no times in /proc/PID/stat");
        // Linux counts in hundredths of a second for all programs.
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }

    /// Resident memory of the process.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name));
            let kilobytes = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<f64>().ok());
            kilobytes.map(|k| k * 1024.0 / 1e6).with_context(|| format!("no {name} in /proc/PID/status"))
        };
        Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
