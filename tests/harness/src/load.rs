// SPDX-License-Identifier: Apache-2.0
//! Requests at a steady pace while something else happens, and what became of each.

use crate::client::{Connection, Request};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How many failures are told one by one.
const TOLD: usize = 20;

/// Requests that go on until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    tasks: JoinSet<Report>,
    began: Instant,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Report {
    /// How many were answered with 200.
    pub answered: usize,
    /// How many were not.
    pub failed: usize,
    /// What came instead of a 200, with the time since the load began; the first few.
    pub failures: Vec<String>,
    /// How often each body came with a 200.
    pub bodies: BTreeMap<String, usize>,
}

impl Load {
    /// Sends `request` over `connections` connections that stay open, on each `per_second` times a second.
    pub fn start(request: &Request, connections: usize, per_second: u32) -> Load {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for _ in 0..connections {
            tasks.spawn(send(request.clone(), Duration::from_secs(1) / per_second, stopped.clone(), began));
        }
        Load { stop, tasks, began }
    }

    /// Stops and tells what became of all requests.
    pub async fn stop(mut self) -> Report {
        // Without a receiver the tasks have ended already.
        let _ = self.stop.send(true);
        let mut all = Report::default();
        while let Some(report) = self.tasks.join_next().await {
            match report {
                Ok(report) => all.add(report),
                Err(error) => all.fail(self.began, error.to_string()),
            }
        }
        all
    }
}

async fn send(request: Request, pause: Duration, mut stopped: watch::Receiver<bool>, began: Instant) -> Report {
    let mut report = Report::default();
    let mut connection = Connection::new(request.connect);
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.changed() => return report,
            _ = ticks.tick() => {}
        }
        match connection.send(&request).await {
            Ok(answer) if answer.status == 200 => {
                report.answered += 1;
                *report.bodies.entry(answer.body.trim().to_owned()).or_default() += 1;
            }
            Ok(answer) => report.fail(began, format!("{} {}", answer.status, answer.body.trim())),
            Err(error) => report.fail(began, format!("{error:#}")),
        }
    }
}

impl Report {
    fn fail(&mut self, began: Instant, what: String) {
        self.failed += 1;
        if self.failures.len() < TOLD {
            self.failures.push(format!("after {:.2} s: {what}", began.elapsed().as_secs_f64()));
        }
    }

    fn add(&mut self, other: Report) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(TOLD);
        for (body, count) in other.bodies {
            *self.bodies.entry(body).or_default() += count;
        }
    }

    /// Fails when a request did, or when fewer than `at_least` were answered.
    ///
    /// # Panics
    /// Telling the first failures.
    pub fn assert_clean(&self, at_least: usize) {
        assert!(
            self.failed == 0,
            "{} of {} failed:\n{}",
            self.failed,
            self.failed + self.answered,
            self.failures.join("\n")
        );
        assert!(self.answered >= at_least, "only {} were answered, of {at_least} at least", self.answered);
    }
}
