// SPDX-License-Identifier: Apache-2.0
//! Waiting for moments that may be there already.

use tokio::time::{Instant, sleep_until};

/// Waits until a moment, and not at all for one that is there: tokio's timers count whole milliseconds and wait for the next one in any case, which
/// each change would pay for wherever it is due at once.
pub async fn until(moment: Instant) {
    if moment > Instant::now() {
        sleep_until(moment).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn what_is_due_is_not_waited_for() {
        // There is no clock here that could be waited for.
        assert!(pin!(until(Instant::now())).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
