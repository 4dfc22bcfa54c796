// SPDX-License-Identifier: Apache-2.0
//! Rules for single values. Each returns what is wrong and what would be right.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The result of a rule.
pub(crate) type Check = Result<(), String>;

/// Letters, digits and inner hyphens; at most 63. Istio takes upper case too.
pub(crate) fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// A DNS label in lower case, as Kubernetes names namespaces.
pub(crate) fn is_lower_label(text: &str) -> bool {
    is_label(text) && !text.bytes().any(|b| b.is_ascii_uppercase())
}

/// Labels in lower case with dots between, at most 253 characters.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && !text.is_empty() && text.split('.').all(is_lower_label_of_any_length)
}

fn is_lower_label_of_any_length(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A subdomain, perhaps after `*.`.
pub(crate) fn is_wildcard_subdomain(text: &str) -> bool {
    is_subdomain(text.strip_prefix("*.").unwrap_or(text))
}

pub(crate) fn label(text: &str) -> Check {
    if is_label(text) {
        return Ok(());
    }
    Err(format!("{text:?} is not a DNS label: use letters, digits and inner hyphens, at most 63"))
}

/// A port that can be listened on or connected to.
pub(crate) fn port(number: u32) -> Check {
    if (1..=65535).contains(&number) { Ok(()) } else { Err(format!("{number} is not a port: must be from 1 to 65535")) }
}

fn length(domain: &str) -> Check {
    match domain.len() {
        0 => Err("must not be empty".to_owned()),
        1..=255 => Ok(()),
        _ => Err(format!("{domain:?} is longer than 255 characters")),
    }
}

fn labels_of(domain: &str, whole: &str) -> Check {
    let parts: Vec<&str> = domain.split('.').collect();
    let last = parts.len() - 1;
    if !parts[last].is_empty() && parts[last].bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{whole:?} is not a DNS name: its last label must not be a number"));
    }
    for (index, part) in parts.iter().enumerate() {
        // One dot may end a name.
        if index == last && part.is_empty() && last > 0 {
            break;
        }
        if !is_label(part) {
            return Err(format!("{whole:?} is not a DNS name: its label {part:?} is wrong"));
        }
    }
    Ok(())
}

/// A DNS name, short or long.
pub(crate) fn fqdn(domain: &str) -> Check {
    length(domain)?;
    labels_of(domain, domain)
}

/// A DNS name whose first label may be `*`, or start with `*` or `*-`.
pub(crate) fn wildcard_domain(domain: &str) -> Check {
    length(domain)?;
    let (first, rest) = domain.split_once('.').map_or((domain, None), |(first, rest)| (first, Some(rest)));
    let plain = first.strip_prefix("*-").or_else(|| first.strip_prefix('*')).unwrap_or(first);
    if first.len() > 63 || !(first == "*" || is_label(plain)) {
        return Err(format!("{domain:?} is not a DNS name: its label {first:?} is wrong"));
    }
    rest.map_or(Ok(()), |rest| labels_of(rest, domain))
}

/// A wildcard must be a whole first label.
pub(crate) fn whole_wildcard(host: &str) -> Check {
    if host.contains('*') && host != "*" && !host.starts_with("*.") {
        return Err(format!("{host:?} has a wildcard that is not its whole first label"));
    }
    Ok(())
}

pub(crate) fn is_ip(text: &str) -> bool {
    // Zones, as in fe80::1%eth0, are part of the textual form only.
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().is_ok()
}

pub(crate) fn ip(text: &str) -> Check {
    if is_ip(text) { Ok(()) } else { Err(format!("{text:?} is not an IP address")) }
}

/// An IP address or a CIDR.
pub(crate) fn subnet(text: &str) -> Check {
    let Some((address, bits)) = text.split_once('/') else { return ip(text) };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return Err(format!("{text:?} is not a CIDR: {address:?} is not an IP address")),
    };
    let digits = !bits.is_empty()
        && bits.len() <= 3
        && bits.bytes().all(|b| b.is_ascii_digit())
        && (bits == "0" || !bits.starts_with('0'));
    if digits && bits.parse::<u32>().is_ok_and(|bits| bits <= most) {
        return Ok(());
    }
    Err(format!("{text:?} is not a CIDR: the part after / must be from 0 to {most}"))
}

/// An absolute path to a socket, or an abstract name after `@`.
pub(crate) fn unix_address(path: &str) -> Check {
    if path.len() > 1 && path.starts_with('@') || path.starts_with('/') && !path.ends_with('/') {
        return Ok(());
    }
    Err(format!("{path:?} is not a Unix socket: needs an absolute path to a file, or @NAME"))
}

