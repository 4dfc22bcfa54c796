// SPDX-License-Identifier: Apache-2.0
//! The rules for a configuration, in the order in which they are tried.
//!
//! Inbound: PREROUTING leads to ISTIO_INBOUND, which lets through what is excluded and leads the rest to Envoy's inbound port.
//! Outbound: OUTPUT leads to ISTIO_OUTPUT, which lets through Envoy's own traffic (by user and group), loopback and what is
//! excluded, and leads what is included to Envoy's outbound port. DNS has a chain of its own.

mod dns;
mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

use super::config::{CaptureConfig, list};
use super::rule::{Chain, Family, Match, Protocol, Rule, Table, Target};
use std::net::IpAddr;

/// All rules.
///
/// # Errors
/// Names the list that is not understood.
pub fn all(config: &CaptureConfig) -> Result<Vec<Rule>, String> {
    let included = Ranges::parse("--istio-service-cidr", &config.ranges_include)?;
    let excluded = Ranges::parse("--istio-service-exclude-cidr", &config.ranges_exclude)?;
    if excluded.all {
        return Err(
            "--istio-service-exclude-cidr: \"*\" would exclude everything; leave --istio-service-cidr empty instead"
                .into(),
        );
    }
    let mut rules = Vec::new();
    inbound::interfaces(config, &mut rules);
    inbound::invalid(config, &mut rules);
    inbound::redirects(config, &mut rules);
    inbound::ports(config, &mut rules);
    outbound::proxy_itself(config, &included, &mut rules);
    outbound::groups(config, &mut rules);
    if dns::wanted(config) {
        dns::all(config, &mut rules);
    }
    outbound::destinations(config, &included, &excluded, &mut rules);
    if config.tproxy {
        outbound::marks(config, &mut rules);
        inbound::marks(config, &mut rules);
    }
    Ok(rules)
}

/// Destinations, by family.
pub(super) struct Ranges {
    /// `*`
    pub all: bool,
    /// CIDRs with their family.
    pub some: Vec<(Family, String)>,
    /// Whether one is a loopback address.
    pub loopback: bool,
}

impl Ranges {
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut ranges = Self { all: text == "*", some: Vec::new(), loopback: false };
        if ranges.all {
            return Ok(ranges);
        }
        for part in list(text) {
            let (address, bits) =
                cidr(part).ok_or_else(|| format!("{name}: {part:?} is no range such as 10.0.0.0/8"))?;
            ranges.loopback |= address.is_loopback();
            ranges.some.push((family(address), format!("{address}/{bits}")));
        }
        Ok(ranges)
    }
}

/// Address and length of a CIDR.
pub(super) fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// A rule for each family, each with its loopback addresses (or other pair of addresses).
fn for_each(pair: (&str, &str), rules: &mut Vec<Rule>, make: impl Fn(&str) -> Rule) {
    rules.push(make(pair.0).only(Family::V4));
    rules.push(make(pair.1).only(Family::V6));
}

fn tcp() -> Match {
    Match::Protocol(Protocol::Tcp)
}

fn udp() -> Match {
    Match::Protocol(Protocol::Udp)
}

fn lo() -> Match {
    Match::Out("lo".into())
}

const V6_LOOPBACK: &str = "::1/128";
/// From where Envoy and the agent connect to the application.
const PASSTHROUGH: (&str, &str) = ("127.0.0.6/32", "::6/128");
/// Where the agent listens for DNS.
const DNS_PORT: &str = "15053";
/// The mark of what Envoy sends to its own pod by the pod's address.
const OUTBOUND_MARK: &str = "1338";
