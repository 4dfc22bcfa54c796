// SPDX-License-Identifier: Apache-2.0
//! What the charts' templates and this injection make of pods, held against what Istio makes of them. The reference is not part of the
//! repository: TIPHYS_REFERENCE names its folder, and without it the test says that it is skipped. `make parity` sets it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may stop where it stands")]

mod chart;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use chart::{Setup, injector};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tiphys_webhook::inject::InjectError;
use tiphys_webhook::inject::resource::{Injected, inject};

/// A reference with other settings than the default ones: its result, its input, and the settings.
type Case = (&'static str, &'static str, fn(&mut Setup));

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("hello.yaml.cni", "hello.yaml", |s| { s.set("pilot.cni", json!({"enabled": true, "provider": "default"})); s.set("global.network", json!("network1")); }),
    ("hello.yaml.proxyImageName", "hello.yaml", |s| s.set("global.proxy.image", json!("proxyTest"))),
    ("hello.yaml.proxyInitImageName", "hello.yaml", |s| s.set("global.proxy_init.image", json!("proxyInitTest"))),
    ("hello-tproxy.yaml", "hello.yaml", |s| s.mesh("defaultConfig: {interceptionMode: TPROXY}")),
    ("hello-always.yaml", "hello.yaml", |s| s.set("global.imagePullPolicy", json!("Always"))),
    ("hello-never.yaml", "hello.yaml", |s| s.set("global.imagePullPolicy", json!("Never"))),
    ("hello-old-version.yaml", "hello.yaml", |s| s.native = false),
    ("hello-fips-140-3.yaml", "hello.yaml", |s| s.compliance = "fips-140-3"),
    ("hello-image-secrets-in-values.yaml", "hello.yaml", |s| s.file("hello-image-secrets-in-values.iop.yaml")),
    ("hello-multiple-image-secrets.yaml", "hello-image-pull-secret.yaml", |s| s.file("hello-image-secrets-in-values.iop.yaml")),
    ("hello-template-in-values.yaml", "hello.yaml", |s| s.file("hello-template-in-values.iop.yaml")),
    ("hello-mount-mtls-certs.yaml", "hello.yaml", |s| s.set("global.mountMtlsCerts", json!(true))),
    ("hello-cncf-networks.yaml", "hello.yaml", multus),
    ("hello-existing-cncf-networks.yaml", "hello-existing-cncf-networks.yaml", multus),
    ("hello-existing-cncf-networks-json.yaml", "hello-existing-cncf-networks-json.yaml", multus),
    ("hello.proxyHoldsApplication.yaml", "hello.yaml", hold),
    ("hello-probes.proxyHoldsApplication.yaml", "hello-probes.yaml", hold),
    ("hello-probes-noProxyHoldApplication-ProxyConfig.yaml", "hello-probes-noProxyHoldApplication-ProxyConfig.yaml", hold),
    ("hello-probes-localhost.yaml", "hello-probes-localhost.yaml", |s| s.mesh("inboundTrafficPolicy: {mode: LOCALHOST}")),
    ("hello-tracing-disabled.yaml", "hello-tracing-disabled.yaml", |s| s.mesh("defaultConfig: {tracing: {}}")),
    ("hello-otel-semconv.yaml", "hello-otel-semconv.yaml", |s| s.mesh(
        "extensionProviders: [{name: otel, opentelemetry: {service: otel-collector.observability.svc.cluster.local, port: 4317, \
         serviceAttributeEnrichment: OTEL_SEMANTIC_CONVENTIONS}}]",
    )),
    ("hello-openshift.yaml", "hello-openshift.yaml", openshift),
    ("hello-openshift-custom-injection.yaml", "hello-openshift-custom-injection.yaml", openshift),
    ("hello-openshift-tproxy.yaml", "hello-openshift-tproxy.yaml", openshift),
    ("format-duration.yaml", "format-duration.yaml", |s| s.mesh("defaultConfig: {drainDuration: 23s}")),
    ("traffic-params.yaml", "traffic-params.yaml", |s| {
        s.set("global.proxy.includeIPRanges", json!("127.0.0.1/24,10.96.0.1/24"));
        s.set("global.proxy.excludeIPRanges", json!("10.96.0.2/24,10.96.0.3/24"));
        s.set("global.proxy.excludeInboundPorts", json!("4,5,6"));
        s.set("global.proxy.statusPort", json!(0));
    }),
    ("traffic-annotations.yaml", "traffic-annotations.yaml", |s| s.mesh(
        "defaultConfig: {proxyMetadata: {ISTIO_META_TLS_CLIENT_KEY: /etc/identity/client/keys/client-key.pem}}",
    )),
    ("status_params.yaml", "status_params.yaml", readiness),
    ("kubevirtInterfaces.yaml", "kubevirtInterfaces.yaml", readiness),
    ("reroute-virtual-interfaces.yaml", "reroute-virtual-interfaces.yaml", readiness),
    ("cronjob-old-version.yaml", "cronjob.yaml", |s| s.native = false),
    ("daemonset-old-version.yaml", "daemonset.yaml", |s| s.native = false),
    ("job-old-version.yaml", "job.yaml", |s| s.native = false),
    ("pod-old-version.yaml", "pod.yaml", |s| s.native = false),
    ("replicaset-old-version.yaml", "replicaset.yaml", |s| s.native = false),
    ("statefulset-old-version.yaml", "statefulset.yaml", |s| s.native = false),
    ("native-sidecar-old-version.yaml", "native-sidecar.yaml", |s| s.native = false),
    ("proxy-override-args-native.yaml", "proxy-override-args.yaml", |_| {}),
    ("proxy-override-runas.yaml.cni", "proxy-override-runas.yaml", |s| s.set("pilot.cni.enabled", json!(true))),
    ("proxy-override-runas.yaml.tproxy", "proxy-override-runas.yaml", |s| s.mesh("defaultConfig: {interceptionMode: TPROXY}")),
    ("merge-probers.yaml", "merge-probers.yaml", hold),
    ("custom-template.yaml", "custom-template.yaml", |s| s.file("custom-template.iop.yaml")),
    ("proxy-resources-null.yaml", "proxy-resources-null.yaml", |s| s.file("proxy-resources-null.iop.yaml")),
    ("proxy-resources-null-no-init.yaml", "proxy-resources-null-no-init.yaml", |s| s.file("proxy-resources-null.iop.yaml")),
    ("proxy-resources-zero.yaml", "proxy-resources-zero.yaml", |s| s.file("proxy-resources-zero.iop.yaml")),
    ("proxy-resources-memory-null.yaml", "proxy-resources-memory-null.yaml", |s| s.file("proxy-resources-memory-null.iop.yaml")),
    ("proxy-resources-mixed-null.yaml", "proxy-resources-mixed-null.yaml", |s| s.file("proxy-resources-mixed-null.iop.yaml")),
    ("sidecar-spire.yaml", "sidecar-spire.yaml", |s| s.file("spire-template.iop.yaml")),
    ("gateway-spire.yaml", "gateway-spire.yaml", |s| s.file("spire-template.iop.yaml")),
];

