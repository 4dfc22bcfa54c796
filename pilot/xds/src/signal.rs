// SPDX-License-Identifier: Apache-2.0
//! How streams are told that there is something for them.

use atomic_waker::AtomicWaker;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Wake};

const VIEW: u8 = 1;
const REQUESTS: u8 = 2;

/// Tells one stream that its view may be another. As a waker it tells the stream that requests came in: so that it looks at each of the two
/// only when there is something.
#[derive(Debug)]
pub struct Signal {
    raised: AtomicU8,
    stream: AtomicWaker,
}

/// What a stream has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    pub view: bool,
    pub requests: bool,
}

/// It is raised: a stream looks at everything when it begins.
impl Default for Signal {
    fn default() -> Self {
        Self { raised: AtomicU8::new(VIEW | REQUESTS), stream: AtomicWaker::new() }
    }
}

impl Signal {
    /// Has the stream ask for its view.
    pub fn raise(&self) {
        self.set(VIEW);
    }

    fn set(&self, what: u8) {
        self.raised.fetch_or(what, Ordering::Release);
        self.stream.wake();
    }

    /// What was raised since it was last asked; the task is woken when there is more.
    pub(crate) fn take(&self, cx: &Context<'_>) -> Raised {
        self.stream.register(cx.waker());
        let raised = match self.raised.load(Ordering::Acquire) {
            0 => 0,
            _ => self.raised.swap(0, Ordering::AcqRel),
        };
        Raised { view: raised & VIEW != 0, requests: raised & REQUESTS != 0 }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.set(REQUESTS);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set(REQUESTS);
    }
}

/// The signals of all streams that are open.
#[derive(Debug, Default)]
pub struct Signals(Mutex<Vec<Weak<Signal>>>);

impl Signals {
    /// Holds the signal of one more stream, for as long as the stream does.
    pub fn add(&self, signal: &Arc<Signal>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|signal| signal.strong_count() > 0);
        }
        all.push(Arc::downgrade(signal));
    }

    /// Raises all.
    pub fn raise(&self) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).for_each(|signal| signal.raise());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn what_is_raised_is_taken_once() {
        let cx = Context::from_waker(Waker::noop());
        let signal = Arc::new(Signal::default());
        let taken = |view, requests| assert_eq!(signal.take(&cx), Raised { view, requests });
        taken(true, true);
        taken(false, false);
        signal.raise();
        signal.raise();
        taken(true, false);
        Waker::from(Arc::clone(&signal)).wake();
        taken(false, true);
        taken(false, false);
    }

    #[test]
    fn signals_go_with_their_streams() {
        let (signals, cx) = (Signals::default(), Context::from_waker(Waker::noop()));
        let stays = Arc::new(Signal::default());
        signals.add(&stays);
        for _ in 0..10_000 {
            signals.add(&Arc::new(Signal::default()));
        }
        assert!(signals.0.lock().unwrap().capacity() < 100);
        assert!(stays.take(&cx).view);
        signals.raise();
        assert!(stays.take(&cx).view);
    }
}
