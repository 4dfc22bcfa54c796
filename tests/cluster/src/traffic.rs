// SPDX-License-Identifier: Apache-2.0
//! Requests from one pod to another that go on whatever happens to the cluster: the pod itself sends and counts them.

use crate::pod::Pod;
use anyhow::{Result, ensure};
use std::time::Duration;

/// Traffic that goes on until it is stopped.
#[derive(Debug)]
pub struct Traffic {
    from: Pod,
    file: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many requests were sent.
    pub requests: usize,
    /// Those that were not answered with 200: status, seconds that it took, curl's exit code, and when, in seconds since the epoch.
    pub failed: Vec<String>,
    /// The longest that one took.
    pub slowest: Duration,
}

impl Traffic {
    /// Sends some twenty requests a second, each on a connection of its own to the pod's sidecar.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub fn start(from: &Pod, url: &str) -> Result<Traffic> {
        let file = format!("/tmp/traffic-{}", std::process::id());
        let script = format!(
            "rm -f {file} {file}.stop
            (while [ ! -e {file}.stop ]; do
              curl --silent --output /dev/null --max-time 10 --write-out '%{{http_code}} %{{time_total}} %{{exitcode}} ' {url} >> {file}
              date +%s >> {file}
              sleep 0.03
            done) > /dev/null 2>&1 < /dev/null &"
        );
        from.exec(&["sh", "-c", &script])?;
        Ok(Traffic { from: from.clone(), file })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the pod does not say what came.
    pub fn stop(self) -> Result<Summary> {
        let script = format!("touch {file}.stop; sleep 0.3; cat {file}", file = self.file);
        let text = self.from.exec(&["sh", "-c", &script])?;
        let mut summary = Summary::default();
        // The last line may be in the making.
        for line in text.lines().filter(|line| line.split_whitespace().count() == 4) {
            let mut words = line.split_whitespace();
            let (code, seconds) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            summary.requests += 1;
            summary.slowest = summary.slowest.max(Duration::from_secs_f64(seconds.parse().unwrap_or_default()));
            if code != "200" {
                summary.failed.push(line.to_owned());
            }
        }
        ensure!(summary.requests > 0, "no request was sent: {text}");
        Ok(summary)
    }
}