fn multus(setup: &mut Setup) {
    setup.set("pilot.cni", json!({"enabled": true, "provider": "multus"}));
}

fn hold(setup: &mut Setup) {
    setup.set("global.proxy.holdApplicationUntilProxyStarts", json!(true));
}

fn openshift(setup: &mut Setup) {
    setup.set("pilot.cni.enabled", json!(true));
    setup.openshift = true;
}

fn readiness(setup: &mut Setup) {
    setup.set("global.proxy.statusPort", json!(123));
    setup.set("global.proxy.readinessInitialDelaySeconds", json!(100));
    setup.set("global.proxy.readinessPeriodSeconds", json!(200));
    setup.set("global.proxy.readinessFailureThreshold", json!(300));
}

/// Where the result is meant to differ from Istio's: a place in it (a path ends with it), and why. docs/compatibility.md lists the same.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "initContainers[grpc-bootstrap-init].command",
        "the script that writes gRPC's bootstrap is our own; the bootstrap is the same",
    ),
    ("initContainers[grpc-bootstrap-init].env[ISTIO_NAMESPACE].value", "Istio's ends with a newline"),
];

fn documents(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap();
    let documents = yaml_serde::Deserializer::from_str(&text).map(|document| Json::deserialize(document).unwrap());
    let lists = documents.filter(|document| document.is_object());
    lists.flat_map(|document| document["items"].as_array().cloned().unwrap_or_else(|| vec![document])).collect()
}

