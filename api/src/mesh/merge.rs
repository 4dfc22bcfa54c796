// SPDX-License-Identifier: Apache-2.0
//! Defaults, and how a text is laid over them: each field of MeshConfig that the text has replaces the whole field, but `defaultConfig`
//! and `defaultProviders` are taken field by field, extension providers by name, and trust domain aliases are joined.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::proxy_config::ForwardClientCertDetails;
use super::proxy_settings::ProxyHeaders;
use super::{MeshConfig, MeshNetworks, ProxyConfig};
use crate::json::{self, Dialect};
use crate::problem::{Problem, Severity};
use crate::{locate, strict};

#[allow(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
static DEFAULTS: LazyLock<MeshConfig> = LazyLock::new(|| {
    let text = include_str!("defaults.yaml");
    let value = yaml_serde::from_str(text).expect("the file is part of the program, and a test reads it");
    json::from_value(value, "", Dialect::Proto).expect("the file is part of the program, and a test reads it").0
});

impl Default for MeshConfig {
    /// Istio's defaults, not zeros.
    fn default() -> Self {
        DEFAULTS.clone()
    }
}

impl Default for ProxyConfig {
    /// Istio's defaults, not zeros.
    fn default() -> Self {
        DEFAULTS.default_config.clone().unwrap_or_else(|| unreachable!("a test asserts that the defaults have it"))
    }
}

/// Why settings could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {}{}{message}", path, if path.is_empty() { "" } else { ": " })]
pub struct SettingsError {
    /// Line in the text, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// The field; empty when the whole text is meant.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// Top-level fields, message, warnings.
type Read<T> = (Map<String, Value>, T, Vec<Problem>);

/// A text as the top-level fields of a settings message, spelled in camelCase, and as the message itself with warnings.
fn read<T: DeserializeOwned>(text: &str) -> Result<Read<T>, SettingsError> {
    let twice = strict::Twice::default();
    let value = strict::read(yaml_serde::Deserializer::from_str(text), &twice).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        SettingsError { line, column, path: String::new(), message: error.to_string() }
    })?;
    if let Some(path) = twice.into_inner().into_iter().next() {
        let (line, column) = locate::second(text, &path).unwrap_or((1, 1));
        return Err(SettingsError { line, column, path, message: strict::MESSAGE.to_owned() });
    }
    let value = if value.is_null() { Value::Object(Map::new()) } else { value };
    let (message, unknown) = json::from_value::<T>(value.clone(), "", Dialect::Proto).map_err(|error| {
        let (line, column) = locate::field(text, &error.path).unwrap_or((1, 1));
        SettingsError { line, column, path: error.path, message: error.message }
    })?;
    let warnings = unknown.into_iter().map(|path| Problem::warning(path, "unknown field: it has no effect")).collect();
    let Value::Object(map) = value else { unreachable!("a struct was read from it") };
    // Unset and null mean the same.
    let fields = map
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (json::camel_case(&key), value))
        .collect();
    Ok((fields, message, warnings))
}

/// The message with the fields in `over` replaced.
fn lay<T: Serialize + DeserializeOwned>(base: &T, over: Map<String, Value>) -> Result<T, SettingsError> {
    let wrong = |path: String, message: String| SettingsError { line: 1, column: 1, path, message };
    let mut value = json::to_value(base).map_err(|error| wrong(String::new(), error.to_string()))?;
    if let Value::Object(fields) = &mut value {
        fields.extend(over);
    }
    json::from_value(value, "", Dialect::Proto)
        .map(|(merged, _)| merged)
        .map_err(|error| wrong(error.path, error.message))
}

impl MeshConfig {
    /// These settings with those of a YAML text laid over them, and warnings about unknown fields.
    ///
    /// # Errors
    /// When the text is no YAML, a field has the wrong type, or the settings are not valid together; nothing is taken then.
    pub fn merge_yaml(&self, text: &str) -> Result<(Self, Vec<Problem>), SettingsError> {
        let (merged, mut warnings) = self.lay_yaml_over(text)?;
        for problem in merged.validate() {
            if problem.severity == Severity::Error {
                let (line, column) = locate::field(text, &problem.path).unwrap_or((1, 1));
                return Err(SettingsError { line, column, path: problem.path, message: problem.message });
            }
            warnings.push(problem);
        }
        Ok((merged, warnings))
    }

