// SPDX-License-Identifier: Apache-2.0
//! What control planes of the mesh asked of the API server, by its audit log
//! (<https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>).

use crate::cluster::Cluster;
use anyhow::{Context, Result};
use serde_json::Value;

/// A request that the API server answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The verb, such as `list`.
    pub verb: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// The resource, with a subresource after a slash.
    pub resource: String,
    /// The namespace; empty for none, or for all.
    pub namespace: String,
    /// The object, where the request names one in its path.
    pub name: String,
    /// The status of the answer.
    pub code: u16,
    /// Who asked, such as `system:serviceaccount:istio-system:istiod`.
    pub user: String,
    /// The pod that asked, as its token says.
    pub pod: String,
}

impl Request {
    /// Of a line of the log; none for what is about no resource.
    fn of(line: &str) -> Result<Option<Request>> {
        let event: Value = serde_json::from_str(line).context("a line of the audit log")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let Some(resource) = object["resource"].as_str() else { return Ok(None) };
        let resource = match object["subresource"].as_str() {
            Some(sub) => format!("{resource}/{sub}"),
            None => resource.to_owned(),
        };
        let code = event["responseStatus"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        Ok(Some(Request {
            verb: text(&event["verb"]),
            group: text(&object["apiGroup"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            code: code.unwrap_or_default(),
            user: text(&event["user"]["username"]),
            pod: text(&event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0]),
        }))
    }
}

/// All requests since the cluster came up, in the order of their answers.
///
/// # Errors
/// When the log cannot be read.
pub fn requests(cluster: &Cluster) -> Result<Vec<Request>> {
    let path = crate::folder::logs(cluster.name())?.join("node-1/audit.log");
    let log = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // The last line may be in the making.
    let lines = log.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
    lines.filter_map(|line| Request::of(line).transpose()).collect()
}
