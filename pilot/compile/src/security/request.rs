// SPDX-License-Identifier: Apache-2.0
//! Lowering of RequestAuthentication.

use crate::LowerContext;
use crate::lower::strs;
use std::time::Duration;
use tiphys_api::istio::security::request_authentication as api;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{JwtRule, RequestAuthentication, TokenHeader};

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A RequestAuthentication in the words of the model.
pub fn lower(object: &Object, _: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<RequestAuthentication> {
    let Spec::RequestAuthentication(spec) = &object.spec else { return None };
    for (index, rule) in spec.jwt_rules.iter().enumerate().filter(|(_, rule)| rule.jwks.is_empty()) {
        let source = if rule.jwks_uri.is_empty() { "OpenID discovery" } else { &rule.jwks_uri };
        problems.push(Problem::warning(
            format!("spec.jwtRules[{index}].jwks"),
            format!(
                "the keys are not given here and {source} is not fetched by the control plane: proxies fetch them when a \
                 service has that host and port, else every token of this issuer is refused; give jwks inline"
            ),
        ));
    }
    Some(RequestAuthentication {
        name: object.meta.name.as_str().into(),
        namespace: object.meta.namespace.as_str().into(),
        target: super::target(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs),
        rules: spec.jwt_rules.iter().map(rule).collect(),
    })
}

fn rule(rule: &api::JwtRule) -> JwtRule {
    JwtRule {
        issuer: rule.issuer.as_str().into(),
        audiences: strs(&rule.audiences),
        jwks: rule.jwks.as_str().into(),
        jwks_uri: rule.jwks_uri.as_str().into(),
        from_headers: rule
            .from_headers
            .iter()
            .map(|header| TokenHeader { name: header.name.as_str().into(), prefix: header.prefix.as_str().into() })
            .collect(),
        from_params: strs(&rule.from_params),
        from_cookies: strs(&rule.from_cookies),
        output_payload_to_header: rule.output_payload_to_header.as_str().into(),
        output_claims: rule
            .output_claim_to_headers
            .iter()
            .map(|output| (output.header.as_str().into(), output.claim.as_str().into()))
            .collect(),
        forward: rule.forward_original_token,
        timeout: rule.timeout.map_or(FETCH_TIMEOUT, |timeout| timeout.get()),
        space_delimited_claims: strs(&rule.space_delimited_claims),
    }
}
