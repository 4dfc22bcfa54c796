// SPDX-License-Identifier: Apache-2.0
//! MeshConfig's providers of external authorization. One that is not valid is kept with the reason: policies that name it deny.

use crate::Settings;
use crate::lower::strs;
use std::time::Duration;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::mesh::extension_provider::{
    EnvoyExternalAuthorizationHttpProvider, EnvoyExternalAuthorizationRequestBody, ExtensionProvider,
};
use tiphys_model::{Authorizer, Authorizers, CheckedBody, HttpCheck, ProviderService, Str};

/// Time for an answer where nobody says.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The authorizers of a mesh.
pub fn lower(config: &MeshConfig, settings: &Settings) -> Authorizers {
    let mut all = Authorizers {
        several: settings.flag("PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS", false),
        ..Authorizers::default()
    };
    let given = || config.extension_providers.iter().enumerate();
    let authorizers: Vec<_> = given().filter_map(|(index, one)| Some((index, authorizer(one)?))).collect();
    if authorizers.is_empty() {
        return all;
    }
    let problems = config.validate();
    for (index, authorizer) in authorizers {
        let at = format!("extensionProviders[{index}]");
        let own = problems.iter().find(|problem| {
            problem.path.strip_prefix(&at).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        match own {
            Some(problem) => {
                let field = problem.path.strip_prefix(&at).unwrap_or_default().trim_start_matches('.');
                let why =
                    format!("extension provider {:?} of MeshConfig: {field}: {}", authorizer.name, problem.message);
                all.broken.push((authorizer.name, why.into()));
            }
            None => all.usable.push(authorizer),
        }
    }
    all
}

fn authorizer(one: &ExtensionProvider) -> Option<Authorizer> {
    let name: Str = one.name.as_str().into();
    let time = |timeout: Option<tiphys_api::Duration>| timeout.map_or(TIMEOUT, tiphys_api::Duration::get);
    if let Some(http) = &one.envoy_ext_authz_http {
        return Some(Authorizer {
            name,
            service: ProviderService { service: http.service.as_str().into(), port: http.port },
            http: Some(check(http)),
            timeout: time(http.timeout),
            fail_open: http.fail_open,
            status_on_error: http.status_on_error.parse().ok(),
            clear_route_cache: http.clear_route_cache,
            body: http.include_request_body_in_check.as_ref().map(body),
        });
    }
    let grpc = one.envoy_ext_authz_grpc.as_ref()?;
    Some(Authorizer {
        name,
        service: ProviderService { service: grpc.service.as_str().into(), port: grpc.port },
        http: None,
        timeout: time(grpc.timeout),
        fail_open: grpc.fail_open,
        status_on_error: grpc.status_on_error.parse().ok(),
        clear_route_cache: grpc.clear_route_cache,
        body: grpc.include_request_body_in_check.as_ref().map(body),
    })
}

fn check(http: &EnvoyExternalAuthorizationHttpProvider) -> HttpCheck {
    // The older field counts only without the newer one.
    let request_headers = match http.include_request_headers_in_check.is_empty() {
        true => &http.include_headers_in_check,
        false => &http.include_request_headers_in_check,
    };
    let additional = http.include_additional_headers_in_check.iter();
    HttpCheck {
        path_prefix: http.path_prefix.as_str().into(),
        request_headers: strs(request_headers),
        additional_headers: additional.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
        upstream_on_allow: strs(&http.headers_to_upstream_on_allow),
        downstream_on_deny: strs(&http.headers_to_downstream_on_deny),
        downstream_on_allow: strs(&http.headers_to_downstream_on_allow),
    }
}

fn body(given: &EnvoyExternalAuthorizationRequestBody) -> CheckedBody {
    CheckedBody {
        max_bytes: given.max_request_bytes,
        partial: given.allow_partial_message,
        as_bytes: given.pack_as_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(text: &str) -> Authorizers {
        let (mesh, _) = MeshConfig::default().merge_yaml(text).unwrap();
        lower(&mesh, &Settings::default())
    }

    #[test]
    fn the_older_list_of_headers_counts_only_alone() {
        let of = |more: &str| {
            let text = format!(
                "extensionProviders: [{{name: a, envoyExtAuthzHttp: {{service: a.b, port: 1, includeHeadersInCheck: [x]{more}}}}}]"
            );
            lowered(&text).get("a").unwrap().http.clone().unwrap().request_headers
        };
        assert_eq!(of(""), ["x".into()]);
        assert_eq!(of(", includeRequestHeadersInCheck: [y]"), ["y".into()]);
    }

    #[test]
    fn a_provider_that_is_not_valid_says_why() {
        for (provider, path) in [
            ("{service: a.b, port: 0}", "port"),
            ("{service: a_b, port: 1}", "service"),
            ("{service: a.b, port: 1, statusOnError: '999'}", "statusOnError"),
            ("{service: a.b, port: 1, pathPrefix: x}", "pathPrefix"),
            ("{service: a.b, port: 1, headersToUpstreamOnAllow: ['*']}", "headersToUpstreamOnAllow[0]"),
        ] {
            let why = lowered(&format!("extensionProviders: [{{name: x, envoyExtAuthzHttp: {provider}}}]"));
            let why = why.get("x").unwrap_err();
            assert!(
                why.starts_with(&format!("extension provider \"x\" of MeshConfig: envoyExtAuthzHttp.{path}: ")),
                "{why}"
            );
        }
        let why = lowered("extensionProviders: [{name: A_b, envoyExtAuthzGrpc: {service: a.b, port: 1}}]");
        assert!(why.get("A_b").unwrap_err().contains(" of MeshConfig: name: "));
        assert!(lowered("{}").get("zipkin").is_err());
    }
}
