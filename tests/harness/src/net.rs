// SPDX-License-Identifier: Apache-2.0
//! Loopback addresses and ports of one mesh. Samples are written for 127.0.0.0/24; a test gets a network of its own, 127.0.N.0/24,
//! and ports that no other mesh on the machine uses, so that tests do not meet each other or a running demo.

use anyhow::{Context, Result, bail};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// The network that samples are written for.
const WRITTEN: &str = "127.0.0.";

/// A port in the samples that is bound on all addresses, as Gateway API listeners are: each network has one of its own.
const SHARED_PORT: u16 = 18081;

/// While this port is held on a network's last address, the network is taken.
const LOCK_PORT: u16 = 15999;

/// The addresses of one mesh.
#[derive(Debug)]
pub struct Net {
    number: u8,
    // Dropped with the mesh, which gives the network back.
    _lock: TcpListener,
}

/// The ports that the parts of the control plane listen on, all on 127.0.0.1, which is in the certificate of the control plane.
#[derive(Clone, Copy, Debug)]
pub struct ControlPlanePorts {
    /// Discovery without TLS.
    pub grpc: u16,
    /// Discovery and certificates with TLS.
    pub secure_grpc: u16,
    /// Readiness and debug.
    pub http: u16,
    /// Metrics, version and debug.
    pub monitoring: u16,
}

/// The ports of an agent and its Envoy, beside those that the mesh's configuration asks for.
#[derive(Clone, Copy, Debug)]
pub struct ProxyPorts {
    /// Envoy's administration.
    pub admin: u16,
    /// The agent's health and metrics.
    pub status: u16,
    /// Envoy's metrics.
    pub prometheus: u16,
    /// Envoy's health.
    pub health: u16,
}

impl Net {
    /// The network that samples are written for, with the ports that documentation names.
    ///
    /// # Errors
    /// When another demo runs.
    pub fn as_written() -> Result<Net> {
        Self::lock(0).context("another demo seems to be running: stop it first")
    }

    /// A network that nobody uses.
    ///
    /// # Errors
    /// When all are taken.
    pub fn free() -> Result<Net> {
        match (1..=90).find_map(|number| Self::lock(number).ok()) {
            Some(net) => Ok(net),
            None => bail!("all loopback networks are taken: are tests of another checkout still running?"),
        }
    }

    fn lock(number: u8) -> Result<Net> {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, number, 254), LOCK_PORT));
        let lock = TcpListener::bind(address).with_context(|| format!("{address} is taken"))?;
        Ok(Net { number, _lock: lock })
    }

    /// Address 127.0.N.`host`.
    pub fn ip(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, self.number, host).into()
    }

    /// The port that takes the place of a port of the samples.
    pub fn port(&self, written: u16) -> u16 {
        if written == SHARED_PORT { SHARED_PORT + u16::from(self.number) } else { written }
    }

    /// `text` of a sample, for this network.
    pub fn rewrite(&self, text: &str) -> String {
        let text = text.replace(WRITTEN, &format!("127.0.{}.", self.number));
        text.replace(&SHARED_PORT.to_string(), &self.port(SHARED_PORT).to_string())
    }

    /// Where the control plane listens: istiod's ports on the network of the samples.
    pub fn control_plane(&self) -> ControlPlanePorts {
        if self.number == 0 {
            return ControlPlanePorts { grpc: 15010, secure_grpc: 15012, http: 8080, monitoring: 15014 };
        }
        let base = self.base();
        ControlPlanePorts { grpc: base, secure_grpc: base + 1, http: base + 2, monitoring: base + 3 }
    }

    /// Where the agent and Envoy of workload `host` (10 to 33) listen.
    pub fn proxy(&self, host: u8) -> ProxyPorts {
        let base = self.base() + 4 + 4 * u16::from(host - 10);
        ProxyPorts { admin: base, status: base + 1, prometheus: base + 2, health: base + 3 }
    }

    /// Below the ports that the kernel gives to connections.
    fn base(&self) -> u16 {
        20_000 + 128 * u16::from(self.number)
    }
}

/// How long a port may take to become free: the programs of a mesh that was just stopped need a moment to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Fails when one of `addresses` is in use and stays so, naming them all.
///
/// # Errors
/// Says which are in use.
pub async fn check_free(addresses: &[(String, SocketAddr)]) -> Result<()> {
    let began = Instant::now();
    loop {
        let taken: Vec<_> = addresses.iter().filter(|(_, address)| TcpListener::bind(address).is_err()).collect();
        if taken.is_empty() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let taken: Vec<_> = taken.iter().map(|(user, address)| format!("  {address} (for {user})")).collect();
            let taken = taken.join("\n");
            bail!(
                "these addresses are in use:\n{taken}\nstop what listens there (`ss -ltnp` names it), then try again"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_moves_to_the_network() {
        let net = Net::free().expect("a network");
        let number = net.number;
        let moved = net.rewrite("address: 127.0.0.11 # not 10.0.0.1\nport: 18081");
        assert_eq!(moved, format!("address: 127.0.{number}.11 # not 10.0.0.1\nport: {}", 18081 + u16::from(number)));
        assert!(net.proxy(33).health < 32768);
        assert!(Net::lock(number).is_err(), "one network for two");
    }

    #[tokio::test]
    async fn what_is_in_use_is_named() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("its address");
        let error = check_free(&[("the test".to_owned(), address)]).await.expect_err("in use");
        assert!(error.to_string().contains(&format!("{address} (for the test)")), "{error}");
    }
}
