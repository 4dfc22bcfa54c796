// SPDX-License-Identifier: Apache-2.0
//! Whether the proxy is ready: it has taken listeners and clusters from the control plane, is live, and its workers run.
//!
//! Envoy's statistics say so. Once it has been ready it stays so until it is told to end: Envoy never goes back, and the probe comes
//! through Envoy's own listener anyway.

use crate::dns::Dns;
use crate::metrics::Metrics;
use crate::net;
use crate::settings::Settings;
use http::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(3);
const STATS: &str = "/stats?usedonly&filter=^(server\\.state|listener_manager\\.workers_started|\
                     (cluster_manager\\.cds|listener_manager\\.lds)\\.(update_success|update_rejected))$";

/// The state of the proxy.
pub struct Readiness {
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    dns: Option<Arc<Dns>>,
    was_ready: AtomicBool,
    ending: AtomicBool,
}

impl Readiness {
    /// Not ready yet.
    pub fn new(settings: Arc<Settings>, metrics: Arc<Metrics>, dns: Option<Arc<Dns>>) -> Arc<Self> {
        Arc::new(Self { settings, metrics, dns, was_ready: AtomicBool::new(false), ending: AtomicBool::new(false) })
    }

    /// From now on the proxy is not ready any more.
    pub fn end(&self) {
        self.ending.store(true, Relaxed);
    }

    /// Whether the proxy is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn check(&self) -> Result<(), String> {
        if self.ending.load(Relaxed) {
            return Err("the proxy is ending".into());
        }
        if self.was_ready.load(Relaxed) || self.settings.disable_envoy {
            return Ok(());
        }
        // Without the brackets of the regular expression a URI would not be valid.
        let path = STATS.replace('^', "%5E").replace('\\', "%5C").replace('|', "%7C");
        let answer = net::request(Method::GET, &self.settings.admin_address(), &path, TIMEOUT).await;
        let answer = answer.map_err(|e| format!("Envoy does not answer yet: {e}"))?;
        judge(&answer.text(), self.metrics.streams.load(Relaxed) > 0)?;
        if self.dns.as_ref().is_some_and(|dns| dns.table().is_none()) {
            return Err("DNS lookup table is not ready yet".into());
        }
        self.was_ready.store(true, Relaxed);
        self.metrics.ready();
        Ok(())
    }
}

fn judge(stats: &str, connected: bool) -> Result<(), String> {
    let stats: BTreeMap<&str, u64> = stats
        .lines()
        .filter_map(|l| l.split_once(':'))
        .filter_map(|(n, v)| Some((n, v.trim().parse().ok()?)))
        .collect();
    let value = |name: &str| stats.get(name).copied().unwrap_or(0);
    let (cds, cds_rejected) =
        (value("cluster_manager.cds.update_success"), value("cluster_manager.cds.update_rejected"));
    let (lds, lds_rejected) =
        (value("listener_manager.lds.update_success"), value("listener_manager.lds.update_rejected"));
    let counts = format!(
        "cds updates: {cds} successful, {cds_rejected} rejected; lds updates: {lds} successful, {lds_rejected} rejected"
    );
    if cds == 0 || lds == 0 {
        return Err(if !connected {
            format!("no connection to the control plane; {counts}")
        } else if cds_rejected + lds_rejected > 0 {
            format!("config received from XDS server, but was rejected: {counts}")
        } else if cds + lds == 0 {
            format!("config not received from XDS server (is Istiod running?): {counts}")
        } else {
            format!("config not fully received from XDS server: {counts}")
        });
    }
    match stats.get("server.state") {
        Some(0) => {}
        Some(1) => return Err("server is not live, current state is: DRAINING".into()),
        Some(2) => return Err("server is not live, current state is: PRE_INITIALIZING".into()),
        Some(3) => return Err("server is not live, current state is: INITIALIZING".into()),
        Some(_) | None => return Err("server.state is not known yet".into()),
    }
    if value("listener_manager.workers_started") != 1 {
        return Err("workers have not yet started".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "cluster_manager.cds.update_success: 2\nlistener_manager.lds.update_success: 1\n\
                         listener_manager.workers_started: 1\nserver.state: 0\n";

    #[test]
    fn reasons() {
        assert_eq!(judge(READY, true), Ok(()));
        let because = |stats: &str, connected, part: &str| {
            let error = judge(stats, connected).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        because("", false, "no connection to the control plane");
        because("", true, "config not received");
        because("cluster_manager.cds.update_success: 2\n", true, "not fully received");
        because("cluster_manager.cds.update_rejected: 2\n", true, "rejected");
        because(&READY.replace("server.state: 0", "server.state: 3"), true, "INITIALIZING");
        because(&READY.replace("workers_started: 1", "workers_started: 0"), true, "workers");
    }
}
