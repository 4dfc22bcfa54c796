// SPDX-License-Identifier: Apache-2.0
//! One election: when to take a lock, how to keep it, and when to stop leading.
//!
//! The rules are client-go's, so that it may be shared with it: a lock is taken when it has no holder, or when its record did not change for
//! its whole duration by the own clock (clocks of others do not matter). Every write goes by the version that was read. Two things are
//! stricter, so that no two ever write: a leader that cannot renew stops well before others may take over, and one that takes the lock from a
//! holder that is alive (a revision that is preferred may) leads only when that holder has certainly stopped.
//!
//! The wall clock is only written, for people and for others to see a change by. A record holds whole seconds, and clocks are set back: so
//! each renewal writes another second than the one before, whatever the clock says. All waiting is by the monotonic clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::priority::Preference;
use super::record::Record;

/// Why a lock could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else wrote it in between.
    #[error("somebody else wrote it first")]
    Conflict,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// An object that holds a [`Record`] and is written by version.
#[tonic::async_trait]
pub trait Lock: Send + Sync {
    /// The object as it was read, with its version.
    type Object: Clone + Send + Sync;

    /// Its kind, namespace and name.
    fn name(&self) -> String;

    /// The object and its record; none when it does not exist.
    ///
    /// # Errors
    /// When it cannot be read, or its record cannot be understood: nobody knows who leads then.
    async fn read(&self) -> Result<Option<(Self::Object, Record)>, LockError>;

    /// Writes the record into the object that was read, or makes the object.
    ///
    /// # Errors
    /// [`LockError::Conflict`] when the object is not the one that was read any more.
    async fn write(&self, seen: Option<Self::Object>, record: &Record) -> Result<Self::Object, LockError>;

    /// Comes when the object may be another one than the last that was read or written. Needs not to come: it only saves time.
    async fn changed(&self);
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long a record must stay unchanged before another may take the lock.
    pub lease: Duration,
    /// How long a leader goes on without having renewed.
    pub deadline: Duration,
    /// The time between two tries.
    pub retry: Duration,
}

impl Default for Pace {
    /// istiod's: 30 s, 15 s, 7.5 s.
    fn default() -> Self {
        let lease = Duration::from_secs(30);
        Self { lease, deadline: lease / 2, retry: lease / 4 }
    }
}

/// What time it is, and waiting.
#[tonic::async_trait]
pub trait Clock: Send + Sync {
    /// The time by which is waited; it only goes forward.
    fn now(&self) -> Instant;

    /// The time of day, which may be anything.
    fn utc(&self) -> OffsetDateTime;

    /// Waits until this moment.
    async fn sleep_until(&self, moment: Instant);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

#[tonic::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    async fn sleep_until(&self, moment: Instant) {
        tokio::time::sleep_until(moment.into()).await;
    }
}

/// A candidate in one election.
pub struct Elector<L: Lock> {
    /// What is elected by.
    pub lock: L,
    /// Who the candidate is: its pod.
    pub identity: String,
    /// Whether no other process can have this identity while this one runs, as that of a pod: its container is started anew only when the
    /// former one has ended. A lock that is left from that need not run out.
    pub is_pod: bool,
    /// Its key, and of which holders it may take the lock.
    pub preference: Preference,
    /// How long things take.
    pub pace: Pace,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What a candidate knows of the lock.
struct Seen<O> {
    object: Option<O>,
    record: Record,
    /// When the record was first seen so.
    at: Instant,
    /// The term that this candidate began last: a record of its own name but of another term is that of a process before it.
    term: Option<Term>,
    /// From when on this candidate may lead in that term.
    from: Instant,
}

/// When a lock was taken, and how often it had changed hands by then.
type Term = (Option<OffsetDateTime>, i32);

fn term(record: &Record) -> Term {
    (record.acquire_time, record.leader_transitions)
}

/// What came of a try.
enum Tried {
    /// The lock is ours: it was written no earlier than this moment.
    Leading(Instant),
    /// Somebody else leads.
    Other,
}

impl<L: Lock> Elector<L> {
    /// Takes part until `stop`, telling `leader` whether this candidate leads. Gives the lock back in the end.
    pub async fn run(self, leader: watch::Sender<bool>, stop: CancellationToken) {
        let now = self.clock.now();
        let mut seen = Seen { object: None, record: Record::default(), at: now, term: None, from: now };
        loop {
            tokio::select! {
                () = self.candidate(&mut seen, &leader) => {}
                () = stop.cancelled() => break,
            }
            tracing::info!("no longer leading {}", self.lock.name());
            leader.send_replace(false);
        }
        if leader.send_replace(false) {
            tracing::info!("stepping down from {}", self.lock.name());
        }
        self.release(seen).await;
    }

