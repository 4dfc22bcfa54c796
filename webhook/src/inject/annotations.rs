// SPDX-License-Identifier: Apache-2.0
//! Annotations that injection obeys are checked before anything is done: a pod with a mistake in them is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tiphys_api::Severity;
use tiphys_api::mesh::ProxyConfig;
use tiphys_api::names::annotation;

use super::pod::parse_bool;

type Check = fn(&str) -> Result<(), String>;

/// Annotations and what their values have to be.
const CHECKS: &[(&str, Check)] = &[
    (annotation::INTERCEPTION_MODE, mode),
    (annotation::PORT, port),
    (annotation::INITIAL_DELAY_SECONDS, number),
    (annotation::PERIOD_SECONDS, number),
    (annotation::FAILURE_THRESHOLD, number),
    (annotation::INCLUDE_OUTBOUND_IP_RANGES, ranges_or_all),
    (annotation::EXCLUDE_OUTBOUND_IP_RANGES, ranges),
    (annotation::INCLUDE_INBOUND_PORTS, ports_or_all),
    (annotation::EXCLUDE_INBOUND_PORTS, ports),
    (annotation::INCLUDE_OUTBOUND_PORTS, ports_or_all),
    (annotation::EXCLUDE_OUTBOUND_PORTS, ports),
    (annotation::EXCLUDE_INTERFACES, interfaces),
    (annotation::KUBEVIRT_INTERFACES, interfaces),
    (annotation::REROUTE_VIRTUAL_INTERFACES, interfaces),
    (annotation::MERGE_METRICS, boolean),
    (annotation::REWRITE_APP_HTTP_PROBERS, boolean),
    (annotation::NATIVE_SIDECAR, boolean),
    (annotation::CONFIG, proxy_config),
    (annotation::PROXY_CPU, quantity),
    (annotation::PROXY_MEMORY, quantity),
    (annotation::PROXY_CPU_LIMIT, quantity),
    (annotation::PROXY_MEMORY_LIMIT, quantity),
    (annotation::USER_VOLUME, json_object),
    (annotation::USER_VOLUME_MOUNT, json_object),
];

/// What is wrong with a pod's annotations; all of it at once.
///
/// # Errors
/// The names of the annotations, their values and the reasons.
pub fn check(annotations: &BTreeMap<String, String>) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (name, check) in CHECKS {
        if let Some(value) = annotations.get(*name)
            && let Err(message) = check(value)
        {
            wrong.push(format!("annotation {name}: {value:?}: {message}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

fn mode(text: &str) -> Result<(), String> {
    let known = matches!(text, "REDIRECT" | "TPROXY" | "NONE");
    known.then_some(()).ok_or_else(|| "use REDIRECT, TPROXY or NONE".to_owned())
}

fn port(text: &str) -> Result<(), String> {
    let text = text.trim();
    text.parse::<u16>().map(drop).map_err(|_| format!("{text:?} is no port: write a number of 0 to 65535"))
}

fn ports(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Ok(()) } else { text.split(',').try_for_each(port) }
}

fn ports_or_all(text: &str) -> Result<(), String> {
    if text == "*" { Ok(()) } else { ports(text) }
}

fn number(text: &str) -> Result<(), String> {
    text.parse::<u32>().map(drop).map_err(|_| "it is no whole number of 0 or more".to_owned())
}

fn boolean(text: &str) -> Result<(), String> {
    parse_bool(text).map(drop).ok_or_else(|| "it is neither true nor false".to_owned())
}

fn range(text: &str) -> Result<(), String> {
    let wrong = || format!("{text:?} is no range of addresses: write for example 10.0.0.0/8");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = length == "0" || !length.starts_with(['0', '+']);
    let fits = length.parse::<u8>().is_ok_and(|length| length <= most);
    if plain && fits { Ok(()) } else { Err(wrong()) }
}

fn ranges(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { text.split(',').try_for_each(range) }
}

fn ranges_or_all(text: &str) -> Result<(), String> {
    if text == "*" { Ok(()) } else { ranges(text) }
}

/// Names of the kernel: at most 15 bytes.
fn interfaces(text: &str) -> Result<(), String> {
    let good = |name: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.@:+*".contains(c);
        !name.is_empty() && name.len() <= 15 && name.chars().all(letters)
    };
    if text.is_empty() {
        return Ok(());
    }
    let wrong = text.split(',').map(str::trim).find(|name| !good(name));
    wrong.map_or(Ok(()), |name| Err(format!("{name:?} is no name of a network interface")))
}

fn proxy_config(text: &str) -> Result<(), String> {
    let (config, _) = ProxyConfig::default().merge_yaml(text).map_err(|error| error.to_string())?;
    let problems = config.validate();
    let wrong: Vec<String> =
        problems.iter().filter(|problem| problem.severity == Severity::Error).map(ToString::to_string).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Kubernetes' quantities (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
fn quantity(text: &str) -> Result<(), String> {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, suffix) = number.split_at(end);
    let numeric = digits.contains(|c: char| c.is_ascii_digit()) && digits.matches('.').count() <= 1;
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i32>().is_ok());
    let known = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].contains(&suffix);
    if numeric && (known || exponent) {
        Ok(())
    } else {
        Err("it is no quantity: write for example 100m or 128Mi".to_owned())
    }
}

fn json_object(text: &str) -> Result<(), String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let good: &[(Check, &[&str])] = &[
            (ports_or_all, &["", "*", "80", "80, 90", "0"]),
            (ranges_or_all, &["", "*", "10.0.0.0/8,fd00::/8", "127.0.0.1/24"]),
            (interfaces, &["", "eth0, docker0", "net1.2"]),
            (quantity, &["1", "100m", "1.5Gi", "1e3", ".5", "12E"]),
            (boolean, &["true", "F", "1"]),
            (proxy_config, &["", "{}", "concurrency: 2", "{\"proxyMetadata\": {\"A\": \"b\"}}"]),
            (json_object, &["{}"]),
        ];
        for (check, texts) in good {
            for text in *texts {
                assert_eq!(check(text), Ok(()), "{text}");
            }
        }
        let bad: &[(Check, &[&str])] = &[
            (ports, &["*", "a", "1,", "65536", "-1", "1-5"]),
            (ranges, &["*", "10.0.0.0", "10.0.0.0/33", "a/8", "10.0.0.0/8,", "10.0.0.0/08"]),
            (interfaces, &["a,", "an interface", "averyverylongname", "x/y"]),
            (quantity, &["", "x", "1Q", "1.2.3", "m", "1 Gi", "1\n"]),
            (boolean, &["", "yes"]),
            (mode, &["", "redirect"]),
            (proxy_config, &["concurrency: x", "concurrency: -1", "]"]),
            (json_object, &["", "[]", "{"]),
        ];
        for (check, texts) in bad {
            for text in *texts {
                assert!(check(text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn all_mistakes_are_named() {
        let annotations =
            [(annotation::PROXY_CPU, "much"), (annotation::PORT, "x")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let message = check(&annotations.into()).unwrap_err();
        assert_eq!(
            message,
            "annotation status.sidecar.istio.io/port: \"x\": \"x\" is no port: write a number of 0 to 65535; \
             annotation sidecar.istio.io/proxyCPU: \"much\": it is no quantity: write for example 100m or 128Mi"
        );
    }
}
