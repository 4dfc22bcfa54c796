// SPDX-License-Identifier: Apache-2.0
//! The tasks of a running control plane: each has a name, and the end of one ends all.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that run until the control plane stops.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<anyhow::Result<&'static str>>,
    /// What is waited for before the process ends.
    last: TaskTracker,
    /// Told when the control plane stops: servers take no more connections, writers give up their locks.
    pub stop: CancellationToken,
}

impl Tasks {
    /// Starts a task. Once it ends, with an error or without, before the control plane stops, the control plane ends.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.running.spawn(async move { task.await.with_context(|| name).map(|()| name) });
    }

    /// Starts a task that ends by itself soon after [`Tasks::stop`] is told, and that the process waits for: it gives something back.
    pub fn before_exit(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.last.spawn(task);
    }

    /// Waits for what is given back before the process ends, but no longer than this.
    pub async fn finish(&self, patience: Duration) {
        self.last.close();
        if tokio::time::timeout(patience, self.last.wait()).await.is_err() {
            tracing::warn!("not everything could be given back within {patience:?}");
        }
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
