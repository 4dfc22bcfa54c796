// SPDX-License-Identifier: Apache-2.0
//! Envoy's counters of inbound connections, by port of the workload.
//!
//! HTTP: `http.inbound_ADDRESS_PORT;.downstream_cx_total` less `..._ssl_total`. Other bytes: `tcp.inbound|PORT||;plaintext.downstream_cx_total`, as the
//! control plane names the statistics of chains without mutual TLS. Ports that nobody declared are `InboundPassthroughCluster` in both.

use std::collections::BTreeMap;

/// What is asked of Envoy's admin interface.
pub const PATH: &str = "/stats?usedonly&filter=(http%5C.(inbound_%7CInboundPassthroughCluster).*;%5C.downstream_cx_(ssl_)?total%7C;plaintext%5C.downstream_cx_total)$";

/// What Envoy has to keep for it: regular expressions of names.
pub const KEPT: [&str; 2] = [
    r"http\.(inbound_[^;]*|InboundPassthroughCluster);\.downstream_cx_(ssl_)?total",
    r"tcp\.[^;]*;plaintext\.downstream_cx_total",
];

const OTHERS: &str = "InboundPassthroughCluster";

/// Connections without mutual TLS since Envoy started, by port; 0 stands for ports that nobody declared.
pub fn read(stats: &str) -> BTreeMap<u16, u64> {
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    let mut encrypted: BTreeMap<u16, u64> = BTreeMap::new();
    for line in stats.lines() {
        let Some((name, value)) = line.rsplit_once(':') else { continue };
        let Ok(value) = value.trim().parse::<u64>() else { continue };
        if let Some(prefix) = name.strip_suffix(";plaintext.downstream_cx_total") {
            if let Some(port) = prefix.strip_prefix("tcp.").and_then(of_tcp) {
                *counts.entry(port).or_default() += value;
            }
        } else if let Some((prefix, counter)) = name.strip_prefix("http.").and_then(|rest| rest.split_once(";.")) {
            let Some(port) = of_http(prefix) else { continue };
            match counter {
                "downstream_cx_total" => *counts.entry(port).or_default() += value,
                "downstream_cx_ssl_total" => *encrypted.entry(port).or_default() += value,
                _ => {}
            }
        }
    }
    for (port, value) in encrypted {
        if let Some(count) = counts.get_mut(&port) {
            *count = count.saturating_sub(value);
        }
    }
    counts.retain(|_, count| *count > 0);
    counts
}

/// `inbound|PORT||`
fn of_tcp(prefix: &str) -> Option<u16> {
    if prefix == OTHERS {
        return Some(0);
    }
    prefix.strip_prefix("inbound|")?.split('|').next()?.parse().ok()
}

/// `inbound_ADDRESS_PORT`
fn of_http(prefix: &str) -> Option<u16> {
    if prefix == OTHERS {
        return Some(0);
    }
    prefix.strip_prefix("inbound_")?.rsplit_once('_')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_by_port() {
        let stats = "http.inbound_0.0.0.0_8080;.downstream_cx_ssl_total: 5\n\
                     http.inbound_0.0.0.0_8080;.downstream_cx_total: 12\n\
                     http.inbound_[__]_8081;.downstream_cx_ssl_total: 4\n\
                     http.inbound_[__]_8081;.downstream_cx_total: 4\n\
                     http.InboundPassthroughCluster;.downstream_cx_total: 2\n\
                     tcp.InboundPassthroughCluster;plaintext.downstream_cx_total: 1\n\
                     tcp.inbound|9000||;plaintext.downstream_cx_total: 3\n\
                     tcp.inbound|9001||.downstream_cx_total: 7\n\
                     http.outbound_0.0.0.0_80;.downstream_cx_total: 9\n\
                     x: y\n";
        assert_eq!(read(stats), [(0, 3), (8080, 7), (9000, 3)].into());
    }
}
