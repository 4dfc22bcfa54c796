// SPDX-License-Identifier: Apache-2.0
//! Mutual TLS of the mesh. Its context is by far the largest part of most clusters, and all of it but the SNI and the names of the
//! server is the same everywhere: that part is encoded once, and the rest is put after it. (Fields of an encoded message may come in
//! any order.)

use super::{parameters, validation};
use crate::sds;
use prost::Message;
use std::sync::LazyLock;
use tiphys_model::Str;
use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, UpstreamTlsContext, common_tls_context::CombinedCertificateValidationContext,
};
use tiphys_proto::google::protobuf::Any;
use tiphys_proto::type_url;

/// Field numbers of envoy.extensions.transport_sockets.tls.v3.
mod field {
    pub(super) const UPSTREAM_COMMON: u8 = 1;
    pub(super) const UPSTREAM_SNI: u8 = 2;
    pub(super) const COMMON_COMBINED_VALIDATION: u8 = 8;
    pub(super) const COMBINED_DEFAULT: u8 = 1;
}

/// The application protocols that are offered. `istio` tells servers that the connection is of the mesh, `istio-peer-exchange` that
/// workloads tell each other who they are, which takes a filter of Istio's own proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    /// Istio's proxy; a filter of it puts in the protocol of each request.
    Istio,
    /// The same, HTTP/2 alone.
    IstioHttp2,
    /// Upstream Envoy, no HTTP or unknown.
    Plain,
    /// Upstream Envoy, HTTP/1.1: servers are told here what the filter would tell them.
    PlainHttp,
    /// Upstream Envoy, HTTP/2.
    PlainHttp2,
}

impl Alpn {
    const ALL: [Self; 5] = [Self::Istio, Self::IstioHttp2, Self::Plain, Self::PlainHttp, Self::PlainHttp2];

    /// What a proxy offers.
    pub(super) fn of(istio_filters: bool, http2: bool, http: bool) -> Self {
        match (istio_filters, http2, http) {
            (true, true, _) => Self::IstioHttp2,
            (true, false, _) => Self::Istio,
            (false, true, _) => Self::PlainHttp2,
            (false, false, true) => Self::PlainHttp,
            (false, false, false) => Self::Plain,
        }
    }

    fn protocols(self) -> &'static [&'static str] {
        match self {
            Self::Istio => &["istio-peer-exchange", "istio"],
            Self::IstioHttp2 => &["istio-peer-exchange", "istio", "h2"],
            Self::Plain => &["istio"],
            Self::PlainHttp => &["istio-http/1.1", "istio", "http/1.1"],
            Self::PlainHttp2 => &["istio-h2", "istio", "h2"],
        }
    }
}

/// What is encoded once.
struct Constant {
    /// CommonTlsContext less its validation, in the order of [`Alpn::ALL`].
    common: [Vec<u8>; Alpn::ALL.len()],
    /// CombinedCertificateValidationContext less the names.
    validation: Vec<u8>,
    type_url: String,
}

static CONSTANT: LazyLock<Constant> = LazyLock::new(|| Constant {
    common: Alpn::ALL.map(|alpn| common(alpn).encode_to_vec()),
    validation: root().encode_to_vec(),
    type_url: type_url::<UpstreamTlsContext>(),
});

fn common(alpn: Alpn) -> CommonTlsContext {
    CommonTlsContext {
        tls_params: Some(parameters()),
        alpn_protocols: alpn.protocols().iter().map(ToString::to_string).collect(),
        tls_certificate_sds_secret_configs: vec![sds::of_mesh(sds::WORKLOAD_CERTIFICATE)],
        ..CommonTlsContext::default()
    }
}

fn root() -> CombinedCertificateValidationContext {
    CombinedCertificateValidationContext {
        validation_context_sds_secret_config: Some(sds::of_mesh(sds::MESH_ROOT)),
        ..CombinedCertificateValidationContext::default()
    }
}

/// The packed UpstreamTlsContext of mutual TLS with a service whose workloads have these names.
pub(super) fn context(alpn: Alpn, sni: &str, names: &[Str]) -> Any {
    let constant = &*CONSTANT;
    let mut combined = Vec::with_capacity(constant.validation.len() + 64 * names.len() + 8);
    append(&mut combined, field::COMBINED_DEFAULT, &[&validation(names).encode_to_vec()]);
    let head = &constant.common[alpn as usize];
    let mut validation = Vec::with_capacity(combined.len() + constant.validation.len() + 8);
    append(&mut validation, field::COMMON_COMBINED_VALIDATION, &[&combined, &constant.validation]);
    let mut value = Vec::with_capacity(head.len() + validation.len() + sni.len() + 16);
    append(&mut value, field::UPSTREAM_COMMON, &[head, &validation]);
    append(&mut value, field::UPSTREAM_SNI, &[sni.as_bytes()]);
    Any { type_url: constant.type_url.clone(), value: value.into() }
}

/// Appends a field that is a message or a text, given in parts. Field numbers here are below 16, so that a tag is one byte.
fn append(out: &mut Vec<u8>, field: u8, parts: &[&[u8]]) {
    const LENGTH_DELIMITED: u8 = 2;
    out.push(field << 3 | LENGTH_DELIMITED);
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    while length >= 0x80 {
        // The mask keeps it below 256.
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    // Below 128 after the loop.
    out.push(length as u8);
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
    use tiphys_proto::to_any;

    #[test]
    fn the_parts_make_the_message() {
        for alpn in Alpn::ALL {
            for names in [vec![], vec![Str::from("spiffe://d/ns/a/sa/b"), "x".repeat(300).as_str().into()]] {
                let mut combined = root();
                combined.default_validation_context = Some(validation(&names));
                let mut common = common(alpn);
                common.validation_context_type = Some(ValidationContextType::CombinedValidationContext(combined));
                let whole = UpstreamTlsContext {
                    common_tls_context: Some(common),
                    sni: "outbound_.80_._.a".into(),
                    ..UpstreamTlsContext::default()
                };
                let made = context(alpn, "outbound_.80_._.a", &names);
                assert_eq!(made.type_url, to_any(&whole).type_url);
                assert_eq!(UpstreamTlsContext::decode(&made.value[..]).unwrap(), whole);
            }
        }
    }
}
