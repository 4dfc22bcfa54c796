// SPDX-License-Identifier: Apache-2.0
//! Which statistics Envoy keeps, and the tags that are cut out of their names, as Istio's dashboards expect them.
//!
//! Settings: ProxyConfig.proxyStatsMatcher and extraStatTags, or the annotations `sidecar.istio.io/statsInclusionPrefixes`,
//! `...Suffixes`, `...Regexps`, `extraStatTags` and `statsHistogramBuckets`, which win over ProxyConfig.

use crate::connections::counters;
use crate::settings::Settings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Needed by readiness checks.
const PREFIXES: [&str; 5] = ["cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm"];
const SUFFIXES: [&str; 4] = ["rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied"];
/// Needed to see whether connections are still active.
const DRAIN_SUFFIX: &str = "downstream_cx_active";
/// Statistics of virtual services that set stat_prefix.
const REGEXPS: [&str; 1] = [r"vhost\..*\.route\..*"];

/// Tags before those of the user, and after.
const TAGS_BEFORE: [(&str, &str); 9] = [
    ("cluster_name", r"^cluster(\.(.+);)"),
    ("http_conn_manager_prefix", r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]\w\:]*));\.)"),
    ("thread_name", r"^server(\.(.+))\.watchdog"),
    ("tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
    (
        "http_conn_manager_listener_prefix",
        r"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)",
    ),
    ("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
    ("mongo_prefix", r"^mongo\.(.+?)\.(collection|cmd|cx_|op_|delays_|decoding_)(.*?)$"),
];
const TAGS_AFTER: [(&str, &str); 7] = [
    ("cache", r"(cache\.(.+?)\.)"),
    ("component", r"(component\.(.+?)\.)"),
    ("tag", r"(tag\.(.+?);\.)"),
    ("wasm_filter", r"(wasm_filter\.(.+?)\.)"),
    ("authz_enforce_result", r"rbac(\.(allowed|denied))"),
    ("authz_dry_run_action", r"(\.istio_dry_run_(allow|deny)_)"),
    ("authz_dry_run_result", r"(\.shadow_(allowed|denied))"),
];

pub(super) fn config(settings: &Settings) -> Value {
    let mut config = json!({
        "use_all_default_tags": false,
        "stats_tags": tags(settings),
        "stats_matcher": { "inclusion_list": { "patterns": patterns(settings) } },
    });
    if let Some(buckets) = histogram_buckets(settings) {
        config["histogram_bucket_settings"] = buckets;
    }
    config
}

fn tags(settings: &Settings) -> Vec<Value> {
    let tag = |name: &str, regex: &str| json!({ "tag_name": name, "regex": regex });
    let annotated = settings.pod_annotations.get("sidecar.istio.io/extraStatTags").map_or("", String::as_str);
    let mut extra: Vec<&str> = Vec::new();
    let configured = settings.config().extra_stat_tags.iter().map(String::as_str);
    for name in configured.chain(annotated.split(',')).filter(|n| !n.is_empty()) {
        if !extra.contains(&name) {
            extra.push(name);
        }
    }
    let mut all: Vec<Value> = TAGS_BEFORE.iter().map(|(n, r)| tag(n, r)).collect();
    all.extend(extra.iter().map(|n| tag(n, &format!(r"({n}=\.=(.*?);\.;)"))));
    all.extend(TAGS_AFTER.iter().map(|(n, r)| tag(n, r)));
    all
}

fn patterns(settings: &Settings) -> Vec<Value> {
    let matcher = &settings.config().proxy_stats_matcher;
    let wanted = |annotation: &str, configured: &Option<Vec<String>>, needed: &[&str]| -> Vec<String> {
        let annotated = settings.pod_annotations.get(annotation).filter(|v| !v.is_empty());
        let mut all: Vec<String> = match annotated {
            Some(text) => text.split(',').map(String::from).collect(),
            None => configured.clone().unwrap_or_default(),
        };
        all.extend(needed.iter().map(ToString::to_string));
        // `{pod_ip}` stands for each address.
        all.iter()
            .flat_map(|p| match p.contains("{pod_ip}") {
                true => settings.addresses.iter().map(|a| p.replace("{pod_ip}", &a.to_string())).collect(),
                false => vec![p.clone()],
            })
            .collect()
    };
    let mut suffixes: Vec<&str> = SUFFIXES.to_vec();
    if settings.exit_on_zero_active_connections {
        suffixes.push(DRAIN_SUFFIX);
    }
    let mut all = vec![json!({ "prefix": "reporter=" })];
    let prefixes = wanted("sidecar.istio.io/statsInclusionPrefixes", &matcher.inclusion_prefixes, &PREFIXES);
    all.extend(prefixes.iter().map(|p| json!({ "prefix": p })));
    let suffixes = wanted("sidecar.istio.io/statsInclusionSuffixes", &matcher.inclusion_suffixes, &suffixes);
    all.extend(suffixes.iter().map(|s| json!({ "suffix": s })));
    let regexps = wanted("sidecar.istio.io/statsInclusionRegexps", &matcher.inclusion_regexps, &REGEXPS);
    let regexps = regexps.iter().map(String::as_str).chain(counters::KEPT);
    all.extend(regexps.map(|r| json!({ "safe_regex": { "regex": r } })));
    all.extend([json!({ "prefix": "component" }), json!({ "prefix": "istio" })]);
    all
}

/// The annotation is a JSON object of prefix to boundaries; one that is not is left out with a warning.
fn histogram_buckets(settings: &Settings) -> Option<Value> {
    let text = settings.pod_annotations.get("sidecar.istio.io/statsHistogramBuckets")?;
    match serde_json::from_str::<BTreeMap<String, Vec<f64>>>(text) {
        Ok(buckets) => {
            let one = |(prefix, bounds): (&String, &Vec<f64>)| {
                let mut setting = Map::new();
                setting.insert("match".into(), json!({ "prefix": prefix }));
                setting.insert("buckets".into(), json!(bounds));
                Value::Object(setting)
            };
            Some(buckets.iter().map(one).collect())
        }
        Err(error) => {
            tracing::warn!(%error, "annotation sidecar.istio.io/statsHistogramBuckets is no object of lists of numbers");
            None
        }
    }
}
