// SPDX-License-Identifier: Apache-2.0
//! Takes changes of mutual TLS through their steps ([`tiphys_compile::security::Rollout`]): after the push of each step it waits until the
//! proxies have taken it, but not for ever, and says for whom it waits.
//!
//! An acknowledgement of Envoy says that it has understood, not that it acts on it: a listener that asks for certificates for the first time
//! and a cluster that is made anew take traffic a few moments later, and until then the one before does. So a step that brought anything new
//! for anybody settles for a while before the next one begins.

pub mod replicas;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, Opts};
use serde::Serialize;
use tiphys_compile::Compiler;
use tiphys_compile::security::{Rollout, Step};
use tiphys_view::{Behind, Lag, Views};
use tokio::time::Instant;

use self::replicas::{Entry, Reached, Replicas};
use crate::metrics::Metrics;

/// Time between two looks at who has taken a step.
const LOOK: Duration = Duration::from_millis(25);
/// After this time the proxies that are waited for are named.
const NAME_AFTER: Duration = Duration::from_secs(2);
/// How many proxies a line names.
const NAMED: usize = 5;

/// How long a step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Proxies that have not taken a step after this time are passed over; zero: changes are not made in steps.
    pub timeout: Duration,
    /// Time from when all proxies have taken a step until the next one.
    pub settle: Duration,
}

impl Patience {
    /// Whether changes are made in steps at all.
    pub fn is_ordered(&self) -> bool {
        !self.timeout.is_zero()
    }
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// All proxies took all of it.
    Complete,
    /// It was made although some proxies had not taken a step of it.
    PassedOver,
    /// It was taken back before clients were told.
    Withdrawn,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Complete, Self::PassedOver, Self::Withdrawn];

    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::PassedOver => "passed_over",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What the debug page shows.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What is made: `settled`, `servers take both` or `clients are told`.
    step: String,
    /// What is changed.
    #[serde(skip_serializing_if = "String::is_empty")]
    change: String,
    /// For whom it waits.
    waiting: Vec<Waited>,
    /// Who had not taken a step in time.
    passed_over: Vec<String>,
    /// The last change that was made in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Made>,
}

#[derive(Clone, Debug, Serialize)]
struct Waited {
    proxy: String,
    why: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    change: String,
    outcome: Outcome,
    seconds: f64,
    passed_over: Vec<String>,
}

/// What others may look at.
#[derive(Debug, Default)]
pub struct Board(Mutex<Status>);

impl Board {
    /// How it stands.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A push, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct StepPush<'a> {
    /// The generation that is served since.
    pub generation: u64,
    /// Of how many proxies it changed what they are given.
    pub changed: usize,
    /// What changed.
    pub what: &'a str,
}

/// A change on its way.
#[derive(Debug)]
struct Running {
    what: String,
    began: Instant,
    step: Step,
    epoch: u64,
    /// The generation that brought the step.
    generation: u64,
    since: Instant,
    /// Whether the step brought anything new for anybody.
    changed: bool,
    /// When all had taken it.
    taken: Option<Instant>,
    look_at: Instant,
    named: bool,
    /// The step was passed.
    passed: bool,
    passed_over: BTreeSet<String>,
}

/// Changes of mutual TLS on their way.
pub struct Rollouts {
    views: Arc<Views>,
    patience: Patience,
    board: Arc<Board>,
    running: Option<Running>,
    /// The other replicas, where there may be some.
    replicas: Option<Replicas>,
    /// Epoch of what was said to them last.
    said: Option<u64>,
    /// Proxies were told something before this control plane began, and are expected back.
    resumes: bool,
    waiting: IntGauge,
    made: IntCounterVec,
}

impl Rollouts {
    /// None on its way.
    ///
    /// # Errors
    /// When metrics of these names are there already.
    pub fn new(views: Arc<Views>, patience: Patience, metrics: &Metrics) -> prometheus::Result<Self> {
        let waiting = IntGauge::new(
            "tiphys_mtls_rollout_waiting",
            "Proxies for which a change of mutual TLS waits before its next step.",
        )?;
        let made =
            Opts::new("tiphys_mtls_rollouts_total", "Changes of mutual TLS that were made in steps, by outcome.");
        let made = IntCounterVec::new(made, &["outcome"])?;
        Outcome::ALL.iter().for_each(|outcome| made.with_label_values(&[outcome.name()]).reset());
        metrics.register(|registry| {
            registry.register(Box::new(waiting.clone()))?;
            registry.register(Box::new(made.clone()))
        })?;
        let board = Arc::new(Board::default());
        board.lock().step = name(Step::Settled).to_owned();
        let (running, replicas, said, resumes) = Default::default();
        Ok(Self { views, patience, board, running, replicas, said, resumes, waiting, made })
    }

