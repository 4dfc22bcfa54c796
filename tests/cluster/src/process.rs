// SPDX-License-Identifier: Apache-2.0
//! The processes of a pod's containers, as this machine sees them, and pages that they serve.

use crate::pod::Pod;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(i32);

/// Memory of a process in bytes, as Linux counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of its pages that are in memory, those of files and what is shared included.
    pub resident: u64,
    /// Those that are its alone and not of a file: what it costs.
    pub private: u64,
}

impl Process {
    /// The processes of a container that runs a program of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pod: &Pod, container: &str, program: &str) -> Result<Process> {
        let list = |path: &str| pod.object().pointer(path).and_then(Value::as_array).into_iter().flatten();
        let all = list("/status/containerStatuses").chain(list("/status/initContainerStatuses"));
        let id = all.filter(|status| status["name"] == container).find_map(|status| status["containerID"].as_str());
        let id = id
            .and_then(|id| id.rsplit('/').next())
            .with_context(|| format!("{}: {container} does not run", pod.name()))?;
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            if read("cgroup").contains(id) && read("comm").trim() == program {
                return Ok(Process(pid));
            }
        }
        bail!("no process {program} in {container} of {}", pod.name())
    }

    /// Kills it.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn kill(self) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(self.0).context("a process")?;
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
    }

    /// Its memory now.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn memory(self) -> Result<Memory> {
        let path = PathBuf::from(format!("/proc/{}/smaps_rollup", self.0));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok(Memory { resident: field("Rss:")?, private: field("Private_Dirty:")? })
    }
}

/// A page that a pod serves by HTTP, such as `8080` and `/ready`: its status and body. This machine reaches pods without the API server.
///
/// # Errors
/// When the pod does not answer within some seconds.
pub fn page(pod: &Pod, port: u16, path: &str) -> Result<(u16, String)> {
    let patience = Duration::from_secs(5);
    let address = format!("{}:{port}", pod.ip()?).parse()?;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").context("an answer of HTTP")?;
    let status = head.split_whitespace().nth(1).context("a status line")?.parse()?;
    Ok((status, body.to_owned()))
}

/// The sum of a metric over its labels, in a page of metrics.
pub fn metric(page: &str, name: &str) -> f64 {
    let values = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series == name || series.strip_prefix(name)?.starts_with('{')).then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}