    /// Waits for the lock, leads, and returns when it leads no more.
    async fn candidate(&self, seen: &mut Seen<L::Object>, leader: &watch::Sender<bool>) {
        let mut renewed = loop {
            match self.attempt(seen).await {
                Ok(Tried::Leading(written)) => break written,
                Ok(Tried::Other) | Err(LockError::Conflict) => {}
                Err(error) => tracing::warn!("{}: {error}", self.lock.name()),
            }
            let jitter = rand::rng().random_range(1.0..1.2);
            tokio::select! {
                () = self.sleep(self.pace.retry.mul_f64(jitter)) => {}
                () = self.lock.changed() => {}
            }
        };
        let from = seen.from;
        loop {
            let now = self.clock.now();
            if now >= from && !*leader.borrow() {
                tracing::info!("leading {} as {}", self.lock.name(), self.identity);
                leader.send_replace(true);
            }
            let wait = if now < from { (from - now).min(self.pace.retry) } else { self.pace.retry };
            tokio::select! {
                () = self.sleep(wait) => {}
                () = self.lock.changed() => {}
            }
            let deadline = renewed + self.pace.deadline;
            let again = tokio::select! {
                again = self.renew(seen) => again,
                // Nobody can say whose it is.
                () = self.clock.sleep_until(deadline) => None,
            };
            match again {
                Some(written) => renewed = written,
                None => return,
            }
        }
    }

    async fn sleep(&self, time: Duration) {
        self.clock.sleep_until(self.clock.now() + time).await;
    }

    /// Renews until it succeeds. None when the lock is somebody else's.
    async fn renew(&self, seen: &mut Seen<L::Object>) -> Option<Instant> {
        loop {
            match self.attempt(seen).await {
                Ok(Tried::Leading(written)) => return Some(written),
                Ok(Tried::Other) => return None,
                // Read again: whose it is decides.
                Err(LockError::Conflict) => self.sleep(Duration::from_millis(20)).await,
                Err(error) => {
                    tracing::warn!("cannot renew {}: {error}", self.lock.name());
                    self.sleep(self.pace.retry / 4).await;
                }
            }
        }
    }

    async fn attempt(&self, seen: &mut Seen<L::Object>) -> Result<Tried, LockError> {
        let found = self.lock.read().await?;
        let now = self.clock.now();
        let (object, record) = match found {
            Some((object, record)) => (Some(object), record),
            None => (None, Record::default()),
        };
        // Who deletes a lock does not stop its holder.
        let deleted = object.is_none() && !seen.record.holder_identity.is_empty() && !self.is_ours(seen);
        let alive_until = seen.at + self.pace.lease;
        if record != seen.record {
            (seen.record, seen.at) = (record.clone(), now);
        }
        seen.object.clone_from(&object);
        if self.is_ours(seen) {
            let mut renewed = Record { acquire_time: record.acquire_time, ..self.record(&record) };
            if renewed.renew_time == record.renew_time {
                renewed.renew_time = renewed.renew_time.map(|time| time + Duration::from_secs(1));
            }
            self.write(seen, renewed).await?;
            return Ok(Tried::Leading(now));
        }
        let left = self.is_pod && record.holder_identity == self.identity && record.holder_key == self.preference.key();
        let held = !record.holder_identity.is_empty() && !left;
        let lease = self.pace.lease.max(Duration::from_secs(u64::try_from(record.lease_duration_seconds).unwrap_or(0)));
        let expired = now >= seen.at + lease;
        if held && !expired && !self.preference.takes_from(&record.holder_key) {
            return Ok(Tried::Other);
        }
        // A holder that is alive may go on until its own deadline after its last renewal.
        seen.from = match () {
            () if held && !expired => now + lease + self.pace.deadline / 2,
            () if deleted => alive_until.max(now),
            () => now,
        };
        let taken = Record {
            leader_transitions: record.leader_transitions + i32::from(object.is_some()),
            ..self.record(&record)
        };
        self.write(seen, taken).await?;
        Ok(Tried::Leading(now))
    }

    fn is_ours(&self, seen: &Seen<L::Object>) -> bool {
        let record = &seen.record;
        record.holder_identity == self.identity
            && record.holder_key == self.preference.key()
            && seen.term == Some(term(record))
    }

    fn record(&self, former: &Record) -> Record {
        let now = self.now();
        Record {
            holder_identity: self.identity.clone(),
            holder_key: self.preference.key(),
            lease_duration_seconds: i32::try_from(self.pace.lease.as_secs()).unwrap_or(i32::MAX),
            acquire_time: now,
            renew_time: now,
            leader_transitions: former.leader_transitions,
        }
    }

    /// In whole seconds, as it is read back.
    fn now(&self) -> Option<OffsetDateTime> {
        self.clock.utc().replace_nanosecond(0).ok()
    }

    async fn write(&self, seen: &mut Seen<L::Object>, record: Record) -> Result<(), LockError> {
        // Noted first: a write may succeed although its answer is lost.
        seen.term = Some(term(&record));
        let object = self.lock.write(seen.object.clone(), &record).await?;
        (seen.object, seen.record, seen.at) = (Some(object), record, self.clock.now());
        Ok(())
    }

    /// Steps down, so that the next one need not wait for the lease to run out.
    async fn release(&self, seen: Seen<L::Object>) {
        if !self.is_ours(&seen) {
            return;
        }
        let now = self.now();
        let record = Record {
            leader_transitions: seen.record.leader_transitions,
            lease_duration_seconds: 1,
            acquire_time: now,
            renew_time: now,
            ..Record::default()
        };
        if let Err(error) = self.lock.write(seen.object, &record).await {
            tracing::warn!("{} is not given back and will run out: {error}", self.lock.name());
        }
    }
}

#[cfg(test)]
#[path = "elector_tests.rs"]
mod tests;