    /// The same without a judgement of the values: only what cannot be read is an error.
    ///
    /// # Errors
    /// The first place that cannot be read.
    pub fn lay_yaml_over(&self, text: &str) -> Result<(Self, Vec<Problem>), SettingsError> {
        let (mut fields, read, warnings) = read::<Self>(text)?;
        let proxy = fields.remove("defaultConfig");
        let providers = fields.remove("defaultProviders");
        fields.remove("extensionProviders");
        fields.remove("trustDomainAliases");
        let mut merged = lay(self, fields)?;
        if let Some(Value::Object(over)) = proxy {
            merged.default_config = Some(self.proxy_defaults().lay_over(over)?);
        }
        if let Some(Value::Object(over)) = providers {
            merged.default_providers = Some(lay(&self.default_providers.clone().unwrap_or_default(), over)?);
        }
        for provider in read.extension_providers {
            match merged.extension_providers.iter_mut().find(|known| known.name == provider.name) {
                Some(known) => *known = provider,
                None => merged.extension_providers.push(provider),
            }
        }
        let aliases: BTreeSet<String> =
            merged.trust_domain_aliases.drain(..).chain(read.trust_domain_aliases).collect();
        merged.trust_domain_aliases = aliases.into_iter().collect();
        Ok((merged, warnings))
    }

    /// The settings of proxies; Istio's defaults when there are none.
    pub fn proxy_defaults(&self) -> ProxyConfig {
        self.default_config.clone().unwrap_or_default()
    }

    /// The settings as JSON, without what is unset or zero. Errors are those of a shape that JSON lacks, which these settings do not have.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        json::to_value(self)
    }
}

impl ProxyConfig {
    /// These settings with those of a YAML or JSON text laid over them: of the annotation proxy.istio.io/config, say, or of the agent's
    /// PROXY_CONFIG. Metadata is joined; of the headers, what the text does not set stays.
    ///
    /// # Errors
    /// When the text is no YAML or a field has the wrong type; nothing is taken then.
    pub fn merge_yaml(&self, text: &str) -> Result<(Self, Vec<Problem>), SettingsError> {
        let (fields, _, warnings) = read::<Self>(text)?;
        Ok((self.lay_over(fields)?, warnings))
    }

    fn lay_over(&self, over: Map<String, Value>) -> Result<Self, SettingsError> {
        let mut over: Map<String, Value> = over
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (json::camel_case(&key), value))
            .collect();
        // The two stand for the same choice: the later one wins.
        if over.contains_key("tracingServiceName") {
            over.entry("serviceCluster").or_insert_with(|| Value::from(""));
        } else if over.contains_key("serviceCluster") {
            over.insert("tracingServiceName".to_owned(), Value::Null);
        }
        let mut merged = lay(self, over)?;
        let mut metadata = self.proxy_metadata.clone();
        metadata.append(&mut merged.proxy_metadata);
        merged.proxy_metadata = metadata;
        if let (Some(headers), Some(base)) = (&mut merged.proxy_headers, &self.proxy_headers) {
            keep_headers(headers, base);
        }
        Ok(merged)
    }
}

fn keep_headers(headers: &mut ProxyHeaders, base: &ProxyHeaders) {
    if headers.forwarded_client_cert == ForwardClientCertDetails::default() {
        headers.forwarded_client_cert = base.forwarded_client_cert.clone();
    }
    headers.request_id = headers.request_id.take().or_else(|| base.request_id.clone());
    headers.attempt_count = headers.attempt_count.take().or_else(|| base.attempt_count.clone());
    headers.server = headers.server.take().or_else(|| base.server.clone());
    headers.envoy_debug_headers = headers.envoy_debug_headers.take().or_else(|| base.envoy_debug_headers.clone());
}

