// SPDX-License-Identifier: Apache-2.0
//! What injection does with the chart's templates: the pod again, refused, and with what the path and the annotations ask for.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may stop where it stands")]

mod chart;

use std::collections::BTreeMap;

use chart::{Setup, injector};
use serde_json::{Value as Json, json};
use tiphys_webhook::inject::{InjectError, Injector, Request, Workload, patch, settings};

fn pod(annotations: Json, containers: Json) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-1", "labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": containers, "volumes": [{"name": "own", "emptyDir": {}}]}
    })
}

fn app() -> Json {
    json!([{"name": "app", "image": "web:1", "ports": [{"containerPort": 80, "name": "http"}]}])
}

fn try_inject(injector: &Injector, pod: &Json, native: bool, variables: &[(&str, &str)]) -> Result<Json, InjectError> {
    let annotation = pod["metadata"]["annotations"]["proxy.istio.io/config"].as_str();
    let proxy = settings::effective(injector.mesh(), &BTreeMap::new(), "shop", &BTreeMap::new(), annotation)
        .map_err(|error| InjectError::Annotations(error.to_string()))?;
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    injector.inject(&Request {
        pod,
        namespace: "shop",
        namespace_annotations: &BTreeMap::new(),
        workload: Workload::of_pod(pod, "shop"),
        proxy: &proxy,
        variables,
        native_sidecars: native,
    })
}

fn inject(annotations: Json, containers: Json) -> Json {
    try_inject(&injector(&Setup::default_chart()), &pod(annotations, containers), false, &[]).unwrap()
}

fn refused(annotations: Json) -> String {
    let injector = injector(&Setup::default_chart());
    try_inject(&injector, &pod(annotations, app()), false, &[]).unwrap_err().to_string()
}

fn container<'a>(pod: &'a Json, name: &str) -> &'a Json {
    let lists = ["containers", "initContainers"].into_iter();
    let mut all = lists.filter_map(|list| pod["spec"][list].as_array()).flatten();
    all.find(|container| container["name"] == name).unwrap_or(&Json::Null)
}

