// SPDX-License-Identifier: Apache-2.0
//! Asks a real Envoy whether it would take a configuration: what xDS would have brought is made static, and read with
//! `envoy --mode validate`.

use crate::programs;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// What one proxy gets, as `tiphysctl render` writes it: arrays of resources in protobuf JSON.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Listeners.
    pub lds: Vec<Value>,
    /// Clusters.
    pub cds: Vec<Value>,
    /// Route configurations.
    pub rds: Vec<Value>,
    /// Load assignments.
    pub eds: Vec<Value>,
}

impl Resources {
    /// Fails with Envoy's own words when it refuses one of them.
    ///
    /// # Errors
    /// When Envoy refuses, or there is none.
    pub fn validate(&self) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("bootstrap.json");
        std::fs::write(&file, serde_json::to_vec(&self.bootstrap())?)?;
        let mut command = Command::new(programs::envoy()?);
        command.args(["--mode", "validate", "--log-level", "error", "-c"]).arg(&file);
        let output = command.output().context("cannot start Envoy")?;
        if !output.status.success() {
            bail!("Envoy refuses it: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// A bootstrap with every resource in its place: routes inside of their listeners, endpoints inside of their clusters.
    fn bootstrap(&self) -> Value {
        let routes: BTreeMap<_, _> =
            self.rds.iter().map(|route| (route["name"].as_str().unwrap_or_default(), route)).collect();
        let mut listeners = self.lds.clone();
        for listener in &mut listeners {
            without_type(listener);
            inline_routes(listener, &routes);
        }
        let mut clusters = self.cds.clone();
        for cluster in &mut clusters {
            without_type(cluster);
            self.inline_endpoints(cluster);
            secrets_from_cluster(cluster);
        }
        // What resources ask for over these two is not fetched while validating; they only have to be there.
        clusters.extend(
            ["xds-grpc", "sds-grpc"].map(|name| json!({"name": name, "type": "STATIC", "http2_protocol_options": {}})),
        );
        let ads = json!({"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]});
        json!({
            "node": {"id": "validate", "cluster": "validate"},
            "dynamic_resources": {"ads_config": ads},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        })
    }

    fn inline_endpoints(&self, cluster: &mut Value) {
        let Some(eds) = cluster.get("edsClusterConfig") else { return };
        let name = eds["serviceName"].as_str().or(cluster["name"].as_str()).unwrap_or_default().to_owned();
        let Some(assignment) = self.eds.iter().find(|assignment| assignment["clusterName"] == *name) else { return };
        let mut assignment = assignment.clone();
        without_type(&mut assignment);
        if let Some(cluster) = cluster.as_object_mut() {
            cluster.remove("edsClusterConfig");
            cluster.insert("type".to_owned(), json!("STATIC"));
            cluster.insert("loadAssignment".to_owned(), assignment);
        }
    }
}

fn without_type(resource: &mut Value) {
    if let Some(resource) = resource.as_object_mut() {
        resource.remove("@type");
    }
}

/// Has secrets come from the cluster `sds-grpc`: Envoy 1.40 ends with a segmentation fault when it validates a static cluster whose secrets
/// come over ADS, which clusters that come over ADS may have.
fn secrets_from_cluster(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(secrets_from_cluster),
        Value::Object(fields) => {
            if let Some(config) = fields.get_mut("sdsConfig").filter(|config| config.get("ads").is_some()) {
                *config = json!({"resourceApiVersion": "V3", "apiConfigSource": {"apiType": "GRPC", "transportApiVersion": "V3",
                    "grpcServices": [{"envoyGrpc": {"clusterName": "sds-grpc"}}]}});
            }
            fields.values_mut().for_each(secrets_from_cluster);
        }
        _ => {}
    }
}

/// Puts the route configuration of each `rds` in its place.
fn inline_routes(value: &mut Value, routes: &BTreeMap<&str, &Value>) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| inline_routes(value, routes)),
        Value::Object(fields) => {
            let name = fields.get("rds").and_then(|rds| rds["routeConfigName"].as_str()).unwrap_or_default();
            if let Some(route) = routes.get(name) {
                let mut route = (*route).clone();
                without_type(&mut route);
                fields.remove("rds");
                fields.insert("routeConfig".to_owned(), route);
            }
            fields.values_mut().for_each(|value| inline_routes(value, routes));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(match_route: &Value) -> Resources {
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "statPrefix": "it",
            "rds": {"configSource": {"ads": {}, "resourceApiVersion": "V3"}, "routeConfigName": "80"},
            "httpFilters": [{"name": "envoy.filters.http.router", "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        });
        let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager});
        let address = json!({"socketAddress": {"address": "127.0.0.1", "portValue": 80}});
        let route = json!({"match": match_route, "route": {"cluster": "c"}});
        Resources {
            lds: vec![json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l",
                "address": address, "filterChains": [{"filters": [filter]}]})],
            cds: vec![
                json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "c", "type": "EDS",
                "edsClusterConfig": {"edsConfig": {"ads": {}, "resourceApiVersion": "V3"}}}),
            ],
            rds: vec![json!({"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "80",
                "virtualHosts": [{"name": "v", "domains": ["*"], "routes": [route]}]})],
            eds: vec![
                json!({"clusterName": "c", "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}]}),
            ],
        }
    }

    #[test]
    fn envoy_takes_what_is_right_and_says_what_is_wrong() {
        resources(&json!({"prefix": "/"})).validate().expect("valid");
        let wrong = resources(&json!({"safeRegex": {"regex": "("}}));
        let error = wrong.validate().expect_err("a bad regular expression in a route").to_string();
        assert!(error.contains("missing )"), "{error}");
    }
}
