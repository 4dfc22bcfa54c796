// SPDX-License-Identifier: Apache-2.0
//! What one proxy is given, in the form of Envoy's own config_dump
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto>), to hold the two against each other.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tiphys_view::ClientInfo;
use tiphys_xds::{ClientView, Entry, ResourceType};

use super::proxies::one;
use super::{Access, parameter};
use crate::http::Shown;

/// What stands in the place of a private key: `[redacted]` in base64.
const REDACTED: &str = "W3JlZGFjdGVkXQ==";

/// Short names of types in `?types=`, as istiod has them.
fn type_of(short: &str) -> Option<ResourceType> {
    Some(match short {
        "cds" | "CDS" => ResourceType::CLUSTER,
        "eds" | "EDS" => ResourceType::ENDPOINT,
        "lds" | "LDS" => ResourceType::LISTENER,
        "rds" | "RDS" => ResourceType::ROUTE,
        "sds" | "SDS" => ResourceType::SECRET,
        "ecds" | "ECDS" => ResourceType::EXTENSION,
        "nds" | "NDS" => ResourceType::NAME_TABLE,
        url => return ResourceType::find(url),
    })
}

/// The entries of a type that the client asked for: what it is not sent is no difference between it and the control plane.
fn entries(shown: &Shown, client: &ClientInfo, view: &ClientView, ty: ResourceType) -> Vec<Entry> {
    match view.table(ty) {
        Some(table) => table.iter().filter(|entry| asks_for(client, ty, &entry.name)).cloned().collect(),
        None => shown.views.on_demand(client.connection, ty),
    }
}

/// Whether a client wants a resource; one that has not asked for the type yet may want all of it.
fn asks_for(client: &ClientInfo, ty: ResourceType, name: &str) -> bool {
    client.types.get(&ty).is_none_or(|state| {
        let (wildcard, names) = &state.subscription;
        *wildcard || names.binary_search_by(|asked| (**asked).cmp(name)).is_ok()
    })
}

/// The resources of entries, by name, as JSON with `@type`.
fn resources(entries: &[Entry]) -> Vec<(String, Value)> {
    let entries = entries.iter().filter_map(|entry| {
        let any = entry.any().ok()?;
        let mut value = tiphys_proto::to_json(&any)
            .unwrap_or_else(|error| json!({"@type": any.type_url, "error": error.to_string()}));
        redact(&mut value);
        Some((entry.name.to_string(), value))
    });
    entries.collect()
}