/// Labels of workloads, as Kubernetes has them.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> Check {
    for (key, value) in labels {
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if prefix.is_some_and(|prefix| prefix.len() > 253 || !prefix.split('.').all(is_label))
            || name.len() > 63
            || !is_qualified(name)
        {
            return Err(format!("{key:?} is not a label name"));
        }
        if value.len() > 63 || !value.is_empty() && !is_qualified(value) {
            return Err(format!("{value:?} is not a label value"));
        }
    }
    Ok(())
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}

/// Characters of a token of HTTP (RFC 9110).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

pub(crate) fn header_name(name: &str) -> Check {
    if is_token(name) { Ok(()) } else { Err(format!("{name:?} is not a header name")) }
}

/// A header that is matched: also one of HTTP/2's pseudo headers, or a JWT claim as `@request.auth.claims.NAME`.
pub(crate) fn matched_header(name: &str) -> Check {
    if is_claim(name) || [":method", ":scheme", ":authority", ":path", ":status"].contains(&name) {
        return Ok(());
    }
    header_name(name)
}

/// A condition on a JWT claim, in the place of a header.
pub(crate) fn is_claim(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let Some(rest) = name.strip_prefix("@request.auth.claims") else { return false };
    rest.strip_prefix('.').is_some_and(|claim| !claim.is_empty())
        || rest.strip_prefix('[').is_some_and(|claim| claim.len() > 1 && claim.ends_with(']'))
}

/// A header that is set, added or removed; only the authority may be set although it is a pseudo header.
pub(crate) fn changed_header(name: &str, authority: bool) -> Check {
    if name.is_empty() {
        return Err("the header name must not be empty".to_owned());
    }
    let is_authority = name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    if is_authority && authority {
        return Ok(());
    }
    if is_authority || name.starts_with(':') {
        return Err(format!("the header {name:?} cannot be changed here"));
    }
    Ok(())
}

/// A header value: no control characters, and Envoy's `%...%` operators well formed; `%%` stands for a percent sign.
pub(crate) fn header_value(value: &str) -> Check {
    if value.chars().any(|c| c.is_ascii_control() && c != '\t') {
        return Err(format!("{value:?} has control characters"));
    }
    let mut rest = value;
    while let Some(start) = rest.find('%') {
        rest = &rest[start + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            rest = tail;
            continue;
        }
        let wrong = || format!("{value:?} has a % that starts no operator: write %% for a percent sign");
        let end = rest.find(['%', '(']).ok_or_else(wrong)?;
        if rest.as_bytes()[end] == b'%' {
            rest = &rest[end + 1..];
            continue;
        }
        rest = arguments(&rest[end + 1..]).ok_or_else(wrong)?;
    }
    Ok(())
}

/// What follows `%NAME(`: arguments up to `)`, perhaps a length, and `%`. Strings in a list may hold parentheses.
fn arguments(text: &str) -> Option<&str> {
    let mut quoted = false;
    let mut escaped = false;
    let list = text.trim_start_matches(' ').starts_with('[');
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if list => quoted = !quoted,
            ')' if !quoted => {
                let rest = text[index + 1..].trim_start_matches(|c: char| c == ' ' || c == ':' || c.is_ascii_digit());
                return rest.strip_prefix('%');
            }
            _ => {}
        }
    }
    None
}

/// The protocols that a port may name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Http,
    Https,
    Tls,
    Unknown,
}

/// Families of protocols by the name that users write, in any case.
pub(crate) fn protocol(name: &str) -> Protocol {
    match name.to_ascii_lowercase().as_str() {
        "tcp" | "mongo" | "redis" | "mysql" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "http" | "http_proxy" | "http2" | "grpc" | "grpc-web" => Protocol::Http,
        "https" => Protocol::Https,
        "tls" => Protocol::Tls,
        _ => Protocol::Unknown,
    }
}

impl Protocol {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    pub(crate) fn is_http(self) -> bool {
        self == Self::Http
    }

    pub(crate) fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Https | Self::Tls)
    }
}

/// A protocol that is known, or none.
pub(crate) fn known_protocol(name: &str) -> Check {
    if name.is_empty() || protocol(name) != Protocol::Unknown {
        return Ok(());
    }
    Err(format!(
        "{name:?} is not a protocol: use one of HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL, UDP"
    ))
}

/// `host:port`, as remote services are named.
pub(crate) fn host_port(address: &str) -> Check {
    let Some((host, number)) = address.rsplit_once(':') else { return Err(format!("{address:?} is not HOST:PORT")) };
    let Ok(number) = number.parse::<u32>() else { return Err(format!("{address:?}: {number:?} is not a port")) };
    port(number)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if is_ip(bare) { Ok(()) } else { fqdn(host) }
}
