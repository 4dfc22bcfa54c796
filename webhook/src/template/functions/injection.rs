// SPDX-License-Identifier: Apache-2.0
//! The functions that Istio adds for injection templates.

use std::collections::BTreeSet;

use tiphys_api::Duration;

use super::collections::{entries, filtered};
use super::encode::{parse_json, yaml};
use super::{Function, Outcome, int, list, text, value};
use crate::template::print::show;
use crate::template::value::{Map, MapKind, Value};

pub const TABLE: &[Function] = &[
    Function::new("annotation", 3, Some(3), |a| {
        let annotations = a[0].field("Annotations")?;
        let found = match &annotations {
            Value::Map(map) => map.entries.get(text(a, 1)?),
            _ => None,
        };
        Ok(Value::text(show(found.unwrap_or(&a[2]))))
    }),
    Function::new("isset", 2, Some(2), |a| Ok(Value::Bool(entries(a, 0)?.contains_key(text(a, 1)?)))),
    Function::new("valueOrDefault", 2, Some(2), |a| {
        let missing = match &a[0] {
            Value::Nil | Value::Unset => true,
            Value::Text(text) => text.is_empty(),
            _ => false,
        };
        Ok(a[usize::from(missing)].clone())
    }),
    Function::new("excludeInboundPort", 2, Some(2), |a| Ok(Value::text(exclude_port(show(&a[0]).trim(), text(a, 1)?)))),
    Function::new("includeInboundPorts", 1, Some(1), |a| Ok(Value::text(ports(list(a, 0)?, |_| true)?))),
    Function::new("applicationPorts", 1, Some(1), |a| {
        Ok(Value::text(ports(list(a, 0)?, |name| name != "istio-proxy")?))
    }),
    Function::new("kubevirtInterfaces", 1, Some(1), |a| Ok(Value::text(text(a, 0)?))),
    Function::new("excludeInterfaces", 1, Some(1), |a| Ok(Value::text(text(a, 0)?))),
    Function::new("formatDuration", 1, Some(1), |a| match &a[0] {
        Value::Nil | Value::Unset => Ok(Value::text("0s")),
        other => show(other).parse::<Duration>().map(|duration| Value::text(go_duration(duration.get()))),
    }),
    Function::new("toJSON", 1, Some(1), |a| match &a[0] {
        Value::Nil | Value::Unset => Ok(Value::text("{}")),
        other => Ok(Value::text(other.to_json().to_string())),
    }),
    Function::new("structToJSON", 1, Some(1), |a| match &a[0] {
        Value::Nil | Value::Unset => Ok(Value::text("{}")),
        other => Ok(Value::text(without_unset(other).to_json().to_string())),
    }),
    Function::new("protoToJSON", 1, Some(1), |a| match &a[0] {
        Value::Nil | Value::Unset => Ok(Value::text("{}")),
        Value::Map(map) if map.entries.contains_key(MESSAGE) => Ok(map.get(MESSAGE)),
        other => Ok(Value::text(without_unset(other).to_json().to_string())),
    }),
    Function::new("fromJSON", 1, Some(1), |a| parse_json(text(a, 0)?)),
    Function::new("toYaml", 1, Some(1), |a| Ok(Value::text(yaml(&without_unset(&a[0]))?))),
    Function::new("toJsonMap", 0, None, |a| Ok(Value::text(merged(a)?.to_json().to_string()))),
    Function::new("mergeMaps", 0, None, merged),
    Function::new("strdict", 0, None, |a| {
        let texts: Vec<&str> = (0..a.len()).map(|at| text(a, at)).collect::<Result<_, _>>()?;
        let pairs = texts.chunks(2).map(|pair| (pair[0], Value::text(pair.get(1).copied().unwrap_or_default())));
        Ok(Value::map(MapKind::Texts, pairs))
    }),
    Function::new("omit", 1, None, |a| filtered(a, false)),
    Function::new("omitNil", 1, Some(1), |a| Ok(omit_nil(&a[0]))),
    Function::new("indent", 2, Some(2), |a| {
        // The first line stands where the template puts it.
        let pad = " ".repeat(usize::try_from(int(a, 0)?).unwrap_or(0).min(1000));
        Ok(Value::text(text(a, 1)?.replace('\n', &format!("\n{pad}"))))
    }),
    Function::new("contains", 2, Some(2), |a| Ok(Value::Bool(text(a, 1)?.contains(text(a, 0)?)))),
    Function::new("toLower", 1, Some(1), |a| Ok(Value::text(text(a, 0)?.to_lowercase()))),
    Function::new("directory", 1, Some(1), |a| {
        let path = text(a, 0)?;
        Ok(Value::text(path.rfind('/').map_or("", |slash| &path[..=slash])))
    }),
    Function::new("env", 2, Some(2), |a| {
        let found = std::env::var(text(a, 0)?).ok().filter(|value| !value.is_empty());
        Ok(found.map_or_else(|| a[1].clone(), Value::text))
    }),
    Function::new("appendMultusNetwork", 2, Some(2), |a| Ok(Value::text(append_network(text(a, 0)?, text(a, 1)?)))),
    Function::new("otelResourceAttributes", 5, Some(5), otel_attributes),
];

