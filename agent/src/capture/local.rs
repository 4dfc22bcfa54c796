// SPDX-License-Identifier: Apache-2.0
//! What the machine adds to the settings: the proxy's user, the pod's addresses, its nameservers.

use super::config::CaptureConfig;
use crate::net;
use crate::settings::Environment;
use std::net::IpAddr;

const DEFAULT_USER: &str = "1337";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Fills in what was not given.
///
/// # Errors
/// When the pod has no address, or DNS is to be captured and there is no resolv.conf.
pub(super) fn fill(config: &mut CaptureConfig, environment: &Environment) -> Result<(), String> {
    if config.proxy_uid.is_empty() {
        let name = environment.get("ENVOY_USER").unwrap_or("istio-proxy");
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        config.proxy_uid = user_id(&passwd, name).unwrap_or(DEFAULT_USER).to_string();
    }
    if config.proxy_gid.is_empty() {
        config.proxy_gid.clone_from(&config.proxy_uid);
    }
    let addresses = net::machine_addresses();
    // IPv6 when it is the only family, or both are asked for.
    config.ipv6 = match addresses.first() {
        Some(IpAddr::V6(_)) => true,
        Some(IpAddr::V4(_)) => config.dual_stack && addresses.iter().any(IpAddr::is_ipv6),
        None => return Err("no interface has an address that is neither loopback nor link-local".into()),
    };
    config.host = addresses.first().copied();
    if config.redirect_dns && !config.capture_all_dns {
        let text = std::fs::read_to_string(RESOLV_CONF).map_err(|e| format!("{RESOLV_CONF}: {e}"))?;
        config.nameservers = nameservers(&text);
        if config.nameservers.is_empty() {
            tracing::warn!("{RESOLV_CONF} has no nameserver: DNS is not captured; --capture-all-dns would");
        }
    }
    Ok(())
}

/// The number of a user in the text of /etc/passwd.
fn user_id<'a>(passwd: &'a str, name: &str) -> Option<&'a str> {
    let line = passwd.lines().find(|l| l.split(':').next() == Some(name))?;
    line.split(':').nth(2)
}

/// The servers of a resolv.conf; a zone such as `%eth0` is left out.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|l| l.trim().strip_prefix("nameserver"));
    lines.filter_map(|l| l.split(['%', '#', ';']).next()?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_machine() {
        assert_eq!(user_id("root:x:0:0\nistio-proxy:x:1338:7\n", "istio-proxy"), Some("1338"));
        let found = nameservers("# x\nsearch a\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver\t::1 # y\n");
        assert_eq!(found, ["10.96.0.10", "fe80::1", "::1"].map(|a| a.parse::<IpAddr>().unwrap()));
    }
}
