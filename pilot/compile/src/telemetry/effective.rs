// SPDX-License-Identifier: Apache-2.0
//! What a proxy reports, after all that speaks for it was merged.

use crate::Snapshot;
use tiphys_model::{AccessLog, LogSink, ProxyConfig, ProxyNode, Reporting, Str, Telemetry, TelemetrySettings, Tracing};

/// What a proxy of a configuration reports.
pub fn effective(snapshot: &Snapshot, _: &ProxyNode, config: &ProxyConfig) -> Telemetry {
    let settings = &snapshot.mesh.telemetry;
    let side = Reporting {
        logs: fallback_logs(settings),
        tracing: settings.tracing.then(|| fallback_tracing(settings, config)),
        metrics: Vec::new(),
    };
    Telemetry { client: side.clone(), server: side, listener_logs: settings.listener_logs }
}

/// Access logs where no provider is named.
fn fallback_logs(settings: &TelemetrySettings) -> Vec<AccessLog> {
    let file = (!settings.log_file.is_empty()).then(|| LogSink::File {
        path: settings.log_file.clone(),
        format: settings.log_format.clone(),
        omit_empty: false,
    });
    let service = settings.log_service.then_some(LogSink::BootstrapService);
    file.into_iter().chain(service).map(|sink| AccessLog { sink, filter: Str::default() }).collect()
}

/// Spans where no provider is named: what the bootstrap says of them counts.
fn fallback_tracing(settings: &TelemetrySettings, config: &ProxyConfig) -> Tracing {
    let own = &config.tracing;
    Tracing {
        provider: None,
        sampling: own.sampling.unwrap_or(settings.trace_sampling),
        istio_tags: own.istio_tags.unwrap_or(true),
        custom_tags: own.custom_tags.clone(),
        max_path_tag_length: own.max_path_tag_length,
        request_id_sampling: true,
        no_context_propagation: false,
    }
}
