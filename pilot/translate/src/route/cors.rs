// SPDX-License-Identifier: Apache-2.0
//! Cross-origin policies.

use super::fault::runtime_fraction;
use super::matching::string_matcher;
use tiphys_model::{Cors, Share, Str};
use tiphys_proto::boolean;
use tiphys_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy;

/// The CORS filter's configuration for one route.
pub(super) fn cors(cors: &Cors) -> CorsPolicy {
    CorsPolicy {
        allow_origin_string_match: cors.origins.iter().filter_map(string_matcher).collect(),
        allow_methods: join(&cors.methods),
        allow_headers: join(&cors.headers),
        expose_headers: join(&cors.expose),
        max_age: cors.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: cors.credentials.and_then(boolean),
        filter_enabled: Some(runtime_fraction(Share::ALL)),
        forward_not_matching_preflights: boolean(cors.forward_unmatched),
        ..CorsPolicy::default()
    }
}

fn join(list: &[Str]) -> String {
    list.join(",")
}