/// Hides what must stay secret, wherever it stands.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if matches!(name.as_str(), "privateKey" | "password" | "sessionTicketKeys" | "genericSecret") {
                    *field = json!({"inlineBytes": REDACTED});
                } else {
                    redact(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn admin(message: &str, fields: Value) -> Value {
    let mut object = Map::new();
    object.insert("@type".to_owned(), format!("type.googleapis.com/envoy.admin.v3.{message}").into());
    if let Value::Object(fields) = fields {
        // What is empty is left out, as protobuf's JSON does.
        object.extend(fields.into_iter().filter(|(_, v)| v.as_array().is_none_or(|a| !a.is_empty())));
    }
    Value::Object(object)
}

/// Everything that a view gives.
pub(super) fn whole(shown: &Shown, client: &ClientInfo, view: &ClientView, with_endpoints: bool) -> Value {
    lay_out(view, with_endpoints, |ty| entries(shown, client, view, ty))
}

fn lay_out(view: &ClientView, with_endpoints: bool, entries: impl Fn(ResourceType) -> Vec<Entry>) -> Value {
    let version = view.generation().to_string();
    let each = |ty, wrap: &dyn Fn(String, Value) -> Value| -> Value {
        resources(&entries(ty)).into_iter().map(|(name, resource)| wrap(name, resource)).collect()
    };
    let clusters = each(ResourceType::CLUSTER, &|_, cluster| json!({"cluster": cluster}));
    let listeners = each(
        ResourceType::LISTENER,
        &|name, listener| json!({"name": name, "activeState": {"versionInfo": version, "listener": listener}}),
    );
    let routes = each(ResourceType::ROUTE, &|_, route| json!({"versionInfo": version, "routeConfig": route}));
    let secrets =
        each(ResourceType::SECRET, &|name, secret| json!({"name": name, "versionInfo": version, "secret": secret}));
    let extensions = each(ResourceType::EXTENSION, &|_, filter| json!({"versionInfo": version, "ecdsFilter": filter}));
    let mut configs = vec![
        admin("BootstrapConfigDump", json!({})),
        admin("ClustersConfigDump", json!({"versionInfo": version, "dynamicActiveClusters": clusters})),
    ];
    if with_endpoints {
        let endpoints =
            each(ResourceType::ENDPOINT, &|_, endpoints| json!({"versionInfo": version, "endpointConfig": endpoints}));
        configs.push(admin("EndpointsConfigDump", json!({"dynamicEndpointConfigs": endpoints})));
    }
    configs.extend([
        admin("ListenersConfigDump", json!({"versionInfo": version, "dynamicListeners": listeners})),
        admin("ScopedRoutesConfigDump", json!({})),
        admin("RoutesConfigDump", json!({"dynamicRouteConfigs": routes})),
        admin("SecretsConfigDump", json!({"dynamicActiveSecrets": secrets})),
        admin("EcdsConfigDump", json!({"ecdsFilters": extensions})),
    ]);
    json!({"configs": configs})
}

fn answer(shown: &Shown, access: &Access, query: Option<&str>, types: Option<String>) -> Response {
    let client = match one(shown, access, query) {
        Ok(client) => client,
        Err(answer) => return answer.into_response(),
    };
    let Some(view) = shown.views.view_of(client.connection) else {
        return (StatusCode::NOT_FOUND, "The proxy has just gone.\n").into_response();
    };
    let dump = match types.filter(|types| !types.is_empty()) {
        None => whole(shown, &client, &view, parameter(query, "include_eds").is_some()),
        Some(types) => {
            let mut configs: Vec<Value> = Vec::new();
            for short in types.split(',') {
                let Some(ty) = type_of(short) else {
                    return (
                        StatusCode::BAD_REQUEST,
                        format!("unknown type {short}: use cds, eds, lds, rds, sds, ecds, nds\n"),
                    )
                        .into_response();
                };
                let entries = entries(shown, &client, &view, ty);
                configs.extend(resources(&entries).into_iter().map(|(_, value)| value));
            }
            json!({"configs": configs})
        }
    };
    super::json(query, &dump)
}

pub(super) async fn config_dump(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    answer(&shown, &access, query.as_deref(), parameter(query.as_deref(), "types"))
}

pub(super) async fn edsz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    answer(&shown, &access, query.as_deref(), Some("eds".to_owned()))
}

pub(super) async fn ecdsz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    answer(&shown, &access, query.as_deref(), Some("ecds".to_owned()))
}

pub(super) async fn ndsz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    answer(&shown, &access, query.as_deref(), Some("nds".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_proto::envoy::config::cluster::v3::Cluster;
    use tiphys_proto::envoy::config::core::v3::{DataSource, data_source::Specifier};
    use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret};
    use tiphys_xds::Table;

    #[test]
    fn the_shape_is_envoys_and_keys_are_hidden() {
        let source = |text: &'static [u8]| {
            Some(DataSource { specifier: Some(Specifier::InlineBytes(text.into())), ..Default::default() })
        };
        let certificate = TlsCertificate {
            certificate_chain: source(b"chain"),
            private_key: source(b"very secret"),
            ..Default::default()
        };
        let secret = Secret { name: "s".into(), r#type: Some(secret::Type::TlsCertificate(certificate)) };
        let cluster = Cluster { name: "outbound|80||a".into(), ..Default::default() };
        let view = ClientView::new(7)
            .with(ResourceType::CLUSTER, Table::from_entries(vec![Entry::of("outbound|80||a", &cluster)]))
            .with(ResourceType::SECRET, Table::from_entries(vec![Entry::of("s", &secret)]));
        let of = |ty| view.table(ty).iter().flat_map(|table| table.iter().cloned()).collect();
        let dump = lay_out(&view, false, of);
        let types: Vec<&str> = dump["configs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|c| c["@type"].as_str()?.rsplit('.').next())
            .collect();
        assert_eq!(types.len(), 7);
        assert_eq!(types[1], "ClustersConfigDump");
        assert_eq!(dump["configs"][1]["dynamicActiveClusters"][0]["cluster"]["name"], "outbound|80||a");
        let text = dump.to_string();
        assert!(text.contains(REDACTED) && !text.contains("dmVyeSBzZWNyZXQ"), "{text}");
        assert_eq!(lay_out(&view, true, of)["configs"].as_array().unwrap().len(), 8);
    }
}