/// Without what is null or empty, which is the same as not there.
fn cleaned(value: &Json) -> Json {
    let empty = |value: &Json| match value {
        Json::Null => true,
        Json::Object(fields) => fields.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => false,
    };
    match value {
        Json::Object(fields) => {
            // Fields that Go leaves out when they are zero.
            let zero = |key: &str, value: &Json| {
                (key == "value" && value == "") || (key == "initialDelaySeconds" && value == 0)
            };
            let fields = fields.iter().map(|(key, value)| {
                (
                    key.clone(),
                    if matches!(key.as_str(), "limits" | "requests") { quantities(value) } else { cleaned(value) },
                )
            });
            Json::Object(fields.filter(|(key, value)| !empty(value) && !zero(key, value)).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(cleaned).collect()),
        // Text in which JSON stands is compared as JSON.
        Json::String(text) if text.trim_start().starts_with(['{', '[']) => match serde_json::from_str::<Json>(text) {
            Ok(json) => cleaned(&json),
            Err(_) => value.clone(),
        },
        other => other.clone(),
    }
}

/// Quantities of resources in thousandths: 2000m is 2.
fn quantities(resources: &Json) -> Json {
    let thousandths = |text: &str| -> Option<i128> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: i128 = text[..end].parse().ok()?;
        let power = ["", "Ki", "Mi", "Gi"].iter().position(|suffix| *suffix == &text[end..]);
        match (&text[end..], power) {
            ("m", _) => Some(number),
            (_, Some(power)) => Some(number * 1000 * 1024_i128.pow(u32::try_from(power).unwrap())),
            _ => None,
        }
    };
    let fields = resources.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = fields.map(|(key, value)| {
        let text = text(value);
        (key.clone(), Json::from(thousandths(&text).map_or(text, |number| number.to_string())))
    });
    Json::Object(fields.collect())
}

/// Metadata and spec of the pod in an object.
fn pod(object: &Json, reference: bool) -> Json {
    let job = &object["spec"]["jobTemplate"];
    let mut pod = match object["kind"].as_str() {
        Some("Pod") => json!({"metadata": object["metadata"], "spec": object["spec"]}),
        // Istio labels the Job, not its pods.
        Some("CronJob") if reference => json!({"metadata": job["metadata"], "spec": job["spec"]["template"]["spec"]}),
        Some("CronJob") => job["spec"]["template"].clone(),
        _ => object["spec"]["template"].clone(),
    };
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.retain(|field, _| matches!(field.as_str(), "labels" | "annotations"));
    }
    cleaned(&pod)
}

/// Where two values differ. Items of lists are matched by the key that Kubernetes matches them by, and by order where there is none.
fn compare(path: &str, got: &Json, want: &Json, out: &mut Vec<String>) {
    match (got, want) {
        (Json::Object(got), Json::Object(want)) => {
            for key in got.keys().chain(want.keys()).collect::<BTreeSet<_>>() {
                let (got, want) = (got.get(key).unwrap_or(&Json::Null), want.get(key).unwrap_or(&Json::Null));
                compare(&format!("{path}.{key}"), got, want, out);
            }
        }
        (Json::Array(got), Json::Array(want)) => {
            let field = path.rsplit('.').next().unwrap_or_default();
            let key = match field {
                "volumeMounts" => "mountPath",
                "env" | "volumes" | "containers" | "initContainers" | "imagePullSecrets" => "name",
                "ports" => "containerPort",
                _ if got == want => return,
                _ => {
                    return out.push(format!(
                        "{path}: {} instead of {}",
                        Json::from(got.clone()),
                        Json::from(want.clone())
                    ));
                }
            };
            let named = |items: &[Json]| -> BTreeMap<String, Json> {
                items.iter().map(|item| (item[key].to_string(), item.clone())).collect()
            };
            if matches!(field, "containers" | "initContainers") {
                let names =
                    |items: &[Json]| items.iter().map(|item| item[key].to_string()).collect::<Vec<_>>().join(" ");
                if names(got) != names(want) {
                    out.push(format!("{path}: {} instead of {}", names(got), names(want)));
                }
            }
            let (got, want) = (named(got), named(want));
            for name in got.keys().chain(want.keys()).collect::<BTreeSet<_>>() {
                let (got, want) = (got.get(name).unwrap_or(&Json::Null), want.get(name).unwrap_or(&Json::Null));
                compare(&format!("{path}[{}]", name.trim_matches('"')), got, want, out);
            }
        }
        _ if got == want => {}
        _ => out.push(format!("{path}: {got} instead of {want}")),
    }
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("TIPHYS_REFERENCE").filter(|folder| !folder.is_empty())?;
    Some(PathBuf::from(folder).join("inject")).filter(|folder| folder.is_dir())
}

