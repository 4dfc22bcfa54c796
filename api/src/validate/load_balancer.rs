// SPDX-License-Identifier: Apache-2.0
//! How endpoints are chosen: in DestinationRules and in MeshConfig.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{At, Report};
use crate::istio::networking::load_balancer::{
    ConsistentHashLb, LoadBalancerSettings, LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting,
};

/// What the choice by locality depends on.
pub(super) struct Localities {
    /// Failing endpoints are left out; without this nothing ever fails over.
    pub(super) outlier: bool,
}

const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn check(report: &mut Report, at: &At<'_>, settings: &LoadBalancerSettings, context: &Localities) {
    report.at_most_one(
        at,
        &[("simple", settings.simple.is_some()), ("consistentHash", settings.consistent_hash.is_some())],
    );
    report.at_most_one(
        at,
        &[
            ("localityLbSetting", settings.locality_lb_setting.is_some()),
            ("zoneAwareLbSetting", settings.zone_aware_lb_setting.is_some()),
        ],
    );
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(report, &at.field("consistentHash"), hash);
    }
    if let Some(setting) = &settings.locality_lb_setting {
        locality(report, &at.field("localityLbSetting"), setting, context);
    }
    if let Some(setting) = &settings.zone_aware_lb_setting {
        zone_aware(report, &at.field("zoneAwareLbSetting"), setting, context);
    }
    report.duration(&at.field("warmupDurationSecs"), settings.warmup_duration_secs);
    if let Some(warmup) = &settings.warmup {
        let at = at.field("warmup");
        if warmup.duration.is_none() {
            report.error(&at.field("duration"), "must be set");
        }
        report.duration(&at.field("duration"), warmup.duration);
        report.percent(&at.field("minimumPercent"), warmup.minimum_percent.unwrap_or_default());
        if warmup.aggression.is_some_and(|aggression| aggression <= 0.0) {
            report.error(&at.field("aggression"), "must be more than 0");
        }
    }
}

fn consistent_hash(report: &mut Report, at: &At<'_>, hash: &ConsistentHashLb) {
    report.exactly_one(
        at,
        &[
            ("httpHeaderName", hash.http_header_name.is_some()),
            ("httpCookie", hash.http_cookie.is_some()),
            ("useSourceIp", hash.use_source_ip.is_some()),
            ("httpQueryParameterName", hash.http_query_parameter_name.is_some()),
        ],
    );
    report.at_most_one(
        at,
        &[
            ("ringHash", hash.ring_hash.is_some()),
            ("maglev", hash.maglev.is_some()),
            ("minimumRingSize", hash.minimum_ring_size != 0),
        ],
    );
    if let Some(cookie) = &hash.http_cookie {
        let at = at.field("httpCookie");
        report.present(&at.field("name"), &cookie.name);
        let mut names = BTreeSet::new();
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let at = at.field("attributes");
            let at = at.index(index);
            report.present(&at.field("name"), &attribute.name);
            if !names.insert(&attribute.name) {
                report.error(&at.field("name"), format!("{:?} is there twice", attribute.name));
            }
        }
    }
    if hash.minimum_ring_size != 0 {
        report.warning(&at.field("minimumRingSize"), "is outdated: use ringHash.minimumRingSize");
    }
    if let Some(size) = hash.maglev.as_ref().map(|maglev| maglev.table_size)
        && !(size < 5_000_011 && is_prime(size))
    {
        report.error(&at.field("maglev").field("tableSize"), format!("{size} is not a prime below 5000011"));
    }
}

fn is_prime(number: u64) -> bool {
    number >= 2 && (2..).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}

pub(super) fn locality(report: &mut Report, at: &At<'_>, setting: &LocalityLoadBalancerSetting, context: &Localities) {
    report
        .at_most_one(at, &[("distribute", !setting.distribute.is_empty()), ("failover", !setting.failover.is_empty())]);
    let topology = setting.failover_priority.iter().any(|label| TOPOLOGY.contains(&label.as_str()));
    if !setting.failover.is_empty() && topology {
        report.error(&at.field("failoverPriority"), "must not name topology labels when failover is set");
    }
    let sources: Vec<&str> = setting.distribute.iter().map(|distribute| distribute.from.as_str()).collect();
    disjoint(report, &at.field("distribute"), &sources);
    for (index, distribute) in setting.distribute.iter().enumerate() {
        let at = at.field("distribute");
        let at = at.index(index);
        shares(report, &at.field("to"), &distribute.to);
        disjoint(report, &at.field("to"), &distribute.to.keys().map(String::as_str).collect::<Vec<_>>());
    }
    let regions: Vec<(&str, &str)> =
        setting.failover.iter().map(|failover| (failover.from.as_str(), failover.to.as_str())).collect();
    failover(report, at, &regions);
    let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if fails_over && !context.outlier {
        report.warning(at, "has no effect without outlierDetection");
    }
}

fn shares(report: &mut Report, at: &At<'_>, shares: &BTreeMap<String, u32>) {
    if let Some((locality, share)) = shares.iter().find(|(_, share)| !(1..=100).contains(*share)) {
        report.error(&at.key(locality), format!("{share} is not a share: must be from 1 to 100"));
        return;
    }
    let sum: u32 = shares.values().sum();
    if sum != 100 {
        report.error(at, format!("the shares are {sum} in sum: must be 100"));
    }
}

/// Localities that have nothing in common.
fn disjoint(report: &mut Report, at: &At<'_>, localities: &[&str]) {
    for (index, locality) in localities.iter().enumerate() {
        if locality.matches('*').count() > 1 || locality.contains('*') && !locality.ends_with('*') {
            report.error(at, format!("{locality:?}: one * may end a locality"));
        }
        if locality.splitn(3, '/').any(str::is_empty) {
            report.error(at, format!("{locality:?} is not a locality: write region/zone/subzone"));
        }
        if let Some(other) = localities[..index].iter().find(|other| common(locality, other)) {
            report.error(at, format!("{locality:?} overlaps {other:?}"));
        }
    }
}

fn common(one: &str, other: &str) -> bool {
    let mut parts = one.splitn(3, '/').zip(other.splitn(3, '/'));
    parts.all(|(one, other)| one == "*" || other == "*" || one == other)
}

fn failover(report: &mut Report, at: &At<'_>, regions: &[(&str, &str)]) {
    for (index, (from, to)) in regions.iter().enumerate() {
        let at = at.field("failover");
        let at = at.index(index);
        if from == to {
            report.error(&at, "from and to must be different regions");
        }
        if [from, to].iter().any(|region| region.contains(['/', '*'])) {
            report.error(&at, "must name regions: no zones and no wildcards");
        }
    }
}

pub(super) fn zone_aware(
    report: &mut Report,
    at: &At<'_>,
    setting: &ZoneAwareLoadBalancerSetting,
    context: &Localities,
) {
    for (index, label) in setting.failover_priority.iter().enumerate() {
        if TOPOLOGY.contains(&label.as_str()) {
            report.error(
                &at.field("failoverPriority").index(index),
                "must not be a topology label: regions and zones are cared for",
            );
        }
    }
    let regions: Vec<(&str, &str)> =
        setting.failover.iter().map(|failover| (failover.from.as_str(), failover.to.as_str())).collect();
    failover(report, at, &regions);
    let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if fails_over && !context.outlier {
        report.warning(at, "has no effect without outlierDetection");
    }
}
