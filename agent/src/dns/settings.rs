// SPDX-License-Identifier: Apache-2.0
//! Where the DNS proxy listens, and whom it asks.

use super::table::Place;
use super::upstream::Upstream;
use crate::settings::Environment;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// A copy of the machine's resolv.conf, where the original one names the agent.
const OTHER_RESOLV_CONF: &str = "/var/lib/istio/resolv.conf";

/// Settings of the DNS proxy.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// Addresses to listen on, by UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Who answers what is not known here.
    pub upstream: Upstream,
    /// How short names are understood.
    pub place: Place,
    /// Before the first table, queries go on to the servers: an agent that is a machine's only server must not fail it.
    pub respond_before_sync: bool,
}

impl DnsSettings {
    /// By the environment; nothing when no DNS proxy is wanted.
    ///
    /// # Errors
    /// Names the setting that is not understood.
    pub fn gather(env: &Environment, kind: &str, namespace: &str, domain: &str) -> Result<Option<Self>, String> {
        let wanted = match kind {
            "sidecar" => env.flag("ISTIO_META_DNS_CAPTURE", false)?,
            _ => false,
        };
        if !wanted && !env.flag("ISTIO_META_ENABLE_DNS_SERVER", false)? {
            return Ok(None);
        }
        let address = env.get("DNS_PROXY_ADDR").unwrap_or("localhost:15053");
        let bad = || format!("DNS_PROXY_ADDR: {address:?} is no address and port such as localhost:15053");
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let alone = port == 53 && rustix::process::geteuid().is_root();
        let usual = if alone && Path::new(OTHER_RESOLV_CONF).exists() { OTHER_RESOLV_CONF } else { RESOLV_CONF };
        let path = env.get("TIPHYS_RESOLV_CONF").unwrap_or(usual);
        let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        let (servers, search) = read_resolv_conf(&text);
        let listen = match host.trim_start_matches('[').trim_end_matches(']') {
            "localhost" => loopback(&servers).into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            "" => vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)],
            host => vec![SocketAddr::new(host.parse().map_err(|_| bad())?, port)],
        };
        let upstream = Upstream {
            servers,
            timeout: env.duration("DNS_FORWARD_TIMEOUT", Duration::from_secs(5))?,
            parallel: env.flag("DNS_FORWARD_PARALLEL", false)?,
        };
        let place = Place::new(namespace, domain, &search);
        Ok(Some(Self { listen, upstream, place, respond_before_sync: alone }))
    }
}

/// Loopback of the families in which clients know a server: their queries are led to the same family.
fn loopback(servers: &[SocketAddr]) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    if servers.iter().any(SocketAddr::is_ipv4) || servers.is_empty() {
        all.push(Ipv4Addr::LOCALHOST.into());
    }
    if servers.iter().any(SocketAddr::is_ipv6) {
        all.push(Ipv6Addr::LOCALHOST.into());
    }
    all
}

/// Servers and search domains of a resolv.conf (resolv.conf(5)); the last `search` or `domain` counts. A server may have a port
/// (`address:port`, `[address]:port`), which only this agent reads.
fn read_resolv_conf(text: &str) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut servers, mut search) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let word = words.next().and_then(|w| w.split('%').next()).unwrap_or_default();
                let plain = word.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
                servers.extend(plain.or_else(|_| word.parse::<SocketAddr>()));
            }
            Some("search" | "domain") => search = words.map(str::to_string).collect(),
            _ => {}
        }
    }
    (servers, search)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_read() {
        let text = "search old\n# x\nnameserver 10.96.0.10\nnameserver ::1\nnameserver 127.0.0.1:5353\nnameserver x\nsearch a.b c\noptions ndots:5\n";
        let (servers, search) = read_resolv_conf(text);
        assert_eq!(servers, ["10.96.0.10:53", "[::1]:53", "127.0.0.1:5353"].map(|s| s.parse::<SocketAddr>().unwrap()));
        assert_eq!(search, ["a.b", "c"]);
        assert_eq!(loopback(&servers).len(), 2);
        assert_eq!(loopback(&[]), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    #[test]
    fn who_wants_it() {
        let gather = |kind: &str, pairs: &[(&str, &str)]| {
            let env = Environment(pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect());
            DnsSettings::gather(&env, kind, "ns", "ns.svc.cluster.local")
        };
        let capture = ("ISTIO_META_DNS_CAPTURE", "true");
        assert!(gather("sidecar", &[]).unwrap().is_none());
        assert!(gather("router", &[capture]).unwrap().is_none());
        assert!(gather("router", &[("ISTIO_META_ENABLE_DNS_SERVER", "true")]).unwrap().is_some());
        let found = gather("sidecar", &[capture, ("DNS_PROXY_ADDR", "127.0.0.3:5300")]).unwrap().unwrap();
        assert_eq!(found.listen, ["127.0.0.3:5300".parse::<SocketAddr>().unwrap()]);
        assert_eq!(found.place.domain, "svc.cluster.local");
        assert!(gather("sidecar", &[capture, ("DNS_PROXY_ADDR", "here")]).unwrap_err().contains("DNS_PROXY_ADDR"));
    }
}
