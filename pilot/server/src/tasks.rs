// SPDX-License-Identifier: Apache-2.0
//! The tasks of a running control plane: each has a name, and the end of one ends all.

use anyhow::{Context, anyhow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks that run until the control plane stops.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<anyhow::Result<&'static str>>,
    /// Told when the control plane stops: servers take no more connections, writers give up their locks.
    pub stop: CancellationToken,
}

impl Tasks {
    /// Starts a task. Once it ends, with an error or without, before the control plane stops, the control plane ends.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.running.spawn(async move { task.await.with_context(|| name).map(|()| name) });
    }

    /// Waits until a task ends, and says why.
    pub async fn ended(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            Some(Ok(Ok(name))) => anyhow!("{name} ended"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            None => anyhow!("nothing runs"),
        }
    }
}
