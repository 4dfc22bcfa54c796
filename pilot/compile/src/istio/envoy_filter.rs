// SPDX-License-Identifier: Apache-2.0
//! Lowering of EnvoyFilter: what each patch means, and its value as an encoded message. A patch that cannot be used is left out and told; the
//! others of the object stay.

use crate::LowerContext;
use tiphys_api::istio::networking::envoy_filter as api;
use tiphys_api::istio::selector::WorkloadSelector;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{
    ChainMatch, ClusterMatch, EnvoyFilter, ListenerMatch, Marked, Patch, PatchMatch, PatchOperation, Patched,
    ProxyMatch, RouteKind, RouteMatch, RoutesMatch, Str, Traffic, VirtualHostMatch,
};

/// An EnvoyFilter in the words of the model.
pub fn lower(object: &Object, _: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<EnvoyFilter> {
    let Spec::EnvoyFilter(spec) = &object.spec else { return None };
    let name = format!("EnvoyFilter {}/{}", object.meta.namespace, object.meta.name);
    let mut patches = Vec::new();
    for (index, one) in spec.config_patches.iter().enumerate() {
        let at = format!("configPatches[{index}]");
        match patch(one, format!("{name} {at}").into()) {
            Ok((patch, warnings)) => {
                problems
                    .extend(warnings.into_iter().map(|w| Problem::warning(format!("spec.{at}.{}", w.path), w.message)));
                patches.push(Marked::new(patch));
            }
            Err(Wrong { path, message }) => {
                let text = format!("{message}: the patch is left out");
                problems.push(Problem::warning(format!("spec.{at}.{path}"), text));
            }
        }
    }
    let selector =
        spec.workload_selector.as_ref().map(|selector| WorkloadSelector { match_labels: selector.labels.clone() });
    Some(EnvoyFilter {
        name: object.meta.name.as_str().into(),
        namespace: object.meta.namespace.as_str().into(),
        target: crate::security::target(selector.as_ref(), None, &spec.target_refs),
        priority: spec.priority,
        creation: object.meta.creation,
        patches,
    })
}

/// What is wrong with a patch, and where in it.
struct Wrong {
    path: String,
    message: String,
}

fn wrong(path: impl Into<String>, message: impl Into<String>) -> Wrong {
    Wrong { path: path.into(), message: message.into() }
}

fn patch(one: &api::EnvoyConfigObjectPatch, origin: Str) -> Result<(Patch, Vec<Wrong>), Wrong> {
    let (object, message) = object(&one.apply_to)?;
    let given = one.patch.as_ref().ok_or_else(|| wrong("patch", "must be set"))?;
    let operation = operation(object, &given.operation)?;
    let (matching, proxy, traffic) = match &one.r#match {
        None => (PatchMatch::Any, ProxyMatch::default(), None),
        Some(matched) => (matching(matched), proxy(matched), traffic(&matched.context)?),
    };
    if is_filter(object)
        && !names_filter(object, &matching)
        && matches!(operation, PatchOperation::Replace | PatchOperation::Remove)
    {
        return Err(wrong("match", format!("must name the filter for {}", given.operation)));
    }
    let mut warnings = Vec::new();
    let mut value = Vec::new();
    if let Some(json) = given.value.as_ref().filter(|_| operation != PatchOperation::Remove) {
        let (bytes, unknown) = tiphys_proto::encode_json(message, json).map_err(|error| {
            let error = error.to_string();
            // The message starts with the path of the field, where there is one.
            match error.split_once(": ").filter(|(path, _)| !path.contains(' ')) {
                Some((path, why)) => wrong(format!("patch.value.{path}"), why),
                None => wrong("patch.value", error),
            }
        })?;
        value = bytes;
        warnings.extend(unknown.map(|why| wrong("patch.value", format!("{why}: the field is left out"))));
    }
    if given.filter_class != api::FilterClass::Unspecified {
        warnings
            .push(wrong("patch.filterClass", "has no effect: name the filter before or after which the value belongs"));
    }
    Ok((Patch { origin, object, operation, traffic, proxy, matching, value: value.into() }, warnings))
}

/// What is patched, and the message of its values.
fn object(apply_to: &api::ApplyTo) -> Result<(Patched, &'static str), Wrong> {
    Ok(match apply_to {
        api::ApplyTo::Listener => (Patched::Listener, "envoy.config.listener.v3.Listener"),
        api::ApplyTo::FilterChain => (Patched::FilterChain, "envoy.config.listener.v3.FilterChain"),
        api::ApplyTo::NetworkFilter => (Patched::NetworkFilter, "envoy.config.listener.v3.Filter"),
        api::ApplyTo::HttpFilter => {
            (Patched::HttpFilter, "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter")
        }
        api::ApplyTo::ListenerFilter => (Patched::ListenerFilter, "envoy.config.listener.v3.ListenerFilter"),
        api::ApplyTo::RouteConfiguration => (Patched::RouteConfiguration, "envoy.config.route.v3.RouteConfiguration"),
        api::ApplyTo::VirtualHost => (Patched::VirtualHost, "envoy.config.route.v3.VirtualHost"),
        api::ApplyTo::HttpRoute => (Patched::HttpRoute, "envoy.config.route.v3.Route"),
        api::ApplyTo::Cluster => (Patched::Cluster, "envoy.config.cluster.v3.Cluster"),
        api::ApplyTo::ExtensionConfig => (Patched::ExtensionConfig, "envoy.config.core.v3.TypedExtensionConfig"),
        api::ApplyTo::Bootstrap => {
            return Err(wrong(
                "applyTo",
                "BOOTSTRAP is not supported: use a bootstrap of the proxy's own (ISTIO_BOOTSTRAP_OVERRIDE)",
            ));
        }
        other => return Err(wrong("applyTo", format!("{other} is not known"))),
    })
}