    /// Goes along with other replicas; `resumes` when proxies were told something before.
    #[must_use]
    pub fn with_replicas(mut self, replicas: Replicas, resumes: bool) -> Self {
        self.replicas = Some(replicas);
        self.resumes = resumes;
        self
    }

    /// What others may look at.
    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// A picture was pushed.
    pub fn pushed(&mut self, rollout: &Rollout, push: StepPush<'_>, now: Instant) {
        let (step, epoch) = (rollout.step(), rollout.epoch());
        self.say(rollout);
        let resumes = std::mem::take(&mut self.resumes);
        match (&mut self.running, step) {
            (None, Step::Settled) => {}
            (Some(_), Step::Settled) => self.end(now),
            (Some(running), _) if running.epoch == epoch => {}
            (running, _) => {
                let mut next = Running::new(running.take(), (step, epoch), push, now);
                if resumes {
                    next.expect_back(now + self.patience.timeout);
                }
                next.tell_step(now);
                *running = Some(next);
                self.show(Vec::new());
            }
        }
    }

    /// Tells the other replicas that a step began.
    fn say(&mut self, rollout: &Rollout) {
        let Some(replicas) = self.replicas.as_ref().filter(|_| self.said != Some(rollout.epoch())) else { return };
        self.said = Some(rollout.epoch());
        replicas.say(Entry::of(
            rollout,
            match rollout.step() {
                Step::Settled => Reached::All,
                Step::Servers => Reached::Nothing,
                Step::Clients => Reached::Servers,
            },
        ));
    }

    fn end(&mut self, now: Instant) {
        let Some(running) = self.running.take() else { return };
        let outcome = running.outcome();
        self.made.with_label_values(&[outcome.name()]).inc();
        let (what, took) = (running.what, seconds(now - running.began));
        match outcome {
            Outcome::Complete => tracing::info!(target: "push", "mutual TLS: {what} is made after {took}"),
            Outcome::PassedOver => tracing::warn!(
                target: "push",
                "mutual TLS: {what} is made after {took}, though {} had not taken it",
                Names(running.passed_over.iter().map(String::as_str))
            ),
            Outcome::Withdrawn => tracing::info!(target: "push", "mutual TLS: {what} was taken back after {took}"),
        }
        self.waiting.set(0);
        let last = Made {
            change: what,
            outcome,
            seconds: (now - running.began).as_secs_f64(),
            passed_over: running.passed_over.into_iter().collect(),
        };
        *self.board.lock() = Status { step: name(Step::Settled).to_owned(), last: Some(last), ..Status::default() };
    }

    /// When to look again.
    pub fn due(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.look_at)
    }

    /// Looks who has taken the present step; gives whether it is passed, so that the next snapshot is another.
    pub fn look(&mut self, compiler: &mut Compiler, now: Instant) -> bool {
        let Some(running) = self.running.as_mut().filter(|running| running.look_at <= now) else { return false };
        let behind = self.views.behind(running.generation);
        let (mut passed, waiting) = running.look(behind, self.patience, now);
        let mut waiting: Vec<Waited> =
            waiting.iter().map(|one| Waited { proxy: proxy(&one.id), why: why(one.lag) }).collect();
        if let Some(replicas) = self.replicas.as_ref().filter(|_| passed) {
            compiler.rollout_mut().promise();
            let reached = if running.step == Step::Servers { Reached::Servers } else { Reached::Clients };
            replicas.say(Entry::of(compiler.rollout(), reached));
            let late = running.look_at_replicas(replicas.behind(compiler.rollout()), self.patience, now);
            passed = late.is_empty();
            waiting
                .extend(late.into_iter().map(|proxy| Waited { proxy, why: "is a control plane that is not so far" }));
        }
        self.waiting.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        self.show(waiting);
        if passed {
            compiler.pass_rollout();
        }
        passed
    }

    fn show(&self, waiting: Vec<Waited>) {
        let Some(running) = &self.running else { return };
        let mut status = self.board.lock();
        status.step = name(running.step).to_owned();
        status.change.clone_from(&running.what);
        status.waiting = waiting;
        status.passed_over = running.passed_over.iter().cloned().collect();
    }
}

