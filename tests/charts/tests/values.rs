// SPDX-License-Identifier: Apache-2.0
//! How values are understood: layers, what is refused, what has no effect, and one umbrella chart with the same gateway twice.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use tiphys_charts::{Release, charts, find, helm};

/// Values that stop the rendering, and words of why.
const REFUSED: &[(&str, &str, &str)] = &[
    ("istiod", "profile=ambient", "there is no ambient mode"),
    ("base", "global.profile=remote", "serves the cluster that it runs in only"),
    ("gateway", "profile=nosuch", "profile \"nosuch\" is unknown; there are ambient, demo, preview, remote, stable"),
    ("istiod", "platform=nosuch", "platform \"nosuch\" is unknown"),
    ("istiod", "compatibilityVersion=1.2", "there are 1.25, 1.26, 1.27, 1.28, 1.29, 1.30"),
    ("istiod", "defaults.hub=x", "set them without that prefix: hub"),
    ("istiod", "istiodRemote.enabled=true", "istiodRemote.enabled cannot be had"),
    ("istiod", "global.remotePilotAddress=192.0.2.1", "global.remotePilotAddress cannot be had"),
    ("istiod", "global.externalIstiod=true", "global.externalIstiod cannot be had"),
    ("istiod", "pilot.env.EXTERNAL_ISTIOD=true", "pilot.env.EXTERNAL_ISTIOD cannot be had"),
    ("istiod", "pilot.env.PILOT_ENABLE_AMBIENT=true", "pilot.env.PILOT_ENABLE_AMBIENT cannot be had"),
    ("istiod", "global.pilotCertProvider=kubernetes", "name the signer"),
    // By values.schema.json.
    ("istiod", "pilot.autoscaleEnabled=2", "autoscaleEnabled"),
    ("istiod", "global.resourceScope=some", "resourceScope"),
    ("base", "base.excludedCRDs=x", "excludedCRDs"),
    ("gateway", "kind=Pod", "kind"),
    ("gateway", "servce.type=ClusterIP", "servce"),
    ("gateway", "service.ports=null", "service.ports must have a port"),
];

#[test]
fn what_is_not_there_is_refused_by_name() -> Result<()> {
    let Some(helm) = helm("what_is_not_there_is_refused_by_name") else { return Ok(()) };
    for (chart, value, words) in REFUSED {
        let rendered = Release::of(chart).set(value).text(&helm);
        let error = rendered.err().with_context(|| format!("{chart} takes {value}"))?.to_string();
        ensure!(error.contains(words), "{chart} {value}: {error}");
    }
    Ok(())
}

fn mesh(helm: &std::path::Path, release: &Release<'_>) -> Result<Value> {
    let objects = release.objects(helm)?;
    let mesh = find(&objects, "ConfigMap", "istio")?["data"]["mesh"].as_str().context("mesh")?.to_owned();
    Ok(yaml_serde::from_str(&mesh)?)
}

#[test]
fn what_is_set_goes_over_the_profile_and_that_over_the_defaults() -> Result<()> {
    let Some(helm) = helm("what_is_set_goes_over_the_profile_and_that_over_the_defaults") else { return Ok(()) };
    let default = mesh(&helm, &Release::of("istiod"))?;
    assert_eq!(
        default,
        json!({
            "defaultConfig": {"discoveryAddress": "istiod.istio-system.svc:15012"},
            "defaultProviders": {"metrics": ["prometheus"]},
            "enablePrometheusMerge": true,
            "rootNamespace": "istio-system",
            "trustDomain": "cluster.local",
        })
    );
    let demo = Release::of("istiod").set("global.profile=demo");
    assert_eq!(mesh(&helm, &demo)?["accessLogFile"], "/dev/stdout");
    assert_eq!(mesh(&helm, &demo.set("meshConfig.accessLogFile=/dev/stderr"))?["accessLogFile"], "/dev/stderr");
    let quiet = mesh(&helm, &Release::of("istiod").set("telemetry.enabled=false"))?;
    assert_eq!(quiet["defaultProviders"], Value::Null);
    let own = mesh(&helm, &Release::of("istiod").set("meshConfig.defaultProviders.tracing={otel}"))?;
    assert_eq!(own["defaultProviders"], json!({"tracing": ["otel"]}));
    Ok(())
}

fn image(helm: &std::path::Path, values: &[&'static str]) -> Result<String> {
    let release = Release { set: values.to_vec(), ..Release::of("istiod") };
    let objects = release.objects(helm)?;
    let pod = &find(&objects, "Deployment", "istiod")?["spec"]["template"]["spec"];
    Ok(pod["containers"][0]["image"].as_str().context("image")?.to_owned())
}

#[test]
fn images_go_by_hub_tag_and_name() -> Result<()> {
    let Some(helm) = helm("images_go_by_hub_tag_and_name") else { return Ok(()) };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(&helm, &[])?, format!("tiphys/tiphys:{version}"));
    assert_eq!(image(&helm, &["global.hub=registry.example/a", "global.tag=7"])?, "registry.example/a/tiphys:7");
    assert_eq!(image(&helm, &["pilot.hub=registry.example/b", "tag=8"])?, "registry.example/b/tiphys:8");
    assert_eq!(image(&helm, &["pilot.image=registry.example/c/own@sha256:00"])?, "registry.example/c/own@sha256:00");
    // There is one image; Istio's proxy has variants.
    assert_eq!(image(&helm, &["global.variant=distroless"])?, format!("tiphys/tiphys:{version}"));
    let tiphys = Release::of("istiod").set("global.variant=distroless");
    assert_eq!(mesh(&helm, &tiphys)?["defaultConfig"]["image"], Value::Null);
    let istio = tiphys.set("global.proxy.image=proxyv2");
    assert_eq!(mesh(&helm, &istio)?["defaultConfig"]["image"], json!({"imageType": "distroless"}));
    Ok(())
}

