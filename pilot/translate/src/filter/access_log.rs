// SPDX-License-Identifier: Apache-2.0
//! Access logs of HTTP requests, TCP connections and listeners
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>).

use super::struct_of;
use prost::{Message, Name};
use tiphys_model::{AccessLog as Log, LogFormat, LogService, LogSink, Str};
use tiphys_proto::envoy::config::accesslog::v3::{
    AccessLog, AccessLogFilter, AndFilter, ExtensionFilter, ResponseFlagFilter, access_log,
    access_log_filter::FilterSpecifier, extension_filter,
};
use tiphys_proto::envoy::config::core::v3::{
    ApiVersion, DataSource, GrpcService, JsonFormatOptions, SubstitutionFormatString, TypedExtensionConfig,
    data_source::Specifier, grpc_service, substitution_format_string::Format,
};
use tiphys_proto::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat};
use tiphys_proto::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use tiphys_proto::envoy::extensions::access_loggers::grpc::v3::{
    CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig,
};
use tiphys_proto::envoy::extensions::access_loggers::open_telemetry::v3::OpenTelemetryAccessLogConfig;
use tiphys_proto::envoy::extensions::formatter::req_without_query::v3::ReqWithoutQuery;
use tiphys_proto::opentelemetry::proto::common::v1::{AnyValue, KeyValue, KeyValueList, any_value};
use tiphys_proto::to_any;

/// The line of a text log when no format is given.
pub const DEFAULT_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% ",
    "%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% ",
    "%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% ",
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
);

/// The fields of a JSON log when no format is given.
const DEFAULT_JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// Filter state with what is known of both peers.
const PEER_STATE: [&str; 2] = ["upstream_peer", "downstream_peer"];
/// The same with the names that older proxies use.
const PEER_STATE_ALL: [&str; 6] = [
    "upstream_peer",
    "downstream_peer",
    "wasm.upstream_peer",
    "wasm.upstream_peer_id",
    "wasm.downstream_peer",
    "wasm.downstream_peer_id",
];

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// HTTP requests.
    Http,
    /// TCP connections.
    Tcp,
    /// Connections that no filter chain of a listener takes.
    Listener,
}

/// The access logs of a subject.
pub fn build(logs: &[Log], subject: Subject) -> Vec<AccessLog> {
    logs.iter().map(|log| one(log, subject)).collect()
}

fn one(log: &Log, subject: Subject) -> AccessLog {
    let (name, config) = sink(&log.sink, subject);
    let no_route = (subject == Subject::Listener).then(|| AccessLogFilter {
        filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags: vec!["NR".into()] })),
    });
    let filters: Vec<AccessLogFilter> = no_route.into_iter().chain(cel(&log.filter)).collect();
    AccessLog {
        name: name.into(),
        filter: all_of(filters),
        config_type: Some(access_log::ConfigType::TypedConfig(config)),
    }
}

fn all_of(mut filters: Vec<AccessLogFilter>) -> Option<AccessLogFilter> {
    if filters.len() > 1 {
        return Some(AccessLogFilter { filter_specifier: Some(FilterSpecifier::AndFilter(AndFilter { filters })) });
    }
    filters.pop()
}

fn cel(expression: &Str) -> Option<AccessLogFilter> {
    let config = ExpressionFilter { expression: expression.to_string(), ..ExpressionFilter::default() };
    let filter = ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".into(),
        config_type: Some(extension_filter::ConfigType::TypedConfig(to_any(&config))),
    };
    (!expression.is_empty())
        .then_some(AccessLogFilter { filter_specifier: Some(FilterSpecifier::ExtensionFilter(filter)) })
}

type Named = (&'static str, tiphys_proto::google::protobuf::Any);

const HTTP_GRPC: &str = "envoy.access_loggers.http_grpc";
const TCP_GRPC: &str = "envoy.tcp_grpc_access_log";

fn named<M: Message + Name>(name: &'static str, config: &M) -> Named {
    (name, to_any(config))
}

fn sink(sink: &LogSink, subject: Subject) -> Named {
    match sink {
        LogSink::File { path, format, omit_empty } => file(path, format, *omit_empty),
        LogSink::BootstrapService => bootstrap_service(subject),
        LogSink::HttpService(service) => {
            let text = |list: &[Str]| list.iter().map(ToString::to_string).collect();
            let config = HttpGrpcAccessLogConfig {
                common_config: Some(common(service, &PEER_STATE)),
                additional_request_headers_to_log: text(&service.request_headers),
                additional_response_headers_to_log: text(&service.response_headers),
                additional_response_trailers_to_log: text(&service.response_trailers),
            };
            named(HTTP_GRPC, &config)
        }
        LogSink::TcpService(service) => {
            named(TCP_GRPC, &TcpGrpcAccessLogConfig { common_config: Some(common(service, &PEER_STATE)) })
        }
        LogSink::OpenTelemetry { service, body, attributes } => open_telemetry(service, body, attributes),
    }
}

fn bootstrap_service(subject: Subject) -> Named {
    let name = match subject {
        Subject::Http => "http_envoy_accesslog",
        Subject::Tcp => "tcp_envoy_accesslog",
        Subject::Listener => "listener_envoy_accesslog",
    };
    let service = LogService { cluster: "envoy_accesslog_service".into(), name: name.into(), ..LogService::default() };
    let common_config = Some(common(&service, &PEER_STATE_ALL));
    match subject {
        Subject::Http => {
            named(HTTP_GRPC, &HttpGrpcAccessLogConfig { common_config, ..HttpGrpcAccessLogConfig::default() })
        }
        Subject::Tcp | Subject::Listener => named(TCP_GRPC, &TcpGrpcAccessLogConfig { common_config }),
    }
}

fn common(service: &LogService, default_state: &[&str]) -> CommonGrpcAccessLogConfig {
    let state: Vec<String> = match &service.filter_state[..] {
        [] => default_state.iter().map(ToString::to_string).collect(),
        given => given.iter().map(ToString::to_string).collect(),
    };
    CommonGrpcAccessLogConfig {
        log_name: service.name.to_string(),
        grpc_service: Some(GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
                cluster_name: service.cluster.to_string(),
                authority: service.authority.to_string(),
                ..grpc_service::EnvoyGrpc::default()
            })),
            ..GrpcService::default()
        }),
        transport_api_version: ApiVersion::V3.into(),
        filter_state_objects_to_log: state,
        ..CommonGrpcAccessLogConfig::default()
    }
}

