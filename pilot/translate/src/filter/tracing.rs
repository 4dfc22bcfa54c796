// SPDX-License-Identifier: Apache-2.0
//! Tracing of HTTP requests: sampling and the tags of spans
//! (<https://istio.io/latest/docs/tasks/observability/distributed-tracing/overview/>).

use super::trace_provider;
use tiphys_model::{CustomTag as Tag, Str, TagValue, Tracing as Settings};
use tiphys_proto::boolean;
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing;
use tiphys_proto::envoy::r#type::metadata::v3::{
    MetadataKey, MetadataKind,
    metadata_key::{PathSegment, path_segment::Segment},
    metadata_kind::{Kind, Request},
};
use tiphys_proto::envoy::r#type::tracing::v3::{
    CustomTag,
    custom_tag::{Environment, Header, Literal, Metadata, Type},
};
use tiphys_proto::envoy::r#type::v3::Percent;

/// What spans say of the proxy's workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceTags {
    /// Canonical service of the workload.
    pub service: Str,
    /// Canonical revision of the workload.
    pub revision: Str,
    /// The mesh.
    pub mesh: Str,
    /// Namespace of the workload.
    pub namespace: Str,
    /// The cluster.
    pub cluster: Str,
}

/// What of the proxy tracing reads.
pub struct Traced<'a> {
    /// Tags of the workload.
    pub tags: &'a ServiceTags,
    /// Name under which the proxy reports spans.
    pub service_name: &'a str,
    /// A gateway: its spans are parents of those upstream.
    pub is_gateway: bool,
}

/// The tracing of a connection manager.
pub fn build(settings: &Settings, traced: &Traced<'_>) -> Tracing {
    let percent = |value| Some(Percent { value });
    let mut custom_tags = if settings.istio_tags { istio_tags(traced.tags) } else { Vec::new() };
    custom_tags.extend(settings.custom_tags.iter().map(custom_tag));
    custom_tags.sort_by(|a, b| a.tag.cmp(&b.tag));
    Tracing {
        client_sampling: percent(100.0),
        overall_sampling: percent(100.0),
        random_sampling: percent(settings.sampling.get()),
        max_path_tag_length: settings.max_path_tag_length.and_then(tiphys_proto::uint32),
        custom_tags,
        spawn_upstream_span: (traced.is_gateway && settings.provider.is_some()).then(|| boolean(true)).flatten(),
        provider: settings.provider.as_ref().map(|provider| trace_provider::build(provider, traced.service_name)),
        no_context_propagation: settings.no_context_propagation,
        ..Tracing::default()
    }
}

fn custom_tag(tag: &Tag) -> CustomTag {
    let text = |value: &Str| value.to_string();
    let value = match &tag.value {
        TagValue::Literal(value) => Type::Literal(Literal { value: text(value) }),
        TagValue::Environment(name, default) => {
            Type::Environment(Environment { name: text(name), default_value: text(default) })
        }
        TagValue::Header(name, default) => {
            Type::RequestHeader(Header { name: text(name), default_value: text(default) })
        }
        TagValue::Formatter(format) => Type::Value(text(format)),
    };
    CustomTag { tag: tag.name.to_string(), r#type: Some(value) }
}

fn istio_tags(tags: &ServiceTags) -> Vec<CustomTag> {
    let literal = |tag: &str, value: &Str, default: &str| CustomTag {
        tag: tag.into(),
        r#type: Some(Type::Literal(Literal {
            value: if value.is_empty() { default.into() } else { value.to_string() },
        })),
    };
    let mut all = vec![
        literal("istio.canonical_revision", &tags.revision, "latest"),
        literal("istio.canonical_service", &tags.service, "unknown"),
        literal("istio.mesh_id", &tags.mesh, "unknown"),
        literal("istio.namespace", &tags.namespace, "default"),
        literal("istio.cluster_id", &tags.cluster, "unknown"),
    ];
    for effect in ["allow", "deny"] {
        all.push(dry_run(effect, "name", "effective_policy_id"));
        all.push(dry_run(effect, "result", "engine_result"));
    }
    all
}

/// What a policy in dry-run mode would have done: the authorization filter leaves it in the metadata of the request.
fn dry_run(effect: &str, name: &str, key: &str) -> CustomTag {
    let key = format!("istio_dry_run_{effect}_shadow_{key}");
    CustomTag {
        tag: format!("istio.authorization.dry_run.{effect}_policy.{name}"),
        r#type: Some(Type::Metadata(Metadata {
            kind: Some(MetadataKind { kind: Some(Kind::Request(Request::default())) }),
            metadata_key: Some(MetadataKey {
                key: "envoy.filters.http.rbac".into(),
                path: vec![PathSegment { segment: Some(Segment::Key(key)) }],
            }),
            ..Metadata::default()
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_model::Float;

    #[test]
    fn tags_are_sorted_and_can_be_left_out() {
        let mut settings = Settings {
            provider: None,
            sampling: Float::new(1.0),
            istio_tags: true,
            custom_tags: vec![Tag { name: "a".into(), value: TagValue::Literal("x".into()) }],
            max_path_tag_length: None,
            request_id_sampling: true,
            no_context_propagation: false,
        };
        let traced = Traced { tags: &ServiceTags::default(), service_name: "", is_gateway: false };
        let tags: Vec<String> = build(&settings, &traced).custom_tags.into_iter().map(|tag| tag.tag).collect();
        assert_eq!(tags.len(), 10);
        assert_eq!((tags[0].as_str(), tags[9].as_str()), ("a", "istio.namespace"));
        settings.istio_tags = false;
        assert_eq!(build(&settings, &traced).custom_tags.len(), 1);
    }
}