#[test]
fn the_notes_name_what_has_no_effect() -> Result<()> {
    let Some(helm) = helm("the_notes_name_what_has_no_effect") else { return Ok(()) };
    let notes = Release::of("istiod").notes(&helm)?;
    ensure!(notes.contains("istio-injection=enabled") && !notes.contains("no effect"), "{notes}");
    let notes = Release::of("istiod")
        .set("revision=canary")
        .set("pilot.taint.enabled=true")
        .set("pilot.taint.name=cni.istio.io/not-ready")
        .set("global.proxy.accessLogFile=/dev/stdout")
        .set("global.tracer.lightstep.address=x")
        .set("global.tracer.zipkin.address=x")
        .set("global.network=")
        .set("pilot.env.PILOT_ENABLE_RDS_CACHE=false")
        .set("pilot.env.PILOT_DEBOUNCE_AFTER=1s")
        .set("pilot.resources.requests.cpu=1")
        .set("meshConfig.accessLogFile=/dev/stdout")
        .set("nosuch.key=1")
        .notes(&helm)?;
    let (said, named) = notes.split_once("These values have no effect:\n").context("values without effect")?;
    ensure!(said.contains("istio.io/rev=canary"), "{said}");
    assert_eq!(
        named.lines().map(str::trim).collect::<Vec<_>>(),
        [
            "global.proxy.accessLogFile: use meshConfig.accessLogFile",
            "global.tracer.lightstep: there is no Lightstep tracer; use OpenTelemetry",
            "nosuch: this chart has no such key",
            "pilot.env.PILOT_ENABLE_RDS_CACHE: docs/settings.md has the settings that are obeyed",
            "taint: nodes are not untainted",
        ]
    );
    for chart in ["base", "gateway"] {
        let notes = Release::of(chart).notes(&helm)?;
        ensure!(!notes.contains("no effect"), "{chart}: {notes}");
    }
    Ok(())
}

#[test]
fn null_takes_a_request_away() -> Result<()> {
    let Some(helm) = helm("null_takes_a_request_away") else { return Ok(()) };
    let objects = Release::of("istiod").set("pilot.resources.requests.memory=null").objects(&helm)?;
    let pod = &find(&objects, "Deployment", "istiod")?["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["resources"], json!({"requests": {"cpu": "100m"}}));
    let objects = Release::of("gateway").set("resources=null").objects(&helm)?;
    let pod = &find(&objects, "Deployment", "ingress")?["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["resources"], json!({}));
    Ok(())
}

#[test]
fn an_umbrella_chart_has_the_gateway_twice() -> Result<()> {
    let Some(helm) = helm("an_umbrella_chart_has_the_gateway_twice") else { return Ok(()) };
    let umbrella = tempfile::tempdir()?;
    let gateway = charts().join("gateway").canonicalize()?;
    let version = env!("CARGO_PKG_VERSION");
    let dependency = |alias| json!({"name": "gateway", "version": version, "alias": alias, "repository": format!("file://{}", gateway.display())});
    let chart = json!({
        "apiVersion": "v2", "name": "edge", "version": "1.0.0",
        "dependencies": [dependency("ingress"), dependency("egress")],
    });
    fs::write(umbrella.path().join("Chart.yaml"), chart.to_string())?;
    let values = json!({
        "ingress": {"name": "edge-in", "service": {"ports": [{"name": "tls-redis", "port": 11112, "targetPort": 11112}]}},
        "egress": {"name": "edge-out", "labels": {"istio": "egressgateway"}, "service": {"type": "ClusterIP"}},
        "global": {"imagePullPolicy": "Always"},
    });
    fs::write(umbrella.path().join("values.yaml"), values.to_string())?;
    let output = Command::new(&helm).args(["dependency", "build", "--skip-refresh"]).arg(umbrella.path()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let release = Release { chart: umbrella.path().to_owned(), name: "edge", namespace: "edge", ..Release::default() };
    let objects = release.objects(&helm)?;
    let mut keys: Vec<String> =
        objects.iter().map(|object| format!("{}/{}", object["kind"], object["metadata"]["name"])).collect();
    keys.sort();
    let count = keys.len();
    keys.dedup();
    assert_eq!(count, keys.len(), "no object is there twice");
    let inward = &find(&objects, "Service", "edge-in")?["spec"];
    assert_eq!((&inward["type"], &inward["ports"][0]["port"]), (&json!("LoadBalancer"), &json!(11112)));
    assert_eq!(inward["selector"], json!({"app": "edge-in", "istio": "edge-in"}));
    let outward = &find(&objects, "Service", "edge-out")?["spec"];
    assert_eq!((&outward["type"], &outward["ports"][1]["port"]), (&json!("ClusterIP"), &json!(80)));
    assert_eq!(outward["selector"], json!({"app": "edge-out", "istio": "egressgateway"}));
    find(&objects, "Deployment", "edge-in")?;
    find(&objects, "Deployment", "edge-out")?;
    Ok(())
}