/// The key under which a protobuf message in a template's data has its JSON, without what is default.
pub const MESSAGE: &str = "";

/// A list of ports with one more.
fn exclude_port(port: &str, excluded: &str) -> String {
    if port.is_empty() || port == "0" || excluded.split(',').any(|known| known == port) {
        return excluded.to_owned();
    }
    let mut ports: Vec<&str> = excluded.split(',').map(str::trim).filter(|known| !known.is_empty()).collect();
    ports.push(port);
    ports.join(",")
}

/// TCP ports of containers.
fn ports(containers: &[Value], wanted: impl Fn(&str) -> bool) -> Result<String, String> {
    let mut found = Vec::new();
    for container in containers {
        if !wanted(&show(&container.field("Name")?)) {
            continue;
        }
        let ports = container.field("Ports")?;
        for port in list(std::slice::from_ref(&ports), 0)? {
            if !matches!(show(&port.field("Protocol")?).as_str(), "UDP" | "SCTP") {
                found.push(show(&port.field("ContainerPort")?));
            }
        }
    }
    Ok(found.join(","))
}

/// A duration as Go's `Duration.String` writes it: `1m30s`, `1.5s`, `100ms`.
fn go_duration(duration: std::time::Duration) -> String {
    let decimal = |nanos: u128, unit: u128| {
        let (whole, part) = (nanos / unit, nanos % unit);
        if part == 0 {
            return whole.to_string();
        }
        let digits = unit.ilog10() as usize;
        format!("{whole}.{part:0digits$}").trim_end_matches('0').to_owned()
    };
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let (hours, minutes) = (minutes / 60, minutes % 60);
            let hours = if hours > 0 { format!("{hours}h") } else { String::new() };
            let minutes = if minutes > 0 || !hours.is_empty() { format!("{minutes}m") } else { String::new() };
            format!("{hours}{minutes}{}s", decimal(rest, 1_000_000_000))
        }
    }
}

