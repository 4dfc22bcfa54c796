// SPDX-License-Identifier: Apache-2.0
//! Traces in ProxyConfig; the Telemetry API with extension providers is the newer way (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#Tracing>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::tls::ClientTlsSettings;
use crate::value::open_enum;

/// Traces. One of the first five fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// To Zipkin.
    pub zipkin: Option<Zipkin>,
    /// To Lightstep; gone.
    pub lightstep: Option<Lightstep>,
    /// To Datadog.
    pub datadog: Option<Datadog>,
    /// To Stackdriver.
    pub stackdriver: Option<Stackdriver>,
    /// To OpenCensus; gone.
    pub open_census_agent: Option<OpenCensusAgent>,
    /// Further tags by name.
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Characters of a path in a span at most; 0 means 256.
    pub max_path_tag_length: u32,
    /// Share of the requests, in percent; 0 means 1, or what the settings say.
    pub sampling: f64,
    /// TLS to the tracing service.
    pub tls_settings: Option<ClientTlsSettings>,
    /// Adds the mesh's own tags; unset means yes.
    pub enable_istio_tags: Option<bool>,
}

/// Zipkin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Zipkin {
    /// Its address, as host:port.
    pub address: String,
}

/// Lightstep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lightstep {
    /// Its address, as host:port.
    pub address: String,
    /// Its token.
    pub access_token: String,
}

/// Datadog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Datadog {
    /// Its address, as host:port.
    pub address: String,
}

/// Stackdriver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stackdriver {
    /// Logs traces too.
    pub debug: bool,
    /// Attributes of a span at most.
    pub max_number_of_attributes: Option<i64>,
    /// Annotations of a span at most.
    pub max_number_of_annotations: Option<i64>,
    /// Events of a span at most.
    pub max_number_of_message_events: Option<i64>,
}

/// OpenCensus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenCensusAgent {
    /// Its address.
    pub address: String,
    /// Headers that carry the context.
    pub context: Vec<TraceContext>,
}

open_enum! {
    /// Headers that carry a trace's context.
    pub enum TraceContext {
        /// None.
        Unspecified = "UNSPECIFIED" | 0,
        /// W3C's.
        W3cTraceContext = "W3C_TRACE_CONTEXT" | 1,
        /// gRPC's.
        GrpcBin = "GRPC_BIN" | 2,
        /// Google Cloud's.
        CloudTraceContext = "CLOUD_TRACE_CONTEXT" | 3,
        /// B3's.
        B3 = "B3" | 4,
    }
}

/// Where a tag's value comes from; one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTag {
    /// A fixed value.
    pub literal: Option<Literal>,
    /// The proxy's environment.
    pub environment: Option<Environment>,
    /// A request header.
    pub header: Option<RequestHeader>,
}

/// A fixed value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Literal {
    /// The value.
    pub value: String,
}

/// A variable of the proxy's environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// The value when it is not there.
    pub default_value: String,
}

/// A request header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestHeader {
    /// Its name.
    pub name: String,
    /// The value when it is not there.
    pub default_value: String,
}
