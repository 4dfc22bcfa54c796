// SPDX-License-Identifier: Apache-2.0
//! Probes and lifecycle handlers of the application are asked of the agent, since the kubelet cannot speak mTLS: the agent learns from
//! ISTIO_KUBE_APP_PROBERS what to ask in its turn
//! (<https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/>).

use serde_json::{Map, Value as Json, json};
use tiphys_api::names::annotation;

use super::pod::{self, List};

/// The agent's variable with the application's probes.
const VARIABLE: &str = "ISTIO_KUBE_APP_PROBERS";

/// Probes of a container: where they stand in it, and their path at the agent.
const PLACES: [(&str, &str, &str); 5] = [
    ("readinessProbe", "app-health", "readyz"),
    ("livenessProbe", "app-health", "livez"),
    ("startupProbe", "app-health", "startupz"),
    ("lifecycle.preStop", "app-lifecycle", "prestopz"),
    ("lifecycle.postStart", "app-lifecycle", "poststartz"),
];

/// Whether the probes of a pod are rewritten, by its annotation or, without one, by the values.
pub fn wanted(pod: &Json, by_values: bool) -> bool {
    pod::annotation(pod, annotation::REWRITE_APP_HTTP_PROBERS).and_then(pod::parse_bool).unwrap_or(by_values)
}

/// Rewrites the probes of a pod's applications. `default_port` is the agent's.
pub fn rewrite(merged: &mut Json, default_port: i32) {
    let again = pod::annotation(merged, annotation::STATUS).is_some();
    let port =
        pod::annotation(merged, annotation::PORT).and_then(|port| port.trim().parse().ok()).unwrap_or(default_port);
    let mut probers = Map::new();
    for list in [List::Init, List::Containers] {
        for container in pod::containers(merged, list) {
            if container["name"] != pod::PROXY {
                gather(container, port, &mut probers);
            }
        }
    }
    if !probers.is_empty()
        && let Some(proxy) = pod::find_in_pod_mut(merged, pod::PROXY)
    {
        tell(proxy, probers, again);
    }
    for list in List::BOTH {
        if pod::containers(merged, list).is_empty() {
            continue;
        }
        for container in pod::containers_mut(merged, list) {
            if container["name"] != pod::PROXY {
                convert(container, port);
            }
        }
    }
}

fn at<'a>(container: &'a Json, place: &str) -> &'a Json {
    place.split('.').fold(container, |value, field| &value[field])
}

fn path(container: &Json, group: &str, name: &str) -> String {
    format!("/{group}/{}/{name}", container["name"].as_str().unwrap_or_default())
}

fn gather(container: &Json, agent_port: i32, probers: &mut Map<String, Json>) {
    for (place, group, name) in PLACES {
        let probe = at(container, place);
        let action = ["httpGet", "tcpSocket", "grpc"].into_iter().find(|action| probe[*action].is_object());
        // A handler cannot be gRPC.
        let Some(action) = action.filter(|action| *action != "grpc" || group == "app-health") else { continue };
        let mut told = probe[action].clone();
        if action != "grpc" {
            match &told["port"] {
                Json::String(named) if named.parse::<u16>().is_err() => {
                    let ports = container["ports"].as_array().into_iter().flatten();
                    let Some(port) = ports.into_iter().find(|port| port["name"] == named.as_str()) else { continue };
                    told["port"] = port["containerPort"].clone();
                }
                // It was rewritten before.
                Json::Number(port) if port.as_i64() == Some(agent_port.into()) => continue,
                _ => {}
            }
        }
        let mut prober = json!({ action: told });
        if let Some(seconds) = probe["timeoutSeconds"].as_i64().filter(|seconds| *seconds != 0) {
            prober["timeoutSeconds"] = seconds.into();
        }
        probers.insert(path(container, group, name), prober);
    }
}

/// Puts the probes into the agent's environment; of a pod that is injected again, those that are known stay.
fn tell(proxy: &mut Json, mut probers: Map<String, Json>, again: bool) {
    let known = proxy
        .get_mut("env")
        .and_then(Json::as_array_mut)
        .into_iter()
        .flatten()
        .find(|variable| variable["name"] == VARIABLE);
    if let (true, Some(known)) = (again, known) {
        let former = known["value"].as_str().and_then(|text| serde_json::from_str::<Map<String, Json>>(text).ok());
        probers.extend(former.unwrap_or_default());
        *known = json!({ "name": VARIABLE, "value": Json::Object(probers).to_string() });
        return;
    }
    pod::push_env(proxy, VARIABLE, &Json::Object(probers).to_string());
}

fn convert(container: &mut Json, port: i32) {
    for (place, group, name) in PLACES {
        let path = path(container, group, name);
        let probe = place.split('.').try_fold(&mut *container, |value, field| value.get_mut(field));
        let Some(Json::Object(probe)) = probe else { continue };
        let is_there = |action: &str| probe.get(action).is_some_and(Json::is_object);
        if is_there("httpGet") {
            let Some(Json::Object(action)) = probe.get_mut("httpGet") else { continue };
            action.insert("port".to_owned(), port.into());
            action.insert("path".to_owned(), path.into());
            // The agent speaks TLS to the application.
            if action.get("scheme").is_some_and(|scheme| scheme == "HTTPS") {
                action.insert("scheme".to_owned(), "HTTP".into());
            }
        } else if is_there("tcpSocket") || (is_there("grpc") && group == "app-health") {
            probe.remove("tcpSocket");
            probe.remove("grpc");
            probe.insert("httpGet".to_owned(), json!({ "path": path, "port": port }));
        }
    }
}