fn is_filter(object: Patched) -> bool {
    matches!(object, Patched::NetworkFilter | Patched::HttpFilter | Patched::ListenerFilter)
}

/// The operation as it works on what is patched.
fn operation(object: Patched, given: &api::PatchOperation) -> Result<PatchOperation, Wrong> {
    use PatchOperation as O;
    let operation = match given {
        api::PatchOperation::Merge => O::Merge,
        api::PatchOperation::MergeAndReplaceList => O::MergeAndReplaceLists,
        api::PatchOperation::Add => O::Add,
        api::PatchOperation::Remove => O::Remove,
        api::PatchOperation::InsertBefore => O::InsertBefore,
        api::PatchOperation::InsertAfter => O::InsertAfter,
        api::PatchOperation::InsertFirst => O::InsertFirst,
        api::PatchOperation::Replace => O::Replace,
        other => return Err(wrong("patch.operation", format!("{other} is not known"))),
    };
    let inserts = matches!(operation, O::InsertBefore | O::InsertAfter | O::InsertFirst);
    // Where there is no order, inserting is adding.
    let operation = if inserts && !is_filter(object) && object != Patched::HttpRoute { O::Add } else { operation };
    let merges = matches!(operation, O::Merge | O::MergeAndReplaceLists);
    let works = match object {
        Patched::NetworkFilter | Patched::HttpFilter | Patched::ListenerFilter => operation != O::MergeAndReplaceLists,
        Patched::Listener | Patched::FilterChain | Patched::Cluster => {
            merges || matches!(operation, O::Add | O::Remove)
        }
        Patched::VirtualHost => merges || matches!(operation, O::Add | O::Remove | O::Replace),
        Patched::HttpRoute => merges || inserts || matches!(operation, O::Add | O::Remove),
        Patched::RouteConfiguration => merges,
        Patched::ExtensionConfig => operation == O::Add,
    };
    match works {
        true => Ok(operation),
        false => Err(wrong("patch.operation", format!("{given} does not work with what applyTo names"))),
    }
}

fn traffic(context: &api::PatchContext) -> Result<Option<Traffic>, Wrong> {
    Ok(match context {
        api::PatchContext::Any => None,
        api::PatchContext::SidecarInbound => Some(Traffic::Inbound),
        api::PatchContext::SidecarOutbound => Some(Traffic::Outbound),
        api::PatchContext::Gateway => Some(Traffic::Gateway),
        api::PatchContext::Waypoint => return Err(wrong("match.context", "there are no waypoints")),
        other => return Err(wrong("match.context", format!("{other} is not known"))),
    })
}

fn proxy(matched: &api::EnvoyConfigObjectMatch) -> ProxyMatch {
    let Some(proxy) = &matched.proxy else { return ProxyMatch::default() };
    let metadata = proxy.metadata.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into()));
    ProxyMatch { version: proxy.proxy_version.as_str().into(), metadata: metadata.collect() }
}

fn matching(matched: &api::EnvoyConfigObjectMatch) -> PatchMatch {
    if let Some(listener) = &matched.listener {
        return PatchMatch::Listener(ListenerMatch {
            name: listener.name.as_str().into(),
            port: listener.port_number,
            listener_filter: listener.listener_filter.as_str().into(),
            chain: listener.filter_chain.as_ref().map(chain),
        });
    }
    if let Some(routes) = &matched.route_configuration {
        return PatchMatch::Routes(RoutesMatch {
            name: routes.name.as_str().into(),
            port: routes.port_number,
            port_name: routes.port_name.as_str().into(),
            gateway: routes.gateway.as_str().into(),
            host: routes.vhost.as_ref().map(host),
        });
    }
    let Some(cluster) = &matched.cluster else { return PatchMatch::Any };
    PatchMatch::Cluster(ClusterMatch {
        name: cluster.name.as_str().into(),
        service: cluster.service.as_str().into(),
        port: cluster.port_number,
        subset: cluster.subset.as_str().into(),
    })
}

fn chain(chain: &api::FilterChainMatch) -> ChainMatch {
    let protocols = chain.application_protocols.split(',').filter(|protocol| !protocol.is_empty());
    let filter = chain.filter.as_ref();
    ChainMatch {
        name: chain.name.as_str().into(),
        server_name: chain.sni.as_str().into(),
        transport_protocol: chain.transport_protocol.as_str().into(),
        application_protocols: protocols.map(Str::from).collect(),
        port: chain.destination_port,
        filter: filter.map(|filter| filter.name.as_str().into()),
        sub_filter: filter.and_then(|filter| filter.sub_filter.as_ref()).map(|sub| sub.name.as_str().into()),
    }
}

fn host(host: &api::VirtualHostMatch) -> VirtualHostMatch {
    VirtualHostMatch {
        name: host.name.as_str().into(),
        domain: host.domain_name.as_str().into(),
        route: host.route.as_ref().map(|route| RouteMatch {
            name: route.name.as_str().into(),
            kind: match route.action {
                api::RouteAction::Route => Some(RouteKind::Route),
                api::RouteAction::Redirect => Some(RouteKind::Redirect),
                api::RouteAction::DirectResponse => Some(RouteKind::DirectResponse),
                _ => None,
            },
        }),
    }
}

fn names_filter(object: Patched, matching: &PatchMatch) -> bool {
    let PatchMatch::Listener(listener) = matching else { return false };
    let chain = listener.chain.as_ref();
    match object {
        Patched::ListenerFilter => !listener.listener_filter.is_empty(),
        Patched::HttpFilter => chain.is_some_and(|chain| chain.sub_filter.is_some()),
        _ => chain.is_some_and(|chain| chain.filter.is_some()),
    }
}
