// SPDX-License-Identifier: Apache-2.0
//! PeerAuthentication and RequestAuthentication.

use serde_json::Value;

use super::report::{At, Report};
use super::rules;
use super::selector::{self, Targets};
use crate::istio::security::request_authentication::JwtRule;
use crate::istio::security::{PeerAuthentication, RequestAuthentication};

pub(super) fn peer(report: &mut Report, at: &At<'_>, spec: &PeerAuthentication) {
    selector::workloads(report, at, spec.selector.as_ref());
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    if !selects && !spec.port_level_mtls.is_empty() {
        report.error(&at.field("portLevelMtls"), "needs a selector: ports are those of workloads");
    }
    for port in spec.port_level_mtls.keys() {
        report.check(&at.field("portLevelMtls").key(&port.to_string()), rules::port(*port));
    }
}

pub(super) fn request(report: &mut Report, at: &At<'_>, spec: &RequestAuthentication) {
    selector::targets(
        report,
        at,
        &Targets {
            selector: spec.selector.as_ref(),
            target_ref: spec.target_ref.as_ref(),
            target_refs: &spec.target_refs,
        },
    );
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        jwt_rule(report, &at.field("jwtRules").index(index), rule);
    }
}

fn jwt_rule(report: &mut Report, at: &At<'_>, rule: &JwtRule) {
    if rule.issuer.is_empty() && rule.jwks_uri.is_empty() {
        report.error(&at.field("issuer"), "must be set, or jwksUri in its place");
    }
    report.at_most_one(at, &[("jwksUri", !rule.jwks_uri.is_empty()), ("jwks", !rule.jwks.is_empty())]);
    if !rule.jwks_uri.is_empty() {
        report.check(&at.field("jwksUri"), http_url(&rule.jwks_uri));
    }
    if !rule.jwks.is_empty() {
        jwks(report, &at.field("jwks"), &rule.jwks);
    }
    for (field, texts) in [
        ("audiences", &rule.audiences),
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
        ("spaceDelimitedClaims", &rule.space_delimited_claims),
    ] {
        for (index, text) in texts.iter().enumerate() {
            report.present(&at.field(field).index(index), text);
        }
    }
    for (index, header) in rule.from_headers.iter().enumerate() {
        report.present(&at.field("fromHeaders").index(index).field("name"), &header.name);
    }
    for (index, output) in rule.output_claim_to_headers.iter().enumerate() {
        let at = at.field("outputClaimToHeaders");
        let at = at.index(index);
        report.present(&at.field("claim"), &output.claim);
        let simple = !output.header.is_empty()
            && output.header.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !simple {
            report.error(
                &at.field("header"),
                format!("{:?} is not a header name: use letters, digits, - and _", output.header),
            );
        }
    }
    report.duration(&at.field("timeout"), rule.timeout);
}

/// An absolute URL of HTTP with a host and perhaps a port.
pub(super) fn http_url(url: &str) -> rules::Check {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return Err(format!("{url:?} must start with https:// or http://")) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let bare = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bare {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(format!("{url:?} has no host"));
    }
    match port {
        Some(port) => rules::port(port.parse().map_err(|_| format!("{url:?} has a wrong port"))?),
        None => Ok(()),
    }
}

/// A key set as RFC 7517 has it, or a single key.
fn jwks(report: &mut Report, at: &At<'_>, text: &str) {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            report.error(at, format!("is not JSON: {error}"));
            return;
        }
    };
    let keys = match value.get("keys") {
        Some(Value::Array(keys)) => keys.clone(),
        None if value.get("kty").is_some() => vec![value],
        _ => {
            report.error(at, "is not a key set: needs a list \"keys\"");
            return;
        }
    };
    for (index, key) in keys.iter().enumerate() {
        match key.get("kty").and_then(Value::as_str) {
            None => report.error(at, format!("the key {index} has no type (kty)")),
            Some("oct") => report.warning(
                at,
                format!("the key {index} is a shared secret, which everyone who reads this can sign with"),
            ),
            Some(_) if key.get("d").is_some() => {
                report.warning(
                    at,
                    format!("the key {index} has its private part in it: remove it, only the public part is used"),
                );
            }
            Some(_) => {}
        }
    }
}
