// SPDX-License-Identifier: Apache-2.0
//! The HTTP protocol spoken to a cluster: what its port says, what a rule upgrades it to, and the limits of it.

use prost::Name;
use std::collections::BTreeMap;
use tiphys_model::{H2Upgrade, HttpPool, Protocol, ProxyType};
use tiphys_proto::envoy::config::common::matcher::v3::{HttpHeadersMatch, MatchPredicate, match_predicate};
use tiphys_proto::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions, KeepaliveSettings,
    TypedExtensionConfig, UpstreamHttpProtocolOptions, http1_protocol_options,
};
use tiphys_proto::envoy::config::route::v3::{HeaderMatcher, header_matcher};
use tiphys_proto::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use tiphys_proto::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options};
use tiphys_proto::envoy::r#type::matcher::v3::{StringMatcher, string_matcher};
use tiphys_proto::google::protobuf::Any;
use tiphys_proto::{duration, to_any, uint32};

use http_protocol_options::explicit_http_config::ProtocolConfig;
use http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig};

/// What is said about HTTP to a cluster; nothing is written when nothing was said.
#[derive(Clone, Debug, Default)]
pub(super) struct HttpOptions(Option<Box<HttpProtocolOptions>>);

impl HttpOptions {
    /// The options, made when first needed.
    fn get(&mut self) -> &mut HttpProtocolOptions {
        self.0.get_or_insert_with(Box::default)
    }

    /// Whether HTTP/2 is always spoken.
    pub(super) fn is_http2(&self) -> bool {
        let options = self.0.as_ref().and_then(|o| o.upstream_protocol_options.as_ref());
        matches!(
            options,
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(_)),
            }))
        )
    }

    fn http2(&mut self) -> Option<&mut Http2ProtocolOptions> {
        match self.0.as_mut()?.upstream_protocol_options.as_mut()? {
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(options)),
            }) => Some(options),
            _ => None,
        }
    }

    /// Always HTTP/2, unless another protocol was set before.
    pub(super) fn set_http2(&mut self) {
        self.get()
            .upstream_protocol_options
            .get_or_insert_with(|| explicit(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())));
    }

    /// The protocol of the request as the proxy got it.
    pub(super) fn set_downstream(&mut self) {
        let http1 = match self.get().upstream_protocol_options.take() {
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::HttpProtocolOptions(options)),
            })) => options,
            _ => Http1ProtocolOptions::default(),
        };
        self.get().upstream_protocol_options = Some(downstream(http1));
    }

    /// What the port's protocol asks for. Only proxies beside workloads sniff, so that only they follow the client's protocol.
    pub(super) fn set_port(&mut self, protocol: Protocol, kind: ProxyType, preserve_case: bool) {
        if protocol.is_http2() {
            self.set_http2();
            return;
        }
        if preserve_case && (protocol.is_http() || protocol.is_unsupported()) {
            self.get().upstream_protocol_options =
                Some(explicit(ProtocolConfig::HttpProtocolOptions(preserving_case())));
        }
        if protocol.is_unsupported() && kind != ProxyType::Router {
            self.set_downstream();
        }
    }

    /// Upgrades HTTP/1.1 to HTTP/2 where the rule or, for ports that are known to be HTTP, the mesh says so.
    pub(super) fn upgrade(&mut self, pool: Option<&HttpPool>, mesh: bool, protocol: Protocol) {
        let upgraded = match pool {
            Some(pool) if pool.use_client_protocol || pool.h2_upgrade == H2Upgrade::Never => false,
            Some(pool) if pool.h2_upgrade == H2Upgrade::Always => true,
            _ => mesh && protocol.is_http(),
        };
        if upgraded {
            self.set_http2();
        }
    }

    /// The limits of a connection pool.
    pub(super) fn limit(&mut self, limits: &Limits) {
        if *limits != Limits::default() {
            let common = self.get().common_http_protocol_options.get_or_insert_default();
            common.idle_timeout = limits.idle_timeout.and_then(duration);
            common.max_connection_duration = limits.max_connection_duration.and_then(duration);
            if limits.max_requests_per_connection > 0 {
                common.max_requests_per_connection = uint32(limits.max_requests_per_connection);
            }
            if let Some(http2) = self.http2() {
                if limits.max_concurrent_streams > 0 {
                    http2.max_concurrent_streams = uint32(limits.max_concurrent_streams);
                }
                if let Some((interval, timeout)) = limits.keepalive {
                    http2.connection_keepalive = Some(KeepaliveSettings {
                        interval: interval.and_then(duration),
                        timeout: timeout.and_then(duration),
                        ..KeepaliveSettings::default()
                    });
                }
            }
        }
    }

    /// SNI, and the name that the server's certificate must have, from the request's host.
    pub(super) fn set_auto(&mut self, sni: bool, san_validation: bool) {
        if sni || san_validation {
            let upstream: &mut UpstreamHttpProtocolOptions =
                self.get().upstream_http_protocol_options.get_or_insert_default();
            upstream.auto_sni |= sni;
            upstream.auto_san_validation |= san_validation;
        }
    }

    /// The status codes that count as failures.
    pub(super) fn set_error_codes(&mut self, codes: &[u32]) {
        let rule = |code: &u32| {
            let exact = string_matcher::MatchPattern::Exact(code.to_string());
            let header = HeaderMatcher {
                name: ":status".into(),
                header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(StringMatcher {
                    match_pattern: Some(exact),
                    ..StringMatcher::default()
                })),
                ..HeaderMatcher::default()
            };
            MatchPredicate {
                rule: Some(match_predicate::Rule::HttpResponseHeadersMatch(HttpHeadersMatch { headers: vec![header] })),
            }
        };
        let mut rules: Vec<MatchPredicate> = codes.iter().map(rule).collect();
        let predicate = match rules.len() {
            0 => return,
            1 => rules.swap_remove(0),
            _ => MatchPredicate { rule: Some(match_predicate::Rule::OrMatch(match_predicate::MatchSet { rules })) },
        };
        self.get().outlier_detection = Some(http_protocol_options::OutlierDetection { error_matcher: Some(predicate) });
    }

    /// Writes the options as a cluster carries them. Envoy requires a protocol as soon as anything is said.
    pub(super) fn finish(self) -> BTreeMap<String, Any> {
        let Some(mut options) = self.0 else { return BTreeMap::new() };
        options
            .upstream_protocol_options
            .get_or_insert_with(|| explicit(ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())));
        packed(&options)
    }
}

