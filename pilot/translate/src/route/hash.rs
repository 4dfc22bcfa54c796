// SPDX-License-Identifier: Apache-2.0
//! What of a request decides which endpoint it goes to.

use tiphys_model::HashKey;
use tiphys_proto::duration;
use tiphys_proto::envoy::config::route::v3::route_action::HashPolicy;
use tiphys_proto::envoy::config::route::v3::route_action::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
};

/// The hash policy of a destination; none when nothing is hashed.
pub(super) fn policy(key: &HashKey) -> Option<HashPolicy> {
    let specifier = match key {
        HashKey::None => return None,
        HashKey::Header(name) => PolicySpecifier::Header(Header { header_name: name.to_string(), ..Header::default() }),
        HashKey::Cookie(cookie) => PolicySpecifier::Cookie(Cookie {
            name: cookie.name.to_string(),
            ttl: cookie.ttl.and_then(duration),
            path: cookie.path.to_string(),
            attributes: cookie
                .attributes
                .iter()
                .map(|(name, value)| CookieAttribute { name: name.to_string(), value: value.to_string() })
                .collect(),
        }),
        HashKey::SourceIp => PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }),
        HashKey::QueryParameter(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() }),
    };
    Some(HashPolicy { policy_specifier: Some(specifier), terminal: false })
}