fn file(path: &str, format: &LogFormat, omit_empty_values: bool) -> Named {
    let format = match format {
        LogFormat::Text(text) => {
            let text = line(text);
            let formatters = formatters(&[&text]);
            let source = DataSource { specifier: Some(Specifier::InlineString(text)), ..DataSource::default() };
            SubstitutionFormatString {
                format: Some(Format::TextFormatSource(source)),
                formatters,
                omit_empty_values,
                ..SubstitutionFormatString::default()
            }
        }
        LogFormat::Json(fields) => {
            let fields = fields.clone().filter(|fields| fields.as_object().is_some_and(|map| !map.is_empty()));
            let fields = fields.unwrap_or_else(default_json);
            let texts: Vec<&str> = fields
                .as_object()
                .into_iter()
                .flat_map(|map| map.values())
                .filter_map(|value| value.as_str())
                .collect();
            SubstitutionFormatString {
                formatters: formatters(&texts),
                format: struct_of(&fields).map(Format::JsonFormat),
                json_format_options: Some(JsonFormatOptions::default()),
                omit_empty_values,
                ..SubstitutionFormatString::default()
            }
        }
    };
    let config = FileAccessLog { path: path.into(), access_log_format: Some(AccessLogFormat::LogFormat(format)) };
    named("envoy.access_loggers.file", &config)
}

fn default_json() -> serde_json::Value {
    serde_json::Value::Object(DEFAULT_JSON.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
}

/// Each line ends, whether the format says so or not.
fn line(text: &str) -> String {
    match text {
        "" => DEFAULT_TEXT.into(),
        text if text.ends_with('\n') => text.into(),
        text => format!("{text}\n"),
    }
}

/// The extensions that commands of a format need.
fn formatters(texts: &[&str]) -> Vec<TypedExtensionConfig> {
    let wanted = texts.iter().any(|text| text.contains("%REQ_WITHOUT_QUERY"));
    let extension = || TypedExtensionConfig {
        name: "envoy.formatter.req_without_query".into(),
        typed_config: Some(to_any(&ReqWithoutQuery::default())),
    };
    wanted.then(extension).into_iter().collect()
}

fn open_telemetry(service: &LogService, body: &str, attributes: &[(Str, Str)]) -> Named {
    let text = |value: &str| AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    let body = if body.is_empty() { DEFAULT_TEXT } else { body };
    let values = attributes
        .iter()
        .map(|(key, value)| KeyValue { key: key.to_string(), value: Some(text(value)), ..KeyValue::default() })
        .collect();
    let texts: Vec<&str> = std::iter::once(body).chain(attributes.iter().map(|(_, value)| &**value)).collect();
    // The proxies of every version that is supported still take the service from here.
    #[allow(deprecated)]
    let config = OpenTelemetryAccessLogConfig {
        common_config: Some(common(service, &PEER_STATE_ALL)),
        disable_builtin_labels: true,
        body: Some(text(body)),
        attributes: (!attributes.is_empty()).then_some(KeyValueList { values }),
        formatters: formatters(&texts),
        ..OpenTelemetryAccessLogConfig::default()
    };
    named("envoy.access_loggers.open_telemetry", &config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn render(sink: LogSink, subject: Subject) -> Value {
        let logs = build(&[Log { sink, filter: "".into() }], subject);
        tiphys_proto::to_json(&to_any(&logs[0])).unwrap()
    }

    #[test]
    fn lines_end_and_formatters_come_by_need() {
        let format = LogFormat::Text("%REQ_WITHOUT_QUERY(:PATH)%".into());
        let log = render(LogSink::File { path: "/dev/stdout".into(), format, omit_empty: false }, Subject::Http);
        let format = &log["typedConfig"]["logFormat"];
        assert_eq!(format["textFormatSource"]["inlineString"], "%REQ_WITHOUT_QUERY(:PATH)%\n");
        assert_eq!(format["formatters"][0]["name"], "envoy.formatter.req_without_query");
    }

    #[test]
    fn listeners_log_what_no_chain_takes() {
        let file = LogSink::File { path: "/dev/stdout".into(), format: LogFormat::Json(None), omit_empty: false };
        let log = render(file, Subject::Listener);
        assert_eq!(log["filter"], json!({"responseFlagFilter": {"flags": ["NR"]}}));
        assert_eq!(log["typedConfig"]["logFormat"]["jsonFormat"]["protocol"], "%PROTOCOL%");
    }

    #[test]
    fn the_bootstrap_service_is_of_http_or_tcp() {
        assert_eq!(render(LogSink::BootstrapService, Subject::Http)["name"], HTTP_GRPC);
        assert_eq!(render(LogSink::BootstrapService, Subject::Tcp)["name"], TCP_GRPC);
    }
}
