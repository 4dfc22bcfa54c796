// SPDX-License-Identifier: Apache-2.0
//! Pages about connected proxies: who they are, what they were sent and what they took.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tiphys_model::{Labels, ProxyType};
use tiphys_view::{ClientInfo, SentState};
use tiphys_xds::ResourceType;

use super::{Access, json, parameter};
use crate::http::Shown;

/// Said of a proxy that is not connected here; `istioctl` looks for these words.
pub(super) const GONE: &str = "Proxy not connected to this Pilot instance. It may be connected to another instance.\n";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Clients {
    total_clients: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients: Vec<Client>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Client {
    connection_id: String,
    connected_at: String,
    address: String,
    #[serde(flatten)]
    more: Option<More>,
}

#[derive(Serialize)]
struct More {
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    metadata: Value,
    locality: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    watches: BTreeMap<&'static str, Vec<String>>,
}

#[derive(Serialize, Default)]
struct Sync {
    cluster_id: String,
    proxy: String,
    proxy_type: &'static str,
    istio_version: String,
    #[serde(flatten)]
    nonces: BTreeMap<String, String>,
    resources: BTreeMap<&'static str, Resource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(skip_serializing_if = "String::is_empty")]
    sent: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    acked: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// istiod's name of a connection: the proxy's id and a number.
fn connection_id(client: &ClientInfo) -> String {
    format!("{}-{}", client.node.id, client.connection)
}

pub(super) fn type_name(kind: ProxyType) -> &'static str {
    match kind {
        ProxyType::Sidecar => "sidecar",
        ProxyType::Router => "router",
        ProxyType::Waypoint => "waypoint",
    }
}

/// Clients that the caller may see, by their ids.
fn seen(shown: &Shown, access: &Access) -> Vec<ClientInfo> {
    let mut clients: Vec<ClientInfo> =
        shown.views.clients().into_iter().filter(|c| access.sees(&c.node.namespace)).collect();
    clients.sort_by(|a, b| (&a.node.id, a.connection).cmp(&(&b.node.id, b.connection)));
    clients
}

/// The client that `?proxyID=` names, by a part of its connection's id.
///
/// # Errors
/// The answer when there is none, or none that the caller may see.
pub(super) fn one(
    shown: &Shown,
    access: &Access,
    query: Option<&str>,
) -> Result<ClientInfo, (StatusCode, &'static str)> {
    let Some(wanted) = parameter(query, "proxyID").filter(|id| !id.is_empty()) else {
        return Err((StatusCode::BAD_REQUEST, "You must provide a proxyID in the query string\n"));
    };
    named(shown, access, &wanted).ok_or((StatusCode::NOT_FOUND, GONE))
}

/// The client whose connection's id has this part in it.
pub(super) fn named(shown: &Shown, access: &Access, part: &str) -> Option<ClientInfo> {
    seen(shown, access).into_iter().find(|client| connection_id(client).contains(part))
}

fn show(shown: &Shown, client: ClientInfo, whole: bool) -> Client {
    let more = whole.then(|| More {
        labels: client.node.labels.clone(),
        metadata: client.node.metadata.clone(),
        locality: [
            ("region", &client.node.locality.region),
            ("zone", &client.node.locality.zone),
            ("sub_zone", &client.node.locality.subzone),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, value.to_string()))
        .collect(),
        watches: watches(shown, &client),
    });
    Client {
        connection_id: connection_id(&client),
        connected_at: rfc3339(client.connected_at),
        address: client.address.map(|a| a.to_string()).unwrap_or_default(),
        more,
    }
}

/// Names by type that a client is subscribed to; for a client that wants all of a type those that there are.
fn watches(shown: &Shown, client: &ClientInfo) -> BTreeMap<&'static str, Vec<String>> {
    let Some(view) = shown.views.view_of(client.connection) else { return BTreeMap::new() };
    let names = |ty: ResourceType, state: &SentState| -> Vec<String> {
        let (wildcard, names) = &state.subscription;
        match view.table(ty) {
            Some(table) if *wildcard => table.iter().map(|entry| entry.name.to_string()).collect(),
            _ => names.iter().map(ToString::to_string).collect(),
        }
    };
    client.types.iter().map(|(ty, state)| (ty.url(), names(*ty, state))).collect()
}

pub(super) async fn connections(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    let clients: Vec<Client> = seen(&shown, &access).into_iter().map(|client| show(&shown, client, false)).collect();
    json(query.as_deref(), &Clients { total_clients: clients.len(), clients })
}

pub(super) async fn adsz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    if parameter(query.as_deref(), "push").is_some_and(|value| !value.is_empty()) {
        let count = seen(&shown, &access).len();
        let text = format!("{count} proxies hold what was sent last; each is sent what changes as soon as it does\n");
        return text.into_response();
    }
    let infos = match parameter(query.as_deref(), "proxyID") {
        Some(_) => match one(&shown, &access, query.as_deref()) {
            Ok(client) => vec![client],
            Err(answer) => return answer.into_response(),
        },
        None => seen(&shown, &access),
    };
    let clients: Vec<Client> = infos.into_iter().map(|client| show(&shown, client, true)).collect();
    json(query.as_deref(), &Clients { total_clients: clients.len(), clients })
}

pub(super) async fn syncz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    let namespace = parameter(query.as_deref(), "namespace");
    let clients = seen(&shown, &access)
        .into_iter()
        .filter(|c| namespace.as_deref().is_none_or(|n| n.is_empty() || n == &*c.node.namespace));
    json(query.as_deref(), &clients.map(sync).collect::<Vec<_>>())
}

fn sync(client: ClientInfo) -> Sync {
    const SHORT: &[(ResourceType, &str)] = &[
        (ResourceType::CLUSTER, "cluster"),
        (ResourceType::LISTENER, "listener"),
        (ResourceType::ROUTE, "route"),
        (ResourceType::ENDPOINT, "endpoint"),
        (ResourceType::EXTENSION, "extensionconfig"),
    ];
    let mut nonces = BTreeMap::new();
    for (ty, name) in SHORT {
        if let Some(state) = client.types.get(ty) {
            let pairs = [("sent", &state.sent_nonce), ("acked", &state.acked_nonce)];
            nonces.extend(
                pairs
                    .into_iter()
                    .filter(|(_, v)| !v.is_empty())
                    .map(|(what, nonce)| (format!("{name}_{what}"), nonce.clone())),
            );
        }
    }
    let resources = client.types.into_iter().map(|(ty, state)| {
        let sent_time = state.sent_at.map(rfc3339);
        (ty.url(), Resource { sent: state.sent_nonce, acked: state.acked_nonce, sent_time, last_error: state.error })
    });
    Sync {
        cluster_id: client.node.cluster.to_string(),
        proxy: client.node.id.to_string(),
        proxy_type: type_name(client.node.kind),
        istio_version: client.node.version.to_string(),
        nonces,
        resources: resources.collect(),
    }
}
