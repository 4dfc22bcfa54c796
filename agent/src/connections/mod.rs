// SPDX-License-Identifier: Apache-2.0
//! Connections that the workload took without mutual TLS in the last hour: what is to be known before a mesh refuses them.
//!
//! Envoy counts them by port ([`counters`]); who was connected is in the kernel's table ([`peers`]). Both are looked at every now and then, and
//! what came since is added to the minute that runs ([`ring`]). Nothing is asked of Envoy that it does not count anyway.

pub mod counters;
mod peers;
mod ring;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::net;
use crate::settings::Settings;
use ring::Ring;

pub use ring::{PortTaken, Taken};

/// How often the kernel's table is read, so that few connections come and go unseen.
const LOOK: Duration = Duration::from_secs(20);
/// Every which of these looks asks Envoy.
const COUNT: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(3);

/// Counts connections.
pub struct Connections {
    settings: Arc<Settings>,
    started: Instant,
    ring: Mutex<Ring>,
}

impl Connections {
    /// Nothing is known yet. Gateways have no plain text that a PeerAuthentication would refuse: none for them.
    pub fn new(settings: &Arc<Settings>) -> Option<Arc<Self>> {
        let ring = Mutex::new(Ring::default());
        let sidecar = settings.args.kind == "sidecar";
        sidecar.then(|| Arc::new(Self { settings: settings.clone(), started: Instant::now(), ring }))
    }

    /// Looks for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut looks = 0u32;
        loop {
            tokio::time::sleep(LOOK).await;
            looks = looks.wrapping_add(1);
            self.look();
            if looks.is_multiple_of(COUNT)
                && let Err(error) = self.count().await
            {
                tracing::debug!(error, "cannot count connections");
            }
        }
    }

    /// What was taken in the last minutes, as of now.
    ///
    /// # Errors
    /// When Envoy was never heard of.
    pub async fn taken(&self, minutes: u32) -> Result<Taken, String> {
        self.look();
        let counted = self.count().await;
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        match counted {
            Err(error) if !ring.has_counted() => Err(error),
            _ => Ok(ring.taken(minutes, self.minute())),
        }
    }

    /// Minutes since the start.
    fn minute(&self) -> u64 {
        self.started.elapsed().as_secs() / 60
    }

    fn look(&self) {
        let own = &self.settings.addresses;
        let seen = peers::read(|address| !own.contains(address));
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).saw(seen, self.minute());
    }

    async fn count(&self) -> Result<(), String> {
        let answer = net::request(Method::GET, &self.settings.admin_address(), counters::PATH, TIMEOUT).await?;
        if !answer.status.is_success() {
            return Err(format!("Envoy: {}", answer.status));
        }
        let counts = counters::read(&answer.text());
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).counted(&counts, self.minute());
        Ok(())
    }
}