/// Limits of a connection pool that HTTP options carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) idle_timeout: Option<std::time::Duration>,
    pub(super) max_connection_duration: Option<std::time::Duration>,
    pub(super) max_requests_per_connection: u32,
    pub(super) max_concurrent_streams: u32,
    pub(super) keepalive: Option<(Option<std::time::Duration>, Option<std::time::Duration>)>,
}

/// The options of clusters that send on whatever comes.
pub(super) fn passthrough(preserve_case: bool) -> BTreeMap<String, Any> {
    let http1 = if preserve_case { preserving_case() } else { Http1ProtocolOptions::default() };
    packed(&HttpProtocolOptions {
        common_http_protocol_options: Some(CommonOptions {
            idle_timeout: duration(std::time::Duration::from_mins(5)),
            ..CommonOptions::default()
        }),
        upstream_protocol_options: Some(downstream(http1)),
        ..HttpProtocolOptions::default()
    })
}

fn packed(options: &HttpProtocolOptions) -> BTreeMap<String, Any> {
    BTreeMap::from([(HttpProtocolOptions::full_name(), to_any(options))])
}

fn explicit(protocol: ProtocolConfig) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(protocol) })
}

fn downstream(http1: Http1ProtocolOptions) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
        http_protocol_options: Some(http1),
        http2_protocol_options: Some(Http2ProtocolOptions::default()),
        ..UseDownstreamHttpConfig::default()
    })
}

fn preserving_case() -> Http1ProtocolOptions {
    let formatter = TypedExtensionConfig {
        name: "preserve_case".into(),
        typed_config: Some(to_any(&PreserveCaseFormatterConfig::default())),
    };
    Http1ProtocolOptions {
        header_key_format: Some(http1_protocol_options::HeaderKeyFormat {
            header_format: Some(http1_protocol_options::header_key_format::HeaderFormat::StatefulFormatter(formatter)),
        }),
        ..Http1ProtocolOptions::default()
    }
}
