// SPDX-License-Identifier: Apache-2.0
//! Metrics of the application beside the proxy's: Prometheus is sent to the agent, which asks the application in its turn
//! (<https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging>).

use serde_json::{Value as Json, json};
use tiphys_api::names::annotation;

use super::InjectError;
use super::pod;

/// Ports of the proxy and the agent, which are no application's.
const RESERVED: [(u16, &str); 9] = [
    (15000, "Envoy's admin interface"),
    (15001, "captured outbound traffic"),
    (15004, "the control plane's debug interface"),
    (15006, "captured inbound traffic"),
    (15008, "HBONE"),
    (15020, "the agent's health and merged metrics"),
    (15021, "Envoy's health"),
    (15053, "the DNS proxy"),
    (15090, "Envoy's own metrics"),
];

/// An annotation's name as Prometheus sees it: other spellings of it are the same to Prometheus.
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn find(pod: &Json, name: &str) -> Option<String> {
    let annotations = pod["metadata"]["annotations"].as_object()?;
    let (_, value) = annotations.iter().find(|(key, _)| sanitized(key) == name)?;
    value.as_str().map(str::to_owned)
}

fn clear(pod: &mut Json) {
    const OURS: [&str; 4] =
        ["prometheus_io_scrape", "prometheus_io_port", "prometheus_io_path", "prometheus_istio_io_scrape_targets"];
    pod::annotations_mut(pod).retain(|name, _| !OURS.contains(&sanitized(name).as_str()));
}

/// Removes the annotations that an earlier injection wrote.
pub fn forget_own(pod: &mut Json, status_port: i32) {
    if find(pod, "prometheus_io_port").is_some_and(|port| port == status_port.to_string()) {
        clear(pod);
    }
}

/// Sends Prometheus to the agent, and tells the agent what the application offers.
///
/// # Errors
/// When the pod asks for ports to be scraped that are the mesh's own or no ports.
pub fn merge(merged: &mut Json, by_mesh: bool, status_port: i32) -> Result<(), InjectError> {
    let asked = pod::annotation(merged, annotation::MERGE_METRICS).and_then(pod::parse_bool);
    let scraped = find(merged, "prometheus_io_scrape");
    let scrapes = scraped.as_deref().and_then(pod::parse_bool).unwrap_or(true);
    let port = find(merged, "prometheus_io_port").unwrap_or_default();
    // A port that is the agent's already: the user does it alone, or the pod is injected again.
    if !asked.unwrap_or(by_mesh) || !scrapes || port == status_port.to_string() {
        return Ok(());
    }
    let mut scrape = json!({
        "scrape": scraped.unwrap_or_default(),
        "path": find(merged, "prometheus_io_path").unwrap_or_default(),
        "port": port,
    });
    let targets = find(merged, "prometheus_istio_io_scrape_targets").map(|text| targets(&text)).transpose()?;
    if let Some(targets) = targets.filter(|targets| !targets.is_empty()) {
        for (port, _) in &targets {
            check(port, status_port)?;
        }
        // The first one also where agents look that know of one only.
        (scrape["port"], scrape["path"]) = (targets[0].0.as_str().into(), targets[0].1.as_str().into());
        scrape["targets"] = targets.iter().map(|(port, path)| json!({ "port": port, "path": path })).collect();
    } else if !port.is_empty() {
        check(&port, status_port)?;
    }
    let says_something = ["scrape", "path", "port"].iter().any(|field| scrape[*field] != "");
    if let Some(proxy) = pod::find_in_pod_mut(merged, pod::PROXY).filter(|_| says_something) {
        pod::push_env(proxy, "ISTIO_PROMETHEUS_ANNOTATIONS", &scrape.to_string());
    }
    clear(merged);
    let annotations = pod::annotations_mut(merged);
    annotations.insert("prometheus.io/port".to_owned(), status_port.to_string().into());
    annotations.insert("prometheus.io/path".to_owned(), "/stats/prometheus".into());
    annotations.insert("prometheus.io/scrape".to_owned(), "true".into());
    Ok(())
}

/// `port:path,port` as pairs.
fn targets(text: &str) -> Result<Vec<(String, String)>, InjectError> {
    let mut targets = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (port, path) = entry.split_once(':').unwrap_or((entry, ""));
        if port.trim().is_empty() {
            let message = format!("annotation prometheus.istio.io/scrape-targets: {entry:?} has no port");
            return Err(InjectError::Annotations(message));
        }
        let path = if path.trim().is_empty() { "/metrics" } else { path.trim() };
        targets.push((port.trim().to_owned(), path.to_owned()));
    }
    Ok(targets)
}

fn check(port: &str, status_port: i32) -> Result<(), InjectError> {
    let wrong = |why: &str| Err(InjectError::Annotations(format!("Prometheus cannot be sent to port {port:?}: {why}")));
    match port.parse::<u16>() {
        Err(_) | Ok(0) => wrong("it is no port"),
        Ok(number) if i32::from(number) == status_port => wrong("it is the agent's own"),
        Ok(number) => match RESERVED.iter().find(|(reserved, _)| *reserved == number) {
            Some((_, what)) => wrong(&format!("it is that of {what}")),
            None => Ok(()),
        },
    }
}

/// Where the agent offers merged metrics over mTLS, Prometheus learns the port from an annotation.
pub fn tell_secure_port(merged: &mut Json) {
    if find(merged, "prometheus_istio_io_secure_port").is_some() {
        return;
    }
    let proxy = pod::find_in_pod(merged, pod::PROXY);
    let variables = proxy.and_then(|proxy| proxy["env"].as_array()).into_iter().flatten();
    let port = variables
        .filter(|variable| variable["name"] == "ENVOY_SECURE_MERGED_METRICS_PORT")
        .find_map(|variable| variable["value"].as_str().filter(|port| !port.is_empty() && *port != "0"));
    if let Some(port) = port.map(str::to_owned) {
        pod::annotations_mut(merged).insert("prometheus.istio.io/secure-port".to_owned(), port.into());
    }
}