impl Running {
    /// The next step of a change, or the first one.
    fn new(before: Option<Self>, (step, epoch): (Step, u64), push: StepPush<'_>, now: Instant) -> Self {
        let (what, began, passed_over) = match before {
            // A newer change in the middle of another.
            Some(before) if step == Step::Servers => {
                (format!("{}, then {}", before.what, push.what), before.began, before.passed_over)
            }
            Some(before) => (before.what, before.began, before.passed_over),
            None => (push.what.to_owned(), now, BTreeSet::new()),
        };
        Self {
            what,
            began,
            step,
            epoch,
            generation: push.generation,
            since: now,
            changed: push.changed > 0,
            taken: None,
            look_at: now,
            named: false,
            passed: false,
            passed_over,
        }
    }

    fn tell_step(&self, now: Instant) {
        let (what, step, since) = (&self.what, name(self.step), seconds(now - self.began));
        match self.step {
            Step::Servers => tracing::info!(target: "push", "mutual TLS: {what} is made in steps: {step}"),
            _ => tracing::info!(target: "push", "mutual TLS: {what}: {step}, after {since}"),
        }
    }

    /// Whether the step is passed, and for whom it waits.
    fn look(&mut self, behind: Vec<Behind>, patience: Patience, now: Instant) -> (bool, Vec<Behind>) {
        let waiting: Vec<Behind> =
            behind.into_iter().filter(|one| !self.passed_over.contains(&proxy(&one.id))).collect();
        let waited = now - self.since;
        if !waiting.is_empty() && waited < patience.timeout {
            if waited >= NAME_AFTER && !self.named {
                self.named = true;
                tracing::warn!(target: "push", "mutual TLS: {} waits for {}", self.what, Names(names(&waiting)));
            }
            self.taken = None;
            self.look_at = now + LOOK;
            return (false, waiting);
        }
        if !waiting.is_empty() {
            let (step, named) = (name(self.step), Names(names(&waiting)));
            tracing::warn!(
                target: "push",
                "mutual TLS: {} goes on without {named}, after {}: {step}", self.what, seconds(waited)
            );
            self.passed_over.extend(waiting.iter().map(|one| proxy(&one.id)));
        }
        let settle = if self.changed { patience.settle } else { Duration::ZERO };
        let ready = *self.taken.get_or_insert(now) + settle;
        self.look_at = ready.min(now + LOOK);
        self.passed = now >= ready;
        (self.passed, Vec::new())
    }

    /// Nobody is connected yet, and those who will be may act on what they were told before.
    fn expect_back(&mut self, until: Instant) {
        self.changed = true;
        self.look_at = until;
        self.since = until;
    }

    /// The replicas that are still waited for.
    fn look_at_replicas(&mut self, late: Vec<String>, patience: Patience, now: Instant) -> Vec<String> {
        let late: Vec<String> = late.into_iter().filter(|name| !self.passed_over.contains(name)).collect();
        if late.is_empty() {
            return late;
        }
        // Each may wait for proxies of its own.
        let waited = now - self.since;
        if waited < (patience.timeout + patience.settle) * 2 {
            self.passed = false;
            self.look_at = now + LOOK;
            return late;
        }
        let (what, named) = (&self.what, Names(late.iter().map(String::as_str)));
        tracing::warn!(target: "push", "mutual TLS: {what} goes on without replicas {named}, after {}", seconds(waited));
        self.passed_over.extend(late);
        Vec::new()
    }

    fn outcome(&self) -> Outcome {
        match (self.passed && self.step == Step::Clients, self.passed_over.is_empty()) {
            (false, _) => Outcome::Withdrawn,
            (true, true) => Outcome::Complete,
            (true, false) => Outcome::PassedOver,
        }
    }
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Settled => "settled",
        Step::Servers => "servers take both",
        Step::Clients => "clients are told",
    }
}

fn why(lag: Lag) -> &'static str {
    match lag {
        Lag::Silent => "has not acknowledged it",
        Lag::Refused => "refuses what it is sent",
        Lag::Gone => "is not connected any more",
    }
}

/// NAME.NAMESPACE of a node's name.
fn proxy(id: &str) -> String {
    id.split('~').nth(2).unwrap_or(id).to_owned()
}

fn names(behind: &[Behind]) -> impl ExactSizeIterator<Item = String> + Clone {
    behind.iter().map(|one| format!("{} ({})", proxy(&one.id), why(one.lag)))
}

/// The first few, and how many more.
struct Names<I>(I);

impl<I: ExactSizeIterator<Item = T> + Clone, T: AsRef<str>> fmt::Display for Names<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.clone();
        let more = all.len().saturating_sub(NAMED);
        let first: Vec<T> = all.take(NAMED).collect();
        let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
        f.write_str(&first.join(", "))?;
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
