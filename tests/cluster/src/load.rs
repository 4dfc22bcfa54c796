// SPDX-License-Identifier: Apache-2.0
//! Requests without a pause, while a test changes something below them.

use crate::pod::Pod;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Sends requests one after the other until it is stopped; each takes a new connection. Failures are told with the time and what came.
const LOOP: &str = r#"
    (while [ ! -e $0-stop ]; do
        code=$(curl --silent --max-time 10 --output $0-body --write-out '%{http_code} %{time_total} %{errormsg}' "$@")
        echo "$(date +%T) $code $(case $code in 200*) ;; *) head -c 200 $0-body ;; esac)" >> $0
        sleep 0.02
    done; touch $0-over) > /dev/null 2>&1 &"#;
const END: &str = "touch $0-stop; while [ ! -e $0-over ]; do sleep 0.1; done; cat $0";

/// Each has files of its own in the pod.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A pod that sends requests. It goes on doing so when this is dropped: the pod's end is its end.
#[derive(Debug)]
pub struct Load {
    pod: Pod,
    file: String,
}

/// What became of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many were sent.
    pub sent: usize,
    /// Those that were not answered with 200: when, status, seconds that it took, what came.
    pub failed: Vec<String>,
    /// The longest that one took.
    pub slowest: Duration,
}

impl Load {
    /// Starts it: `arguments` are curl's.
    ///
    /// # Errors
    /// When the pod cannot run a command.
    pub fn start(pod: &Pod, arguments: &[&str]) -> Result<Load> {
        let file = format!("/tmp/load-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        pod.exec(&[&["sh", "-c", LOOP, &file], arguments].concat())?;
        Ok(Load { pod: pod.clone(), file })
    }

    /// Stops it.
    ///
    /// # Errors
    /// When the pod cannot run a command, or nothing was sent.
    pub fn stop(self) -> Result<Outcome> {
        let text = self.pod.exec(&["timeout", "15", "sh", "-c", END, &self.file]).context("the load does not end")?;
        let lines: Vec<&str> = text.lines().collect();
        ensure!(!lines.is_empty(), "no request was sent");
        let failed = lines.iter().filter(|line| line.split(' ').nth(1) != Some("200"));
        let seconds = lines.iter().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
        let slowest = seconds.map(Duration::from_secs_f64).max().unwrap_or_default();
        Ok(Outcome { sent: lines.len(), failed: failed.map(|line| (*line).to_owned()).collect(), slowest })
    }
}

impl Outcome {
    /// Prints how many were sent, and fails when one of them failed.
    ///
    /// # Errors
    /// With those that failed.
    pub fn all_answered(&self, during: &str) -> Result<()> {
        let slowest = self.slowest.as_millis();
        println!("{during}: {} requests, {} failed, the slowest took {slowest} ms", self.sent, self.failed.len());
        ensure!(
            self.failed.is_empty(),
            "{during}: {} of {} failed:\n{}",
            self.failed.len(),
            self.sent,
            self.failed.join("\n")
        );
        Ok(())
    }
}