/// The differences of one case; none when its input is not in the reference.
fn run(folder: &Path, want: &str, input: &str, configure: fn(&mut Setup)) -> Option<Vec<String>> {
    let input = folder.join(input);
    if !input.is_file() {
        return None;
    }
    let mut setup = Setup::like_istio(folder);
    configure(&mut setup);
    if setup.incomplete {
        return None;
    }
    let injector = injector(&setup);
    let wanted = documents(&folder.join(format!("{want}.injected")));
    let given = documents(&input);
    let mut out = Vec::new();
    if given.len() != wanted.len() {
        out.push(format!("{} objects instead of {}", given.len(), wanted.len()));
    }
    for (given, wanted) in given.iter().zip(&wanted) {
        let got = match inject_as(&injector, given, &setup) {
            Ok(Injected::Yes(object)) => object,
            Ok(_) => given.clone(),
            Err(error) => {
                out.push(format!("refused: {error}"));
                continue;
            }
        };
        let (mut differences, plain) = (Vec::new(), (pod(&got, false), pod(wanted, true)));
        compare("", &plain.0, &plain.1, &mut differences);
        out.extend(differences.into_iter().map(|line| line.trim_start_matches('.').to_owned()));
    }
    Some(out)
}

fn inject_as(
    injector: &tiphys_webhook::inject::Injector,
    object: &Json,
    setup: &Setup,
) -> Result<Injected, InjectError> {
    if setup.openshift { chart::inject_on_openshift(injector, object) } else { inject(injector, object, setup.native) }
}

#[test]
fn pods_are_injected_as_istio_injects_them() {
    let Some(folder) = folder() else {
        println!("SKIPPED: TIPHYS_REFERENCE names no folder with the reference for injection");
        return;
    };
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".injected").map(str::to_owned)
        })
        .collect();
    names.sort();
    let (mut wrong, mut without_input, mut same) = (Vec::new(), Vec::new(), 0);
    let mut used = BTreeSet::new();
    for name in &names {
        let case = CASES.iter().find(|(want, ..)| want == name);
        let (input, configure) = case.map_or((name.as_str(), (|_| {}) as fn(&mut Setup)), |(_, input, f)| (*input, *f));
        let Some(differences) = run(&folder, name, input, configure) else {
            without_input.push(name.as_str());
            continue;
        };
        let before = wrong.len();
        for line in differences {
            let place = line.split(": ").next().unwrap_or_default();
            match DIFFERENCES.iter().find(|(end, _)| place.ends_with(end)) {
                Some((end, _)) => drop(used.insert(*end)),
                None => wrong.push(format!("{name}: {line}")),
            }
        }
        same += usize::from(wrong.len() == before);
    }
    println!(
        "{same} of {} pods as Istio injects them; {} have no input or values in the reference",
        names.len() - without_input.len(),
        without_input.len()
    );
    println!("without input: {}", without_input.join(", "));
    // A part of the reference may be held back, and with it what differs.
    let complete = without_input.is_empty();
    let unused: Vec<_> =
        DIFFERENCES.iter().filter(|_| complete).filter(|(end, _)| !used.contains(end)).map(|(end, _)| *end).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "these differences are none any more: {unused:?}");
}

#[test]
fn pods_with_mistakes_are_refused() {
    let Some(folder) = folder() else {
        println!("SKIPPED: TIPHYS_REFERENCE names no folder with the reference for injection");
        return;
    };
    let injector = injector(&Setup::like_istio(&folder));
    let mut refused = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(annotation) = name.strip_prefix("traffic-annotations-bad-").and_then(|n| n.strip_suffix(".yaml")) {
            let error = inject(&injector, &documents(&folder.join(&name))[0], true).unwrap_err().to_string();
            let plain = |text: &str| text.to_lowercase().replace("outbound", "").replace("inbound", "");
            assert!(plain(&error).contains(&plain(annotation)), "{name}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 0);
}