impl MeshNetworks {
    /// Reads networks from a YAML text, with warnings about unknown fields.
    ///
    /// # Errors
    /// When the text is no YAML or a field has the wrong type.
    pub fn from_yaml(text: &str) -> Result<(Self, Vec<Problem>), SettingsError> {
        let (_, networks, warnings) = read::<Self>(text)?;
        Ok((networks, warnings))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::value::Duration;

    #[test]
    fn defaults_are_complete() {
        let mesh = MeshConfig::default();
        assert_eq!(mesh.proxy_listen_port, 15001);
        assert_eq!(mesh.protocol_detection_timeout, Some(Duration::from_secs(0)));
        assert_eq!(mesh.default_config.as_ref(), Some(&ProxyConfig::default()));
        assert_eq!(ProxyConfig::default().status_port, 15020);
        let text = serde_json::to_string(&mesh.to_json().unwrap()).unwrap();
        let zeros: MeshConfig = json::from_value(json!({}), "", Dialect::Proto).unwrap().0;
        assert_eq!(zeros.merge_yaml(&text).unwrap().0, mesh);
    }

    #[test]
    fn fields_are_replaced_and_proxy_settings_joined() {
        let first = MeshConfig::default()
            .merge_yaml("defaultConfig: {proxyMetadata: {A: '1'}, tracing: {sampling: 5, zipkin: {address: z:1}}}\ntrust_domain_aliases: [b]")
            .unwrap()
            .0;
        let (mesh, warnings) = first
            .merge_yaml(
                "enableTracing: false\nlocalityLbSetting: {failoverPriority: [a]}\ntrustDomainAliases: [a]\nnew: 1\n\
                 defaultConfig: {proxyMetadata: {B: '2'}, tracing: {sampling: 7}}\ndefaultProviders: {metrics: [prometheus]}\n\
                 extensionProviders: [{name: envoy, envoyFileAccessLog: {path: /x}}, {name: z, zipkin: {service: z, port: '9411'}}]",
            )
            .unwrap();
        assert!(!mesh.enable_tracing);
        assert_eq!(mesh.locality_lb_setting.unwrap().enabled, None);
        assert_eq!(mesh.trust_domain_aliases, ["a", "b"]);
        let proxy = mesh.default_config.unwrap();
        assert_eq!(proxy.status_port, 15020);
        assert_eq!(proxy.proxy_metadata.len(), 2);
        assert_eq!(proxy.tracing.unwrap().zipkin, None);
        let names: Vec<_> = mesh.extension_providers.iter().map(|provider| provider.name.as_str()).collect();
        assert_eq!(names, ["prometheus", "stackdriver", "envoy", "z"]);
        assert_eq!(mesh.extension_providers[2].envoy_file_access_log.as_ref().unwrap().path, "/x");
        assert_eq!(mesh.extension_providers[3].zipkin.as_ref().unwrap().port, 9411);
        assert_eq!(warnings, [Problem::warning("new", "unknown field: it has no effect")]);
    }

    #[test]
    fn headers_that_are_not_set_stay() {
        let base = ProxyConfig::default()
            .merge_yaml("proxyHeaders: {server: {value: x}, forwardedClientCert: SANITIZE}")
            .unwrap()
            .0;
        let headers = base.merge_yaml("proxyHeaders: {requestId: {disabled: true}}").unwrap().0.proxy_headers.unwrap();
        assert_eq!(headers.server.unwrap().value, "x");
        assert_eq!(headers.request_id.unwrap().disabled, Some(true));
        assert_eq!(headers.forwarded_client_cert, ForwardClientCertDetails::Sanitize);
    }

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        let error =
            MeshConfig::default().merge_yaml("accessLogFile: x\ndefaultConfig:\n  statusPort: [1]\n").unwrap_err();
        assert_eq!(error.to_string(), "3:3: defaultConfig.statusPort: expected a whole number, found a list");
        assert!(MeshConfig::default().merge_yaml("a: [").is_err());
        assert!(MeshConfig::default().merge_yaml("").unwrap().0 == MeshConfig::default());
    }
}