fn env(pod: &Json, name: &str) -> Json {
    let variables = container(pod, "istio-proxy")["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).map_or(Json::Null, |variable| variable["value"].clone())
}

#[test]
fn the_proxy_is_ours_unless_values_say_otherwise() {
    let injected = inject(json!({}), app());
    assert_eq!(container(&injected, "istio-proxy")["image"], "tiphys/tiphys-proxy:1.0");
    assert_eq!(container(&injected, "istio-init")["image"], "tiphys/tiphys-proxy:1.0");
    assert_eq!(injected["spec"]["containers"][0]["name"], "app");
    let injected = inject(json!({"sidecar.istio.io/proxyImage": "example.org/proxyv2:1.30"}), app());
    assert_eq!(container(&injected, "istio-proxy")["image"], "example.org/proxyv2:1.30");
}

#[test]
fn a_pod_that_is_injected_again_stays_the_same() {
    let with_probe = json!([
        {"name": "app", "image": "web:1", "ports": [{"containerPort": 80, "name": "http"}],
         "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "timeoutSeconds": 3}},
        {"name": "istio-proxy", "image": "auto", "resources": {"limits": {"cpu": "3"}}}
    ]);
    let annotations = json!({"prometheus.io/port": "9090", "prometheus.io/scrape": "true"});
    for native in [false, true] {
        let injector = injector(&Setup::default_chart());
        let once = try_inject(&injector, &pod(annotations.clone(), with_probe.clone()), native, &[]).unwrap();
        let twice = try_inject(&injector, &once, native, &[]).unwrap();
        let difference = String::from_utf8(patch(&once, &twice).unwrap()).unwrap();
        assert_eq!(difference, "[]", "native: {native}");
        assert_eq!(container(&once, "istio-proxy")["resources"]["limits"]["cpu"], "3");
        assert_ne!(container(&once, "istio-proxy")["image"], "auto");
        let probes: Json = serde_json::from_str(env(&once, "ISTIO_KUBE_APP_PROBERS").as_str().unwrap()).unwrap();
        assert_eq!(
            probes,
            json!({"/app-health/app/readyz": {"httpGet": {"path": "/ready", "port": 80}, "timeoutSeconds": 3}})
        );
        let probe = &container(&once, "app")["readinessProbe"];
        assert_eq!(probe, &json!({"httpGet": {"path": "/app-health/app/readyz", "port": 15020}, "timeoutSeconds": 3}));
        let scrape: Json = serde_json::from_str(env(&once, "ISTIO_PROMETHEUS_ANNOTATIONS").as_str().unwrap()).unwrap();
        assert_eq!(scrape, json!({"scrape": "true", "path": "", "port": "9090"}));
        assert_eq!(once["metadata"]["annotations"]["prometheus.io/port"], "15020");
    }
}

#[test]
fn what_the_pod_asks_wrongly_is_refused_with_the_reason() {
    for (annotations, reason) in [
        (
            json!({"inject.istio.io/templates": "sidecar, typo"}),
            "injection template \"typo\" is not there: use one of gateway, grpc-agent, grpc-simple, sidecar",
        ),
        (
            json!({"traffic.sidecar.istio.io/excludeInboundPorts": "80,http"}),
            "annotation traffic.sidecar.istio.io/excludeInboundPorts: \"80,http\": \"http\" is no port: write a number of 0 to 65535",
        ),
        (json!({"proxy.istio.io/config": "concurrency: many"}), "concurrency"),
        (
            json!({"prometheus.io/port": "15090"}),
            "Prometheus cannot be sent to port \"15090\": it is that of Envoy's own metrics",
        ),
        (
            json!({"sidecar.istio.io/userVolumeMount": "{\"v\": {\"mountPath\": 7}}"}),
            "the injected pod would be no pod: spec.containers[1].volumeMounts",
        ),
        (json!({"proxy.istio.io/overrides": "x"}), "annotation proxy.istio.io/overrides: it is no JSON"),
    ] {
        let error = refused(annotations);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn templates_that_fail_name_their_place() {
    for (template, reason) in [
        ("spec:\n  hostname: {{ .Nope }}", "injection template custom:2:16: SidecarTemplateData has no field Nope"),
        ("spec: [", "injection template custom: what it writes for this pod is no YAML: "),
        ("just text", "injection template custom: what it writes for this pod is no YAML: it is no object"),
        (
            "spec: {containers: [{image: x}]}",
            "what is injected cannot be merged with the pod: spec.containers[0]: name is missing",
        ),
        (
            "spec: {priority: high}",
            "the injected pod would be no pod: spec.priority: invalid type: string \"high\", expected i32",
        ),
        (
            "metadata: {labels: {a: 1}}",
            "the injected pod would be no pod: metadata.labels.a: 1 is no text: put it in quotes",
        ),
    ] {
        let mut setup = Setup::default_chart();
        setup.template("custom", template);
        let asking = pod(json!({"inject.istio.io/templates": "custom"}), app());
        let error = try_inject(&injector(&setup), &asking, false, &[]).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_path_names_cluster_and_network() {
    let injector = injector(&Setup::default_chart());
    let variables = [("ISTIO_META_CLUSTER_ID", "east"), ("ISTIO_META_NETWORK", "n1"), ("OTHER", "x")];
    let injected = try_inject(&injector, &pod(json!({}), app()), true, &variables).unwrap();
    assert_eq!((env(&injected, "ISTIO_META_CLUSTER_ID"), env(&injected, "OTHER")), (json!("east"), json!("x")));
    assert_eq!(injected["metadata"]["labels"]["topology.istio.io/network"], "n1");
}

#[test]
fn native_sidecars_stand_between_capture_and_the_users_init_containers() {
    let mut own = pod(json!({}), app());
    own["spec"]["initContainers"] = json!([{"name": "first", "image": "x"}]);
    let injector = injector(&Setup::default_chart());
    let names = |pod: &Json| {
        let items = pod["spec"]["initContainers"].as_array().unwrap();
        items.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let native = try_inject(&injector, &own, true, &[]).unwrap();
    assert_eq!(names(&native), ["istio-init", "istio-proxy", "first"]);
    assert_eq!(container(&native, "istio-proxy")["restartPolicy"], "Always");
    let plain = try_inject(&injector, &own, false, &[]).unwrap();
    assert_eq!(names(&plain), ["first", "istio-init"]);
    own["metadata"]["annotations"] = json!({"sidecar.istio.io/nativeSidecar": "true"});
    assert_eq!(names(&try_inject(&injector, &own, false, &[]).unwrap()), ["istio-init", "istio-proxy", "first"]);
}

#[test]
fn other_settings() {
    let injected = inject(json!({"traffic.sidecar.istio.io/includeInboundPorts": ""}), app());
    let arguments = container(&injected, "istio-init")["args"].as_array().unwrap();
    let at = arguments.iter().position(|argument| argument == "-b").unwrap();
    assert_eq!(arguments[at + 1], "");

    let metadata = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\", ISTIO_DUAL_STACK: \"true\", ENVOY_SECURE_MERGED_METRICS_PORT: \"15091\"}\nholdApplicationUntilProxyStarts: true";
    let injected = inject(json!({"proxy.istio.io/config": metadata}), app());
    assert_eq!(env(&injected, "ISTIO_META_DNS_CAPTURE"), "true");
    assert_eq!(env(&injected, "ISTIO_DUAL_STACK"), "true");
    assert_eq!(injected["metadata"]["annotations"]["prometheus.istio.io/secure-port"], "15091");
    assert_eq!(injected["spec"]["containers"][0]["name"], "istio-proxy");
    let told: Json = serde_json::from_str(env(&injected, "PROXY_CONFIG").as_str().unwrap()).unwrap();
    assert_eq!(told["holdApplicationUntilProxyStarts"], true);
    assert!(told.get("drainDuration").is_none());

    let injected = inject(json!({"sidecar.istio.io/interceptionMode": "NONE"}), app());
    assert!(container(&injected, "istio-init").is_null());
    let injected = inject(json!({"sidecar.istio.io/rewriteAppHTTPProbers": "false"}), {
        json!([{"name": "app", "image": "x", "livenessProbe": {"tcpSocket": {"port": 80}}}])
    });
    assert_eq!(container(&injected, "app")["livenessProbe"], json!({"tcpSocket": {"port": 80}}));
    let injected = inject(json!({"prometheus.istio.io/merge-metrics": "false"}), app());
    assert!(injected["metadata"]["annotations"].get("prometheus.io/port").is_none());
}
