// SPDX-License-Identifier: Apache-2.0
//! Waiting for something that a change brings about.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Long enough for a machine with other work; a change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `observed` gives `wanted`, and tells how long that took.
///
/// # Errors
/// When it does not within 15 seconds; the error tells what was seen last.
pub async fn eventually<T: PartialEq + std::fmt::Debug>(
    wanted: T,
    observed: impl AsyncFn() -> Result<T>,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let last = observed().await;
        match &last {
            Ok(last) if *last == wanted => return Ok(began.elapsed()),
            _ if began.elapsed() > PATIENCE => bail!("after {PATIENCE:?} still {last:?} and not {wanted:?}"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
