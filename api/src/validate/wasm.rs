// SPDX-License-Identifier: Apache-2.0
//! WasmPlugin and TrafficExtension.

use std::collections::BTreeSet;

use super::report::{At, Report};
use super::selector::{self, Targets};
use crate::istio::extensions::wasm_plugin::{EnvValueSource, VmConfig};
use crate::istio::extensions::{TrafficExtension, WasmPlugin};

/// What both kinds say of a module.
struct Module<'a> {
    url: &'a str,
    sha256: &'a str,
    image_pull_secret: &'a str,
    plugin_name: &'a str,
    vm_config: Option<&'a VmConfig>,
}

pub(super) fn plugin(report: &mut Report, at: &At<'_>, spec: &WasmPlugin) {
    selector::targets(
        report,
        at,
        &Targets {
            selector: spec.selector.as_ref(),
            target_ref: spec.target_ref.as_ref(),
            target_refs: &spec.target_refs,
        },
    );
    let WasmPlugin { url, sha256, image_pull_secret, plugin_name, vm_config, .. } = spec;
    module(report, at, &Module { url, sha256, image_pull_secret, plugin_name, vm_config: vm_config.as_ref() });
    for (index, matched) in spec.r#match.iter().enumerate() {
        selector::ports(report, &at.field("match").index(index), &matched.ports);
    }
}

pub(super) fn extension(report: &mut Report, at: &At<'_>, spec: &TrafficExtension) {
    selector::targets(
        report,
        at,
        &Targets { selector: spec.selector.as_ref(), target_ref: None, target_refs: &spec.target_refs },
    );
    report.exactly_one(at, &[("wasm", spec.wasm.is_some()), ("lua", spec.lua.is_some())]);
    if let Some(wasm) = &spec.wasm {
        let module = Module {
            url: &wasm.url,
            sha256: &wasm.sha256,
            image_pull_secret: &wasm.image_pull_secret,
            plugin_name: &wasm.plugin_name,
            vm_config: wasm.vm_config.as_ref(),
        };
        self::module(report, &at.field("wasm"), &module);
    }
    if let Some(lua) = &spec.lua {
        let at = at.field("lua");
        report.present(&at.field("inlineCode"), &lua.inline_code);
        length(report, &at.field("inlineCode"), &lua.inline_code, 65536);
    }
    for (index, matched) in spec.r#match.iter().enumerate() {
        selector::ports(report, &at.field("match").index(index), &matched.ports);
    }
}

fn length(report: &mut Report, at: &At<'_>, text: &str, most: usize) {
    if text.len() > most {
        report.error(at, format!("is longer than {most} characters"));
    }
}

fn module(report: &mut Report, at: &At<'_>, module: &Module<'_>) {
    let url = at.field("url");
    report.present(&url, module.url);
    if let Some((scheme, _)) = module.url.split_once("://")
        && !["oci", "http", "https", "file"].contains(&scheme)
    {
        report.error(&url, format!("{scheme:?} is not a scheme that works: use oci, https, http or file"));
    }
    if module.url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        report.error(&url, format!("{:?} is not a URL", module.url));
    }
    let hex =
        module.sha256.len() == 64 && module.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !module.sha256.is_empty() && !hex {
        report.error(&at.field("sha256"), "must be 64 lower-case hexadecimal digits");
    }
    length(report, &at.field("imagePullSecret"), module.image_pull_secret, 253);
    length(report, &at.field("pluginName"), module.plugin_name, 256);
    let mut names = BTreeSet::new();
    for (index, variable) in module.vm_config.iter().flat_map(|config| &config.env).enumerate() {
        let at = at.field("vmConfig");
        let at = at.field("env");
        let at = at.index(index);
        report.present(&at.field("name"), &variable.name);
        length(report, &at.field("name"), &variable.name, 256);
        if !names.insert(&variable.name) {
            report.error(&at.field("name"), format!("{:?} is there twice", variable.name));
        }
        if variable.value_from != EnvValueSource::Inline && !variable.value.is_empty() {
            report.error(&at.field("value"), "works with valueFrom: INLINE only");
        }
    }
}
