// SPDX-License-Identifier: Apache-2.0
//! What becomes of a request: it is sent on, redirected, or answered at once.

use super::fault::runtime_fraction;
use super::headers::Changes;
use super::matching::regex_matcher;
use super::virtual_service::VirtualServiceRoutes;
use super::{hash, retry};
use std::time::Duration;
use tiphys_model::{
    Body, ClusterName, Destination, DirectResponse, HttpDestination, HttpRoute, Redirect, RedirectPath, RedirectPort,
    RewritePath, Semantics,
};
use tiphys_proto::envoy::config::core::v3::{DataSource, data_source};
use tiphys_proto::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use tiphys_proto::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy,
};
use tiphys_proto::envoy::config::route::v3::weighted_cluster::{self, ClusterWeight};
use tiphys_proto::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, Route, RouteAction, RouteMatch, WeightedCluster, route_match,
};
use tiphys_proto::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use tiphys_proto::{boolean, duration, uint32};

/// Where requests go whose backend does not exist or may not be used; no cluster has this name.
const UNKNOWN: &str = "UnknownService";

/// An action without a time limit or with one. gRPC clients that state a limit of their own get it up to that of the route.
#[allow(deprecated, reason = "the successor max_stream_duration limits the whole stream, not the time to the answer")]
pub(super) fn with_timeout(timeout: Option<Duration>) -> RouteAction {
    let timeout = duration(timeout.unwrap_or_default());
    RouteAction { timeout, max_grpc_timeout: timeout, ..RouteAction::default() }
}