fn merged(arguments: &[Value]) -> Outcome {
    let mut all = Vec::new();
    for at in 0..arguments.len() {
        all.extend(entries(arguments, at)?.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(Value::map(MapKind::Texts, all))
}

/// A value without fields that are not set, and without the JSON of messages.
fn without_unset(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::list(items.iter().map(without_unset).collect()),
        Value::Map(map) => {
            let kept = map.entries.iter().filter(|(key, value)| {
                let message = matches!(map.kind, MapKind::Closed(..)) && &***key == MESSAGE;
                !message && !matches!(value, Value::Unset)
            });
            let entries = kept.map(|(key, value)| (key.clone(), without_unset(value))).collect();
            Value::Map(std::sync::Arc::new(Map { kind: map.kind, entries }))
        }
        other => other.clone(),
    }
}

/// A value without nulls, at any depth, and without the maps and lists that are empty for that. What has no nulls stays as it is.
fn omit_nil(value: &Value) -> Value {
    fn has_nil(value: &Value) -> bool {
        match value {
            Value::Nil => true,
            Value::List(items) => items.iter().any(has_nil),
            Value::Map(map) => map.entries.values().any(has_nil),
            _ => false,
        }
    }
    if !has_nil(value) {
        return value.clone();
    }
    let there = |value: &Value| !matches!(value, Value::Nil);
    match value {
        Value::List(items) => {
            let kept: Vec<Value> = items.iter().map(omit_nil).filter(there).collect();
            if kept.is_empty() { Value::Nil } else { Value::list(kept) }
        }
        Value::Map(map) => {
            let kept = map.entries.iter().map(|(key, value)| (key.clone(), omit_nil(value))).filter(|(_, v)| there(v));
            let kept: Vec<_> = kept.collect();
            if kept.is_empty() { Value::Nil } else { Value::map(map.kind, kept) }
        }
        _ => Value::Nil,
    }
}

/// Multus' annotation with one more network, in the form that the annotation has: a JSON list, or names with commas between.
fn append_network(existing: &str, network: &str) -> String {
    if existing.is_empty() {
        return network.to_owned();
    }
    let Some(end) = existing.rfind(']') else {
        let known = existing.split(',').any(|known| known.trim() == network);
        return if known { existing.to_owned() } else { format!("{existing}, {network}") };
    };
    let Ok(known) = serde_json::from_str::<Vec<serde_json::Value>>(existing) else {
        tracing::warn!(target: "webhook", "the annotation of Multus' networks is no JSON list: {network} is not added to it");
        return existing.to_owned();
    };
    let (namespace, name) = network.split_once('/').unwrap_or(("", network));
    let same =
        |item: &serde_json::Value| item["name"] == name && item["namespace"].as_str().unwrap_or_default() == namespace;
    if known.iter().any(same) {
        return existing.to_owned();
    }
    let mut item = serde_json::json!({ "name": name });
    if !namespace.is_empty() {
        item["namespace"] = namespace.into();
    }
    let comma = if known.is_empty() { "" } else { ", " };
    format!("{}{comma}{item}{}", &existing[..end], &existing[end..])
}

/// OTEL_RESOURCE_ATTRIBUTES, where a provider of traces wants them by OpenTelemetry's conventions for Kubernetes
/// (<https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/>); else empty.
fn otel_attributes(arguments: &[Value]) -> Outcome {
    let providers = arguments[0].field("ExtensionProviders")?;
    let mut wanted = false;
    for provider in list(std::slice::from_ref(&providers), 0)? {
        let enrichment = provider.field("Opentelemetry")?.field("ServiceAttributeEnrichment")?;
        wanted |= show(&enrichment) == "OTEL_SEMANTIC_CONVENTIONS";
    }
    if !wanted {
        return Ok(Value::text(""));
    }
    let (annotations, labels, containers) = (value(arguments, 1), value(arguments, 2), list(arguments, 4)?);
    let namespace = text(arguments, 3)?;
    let of = |map: &Value, key: &str| match map {
        Value::Map(map) => map.entries.get(key).map(show).filter(|text| !text.is_empty()),
        _ => None,
    };
    let annotated = |name: &str| of(annotations, &format!("resource.opentelemetry.io/{name}"));
    let first =
        containers.first().map(|first| Ok::<_, String>((show(&first.field("Name")?), show(&first.field("Image")?))));
    let first = first.transpose()?;
    let named = annotated("service.namespace").or_else(|| Some(namespace.to_owned()).filter(|n| !n.is_empty()));
    let image = first.as_ref().filter(|_| containers.len() == 1);
    let version = annotated("service.version")
        .or_else(|| of(labels, "app.kubernetes.io/version"))
        .or_else(|| image.and_then(|(_, image)| image_version(image)));
    // The pod's name is not known yet: the kubelet fills it in.
    let instance = annotated("service.instance.id")
        .or_else(|| first.as_ref().map(|(name, _)| format!("{namespace}.$(POD_NAME).{name}")));
    let all = [("service.namespace", named), ("service.version", version), ("service.instance.id", instance)];
    let pairs: BTreeSet<(usize, String)> = all
        .into_iter()
        .enumerate()
        .filter_map(|(at, (name, value))| value.map(|value| (at, format!("{name}={value}"))))
        .collect();
    Ok(Value::text(pairs.into_iter().map(|(_, pair)| pair).collect::<Vec<_>>().join(",")))
}

/// Tag and digest of an image.
fn image_version(image: &str) -> Option<String> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match (tag, digest) {
        (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
        (only, None) | (None, only) => only.map(str::to_owned),
    }
}
