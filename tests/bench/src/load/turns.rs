// SPDX-License-Identifier: Apache-2.0
//! When sidecars answer: after a moment in which none of them received anything.
//!
//! Sidecars run on other machines, and apply what they get before they acknowledge it. These here would take the processors from the control plane in
//! the midst of a push if each answered at once, and what is measured would be their own work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// The moment.
const MOMENT: Duration = Duration::from_millis(1);
/// No answer waits for longer.
const LONGEST: Duration = Duration::from_millis(20);

/// The turns of a fleet.
#[derive(Default)]
pub struct Turns {
    number: AtomicU64,
    received: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Turns {
    /// The turn that is under way: what is received in it is answered in the next.
    pub fn now(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Somebody received a message.
    pub fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Has a sidecar woken in the next turn.
    pub fn wait(&self, task: &Context<'_>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(task.waker().clone());
    }

    /// Begins turns for as long as it is polled.
    pub async fn run(&self) {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            tokio::time::sleep(MOMENT).await;
            let received = self.received.load(Ordering::Relaxed);
            if received != seen && since.elapsed() < LONGEST {
                seen = received;
                continue;
            }
            since = Instant::now();
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                self.number.fetch_add(1, Ordering::AcqRel);
                waiting.into_iter().for_each(Waker::wake);
            }
        }
    }
}