/// The action that sends requests to destinations. Header changes of a single destination are those of the route.
pub(super) fn forward(
    rule: &HttpRoute,
    destinations: &[HttpDestination],
    input: &VirtualServiceRoutes,
    route: &mut Route,
    authority: Option<&str>,
) -> RouteAction {
    let mut action = with_timeout(rule.timeout);
    if input.virtual_service.semantics == Semantics::GatewayApi {
        action.cluster_not_found_response_code = ClusterNotFoundResponseCode::InternalServerError.into();
    }
    let mut authority = authority.filter(|authority| !authority.is_empty());
    if let Some(rewrite) = &rule.rewrite {
        action.append_x_forwarded_host = input.x_forwarded_host;
        rewrite_path(&mut action, &rewrite.path, input.virtual_service.semantics, route.r#match.as_ref());
        authority = Some(&*rewrite.authority).filter(|authority| !authority.is_empty()).or(authority);
    }
    action.host_rewrite_specifier = authority.map(|name| HostRewriteSpecifier::HostRewriteLiteral(name.into()));
    action.request_mirror_policies = rule
        .mirrors
        .iter()
        .map(|mirror| RequestMirrorPolicy {
            cluster: cluster(&mirror.destination, input),
            runtime_fraction: Some(runtime_fraction(mirror.share)),
            trace_sampled: boolean(false),
            disable_shadow_host_suffix_append: true,
            ..RequestMirrorPolicy::default()
        })
        .collect();
    let mut hashed = false;
    action.cluster_specifier = Some(match destinations {
        [only] => {
            hashed = input.hashes.contains_key(&only.destination);
            single(only, input, route, &mut action)
        }
        _ => weighted(destinations, input, &mut action),
    });
    action.retry_policy = retry::outbound(rule.retries.as_ref().or(input.default_retries.as_ref()), hashed);
    action
}

/// The cluster of a destination: its port is the one named, else the service's only one, else the one that was dialled.
fn cluster(destination: &Destination, input: &VirtualServiceRoutes) -> String {
    let host = destination.host.as_str();
    if host.is_empty() {
        return UNKNOWN.into();
    }
    let target = input.targets.get(&destination.host);
    let port = destination.port.or_else(|| target.and_then(|target| target.only_port)).unwrap_or(input.port);
    let host = target.and_then(|target| target.external_name.as_deref()).unwrap_or(host);
    ClusterName::Outbound { port, subset: &destination.subset, host }.to_string()
}

fn single(
    only: &HttpDestination,
    input: &VirtualServiceRoutes,
    route: &mut Route,
    action: &mut RouteAction,
) -> ClusterSpecifier {
    let changes = Changes::of(&only.headers);
    route.request_headers_to_add.extend(changes.request_add);
    route.request_headers_to_remove.extend(changes.request_remove);
    route.response_headers_to_add.extend(changes.response_add);
    route.response_headers_to_remove.extend(changes.response_remove);
    if action.host_rewrite_specifier.is_none() {
        action.host_rewrite_specifier =
            changes.authority.map(|name| HostRewriteSpecifier::HostRewriteLiteral(name.to_string()));
    }
    action.hash_policy.extend(input.hashes.get(&only.destination).and_then(hash::policy));
    ClusterSpecifier::Cluster(cluster(&only.destination, input))
}

fn weighted(
    destinations: &[HttpDestination],
    input: &VirtualServiceRoutes,
    action: &mut RouteAction,
) -> ClusterSpecifier {
    let mut clusters = Vec::new();
    for one in destinations.iter().filter(|one| one.weight > 0) {
        let changes = Changes::of(&one.headers);
        clusters.push(ClusterWeight {
            name: cluster(&one.destination, input),
            weight: uint32(one.weight),
            request_headers_to_add: changes.request_add,
            request_headers_to_remove: changes.request_remove,
            response_headers_to_add: changes.response_add,
            response_headers_to_remove: changes.response_remove,
            host_rewrite_specifier: changes.authority.map(|name| {
                weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(name.to_string())
            }),
            ..ClusterWeight::default()
        });
        action.hash_policy.extend(input.hashes.get(&one.destination).and_then(hash::policy));
    }
    ClusterSpecifier::WeightedClusters(WeightedCluster { clusters, ..WeightedCluster::default() })
}

fn rewrite_path(action: &mut RouteAction, path: &RewritePath, semantics: Semantics, of: Option<&RouteMatch>) {
    match path {
        RewritePath::Keep => {}
        // Cutting `/a` off `/a/b` would leave `//b`, off `/a` nothing at all.
        RewritePath::Prefix(new) if semantics == Semantics::GatewayApi && &**new == "/" => {
            let matched = match of.and_then(|rule| rule.path_specifier.as_ref()) {
                Some(route_match::PathSpecifier::PathSeparatedPrefix(prefix)) => prefix.as_str(),
                _ => "",
            };
            let regex = format!("^{}(/?)(.*)", quoted(matched));
            action.regex_rewrite = substitute(&regex, r"/\2");
        }
        RewritePath::Prefix(new) => action.prefix_rewrite = new.to_string(),
        RewritePath::Regex(regex, substitution) => action.regex_rewrite = substitute(regex, substitution),
    }
}

fn substitute(regex: &str, substitution: &str) -> Option<RegexMatchAndSubstitute> {
    Some(RegexMatchAndSubstitute { pattern: Some(regex_matcher(regex)), substitution: substitution.into() })
}

/// A text as a regular expression that matches it alone.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// The action that sends the client elsewhere.
pub(super) fn redirect(redirect: &Redirect, port: u32, tls: bool) -> RedirectAction {
    let path = match &redirect.path {
        RedirectPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix.to_string()),
        RedirectPath::Full(path) => PathRewriteSpecifier::PathRedirect(path.to_string()),
        RedirectPath::Keep => PathRewriteSpecifier::PathRedirect(String::new()),
    };
    let scheme = match (&*redirect.scheme, tls) {
        ("", true) => "https",
        ("", false) => "http",
        (scheme, _) => scheme,
    };
    let new = match redirect.port {
        RedirectPort::Keep | RedirectPort::Protocol => 0,
        RedirectPort::Number(number) => number,
        RedirectPort::Request => port,
    };
    // The scheme's own port is not worth naming.
    let port_redirect = if matches!((new, scheme), (80, "http") | (443, "https")) { 0 } else { new };
    let response_code = match redirect.code {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    RedirectAction {
        host_redirect: redirect.authority.to_string(),
        port_redirect,
        response_code: response_code.into(),
        scheme_rewrite_specifier: (!redirect.scheme.is_empty())
            .then(|| SchemeRewriteSpecifier::SchemeRedirect(redirect.scheme.to_string())),
        path_rewrite_specifier: Some(path),
        ..RedirectAction::default()
    }
}

/// The action that answers at once.
pub(super) fn direct_response(response: &DirectResponse) -> DirectResponseAction {
    let specifier = response.body.as_ref().map(|body| match body {
        Body::Text(text) => data_source::Specifier::InlineString(text.to_string()),
        Body::Bytes(bytes) => data_source::Specifier::InlineBytes(bytes.clone()),
    });
    DirectResponseAction {
        status: response.status,
        body: specifier.map(|specifier| DataSource { specifier: Some(specifier), ..DataSource::default() }),
        ..DirectResponseAction::default()
    }
}
