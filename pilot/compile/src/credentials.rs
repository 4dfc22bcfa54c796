// SPDX-License-Identifier: Apache-2.0
//! Credentials of gateways from Secrets, of type `kubernetes.io/tls` (tls.crt, tls.key, ca.crt) or generic (cert, key, cacert), and `-cacert`
//! Secrets beside them, and authorities in ConfigMaps (<https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/>).

use crate::LowerContext;
use tiphys_api::k8s::ConfigMap;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{Credential, Revoked, Str};
use x509_parser::parse_x509_crl;

/// A credential with its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedCredential {
    /// Name of the Secret.
    pub name: Str,
    /// Its namespace.
    pub namespace: Str,
    /// What is in it.
    pub credential: Credential,
}

/// The credential of a Secret; none when it holds nothing of the kind.
pub fn lower(object: &Object, _: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<NamedCredential> {
    let Spec::Secret(secret) = &object.spec else { return None };
    let get = |name: &str| secret.get(name);
    let mut text = |names: &[&str]| read(get, names, problems);
    let credential = Credential {
        certificate: text(&["tls.crt", "cert"]),
        key: text(&["tls.key", "key"]),
        authorities: text(&["ca.crt", "cacert"]),
        revoked: revoked(get, &["ca.crl", "crl"], problems),
    };
    named(object, credential)
}

/// The authorities in a ConfigMap; none when it holds nothing of the kind.
pub fn lower_config_map(object: &Object, _: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<NamedCredential> {
    let Spec::ConfigMap(map) = &object.spec else { return None };
    let get = |name: &str| map.data.get(name).map(String::as_bytes);
    let authorities = read(get, &["cacert", "ca.crt"], problems);
    // Other ConfigMaps may have such entries too.
    if authorities.is_empty() {
        return None;
    }
    let revoked = revoked(get, &["crl", "ca.crl"], problems);
    named(object, Credential { authorities, revoked, ..Credential::default() })
}

fn named(object: &Object, credential: Credential) -> Option<NamedCredential> {
    if credential == Credential::default() {
        return None;
    }
    let (name, namespace) = (object.meta.name.as_str().into(), object.meta.namespace.as_str().into());
    Some(NamedCredential { name, namespace, credential })
}

fn read<'a>(get: impl Fn(&str) -> Option<&'a [u8]>, names: &[&str], problems: &mut Vec<Problem>) -> Str {
    match pem(get, names) {
        Ok(text) => text,
        Err((key, why)) => {
            problems.push(Problem::warning(format!("data[{key}]"), format!("{why}: gateways are not given it")));
            Str::default()
        }
    }
}

/// The first list of revoked certificates that is there.
fn revoked<'a>(get: impl Fn(&str) -> Option<&'a [u8]>, names: &[&str], problems: &mut Vec<Problem>) -> Revoked {
    let there = names.iter().find_map(|name| Some((*name, get(name)?)));
    let Some((name, data)) = there.filter(|(_, data)| !data.trim_ascii().is_empty()) else { return Revoked::Nothing };
    match lists(data) {
        Ok(lists) => Revoked::Lists(lists),
        Err(why) => {
            let what = "until that is right gateways are given no authorities from here, so that no revoked certificate passes";
            problems.push(Problem::warning(format!("data[{name}]"), format!("{why}: {what}")));
            Revoked::Unreadable
        }
    }
}

/// Lists of revoked certificates in PEM; an error says why they cannot be used.
fn lists(data: &[u8]) -> Result<Str, String> {
    let text = std::str::from_utf8(data).map_err(|_| "it is not text".to_owned())?;
    let mut count = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(data) {
        let block = block.map_err(|error| format!("it is not PEM: {error}"))?;
        count += 1;
        if block.label != "X509 CRL" {
            return Err(format!("PEM block {count} is {}, and not X509 CRL", block.label));
        }
        parse_x509_crl(&block.contents).map_err(|error| format!("list {count}: {error}"))?;
    }
    if count == 0 { Err("there is no PEM block in it".to_owned()) } else { Ok(text.into()) }
}

/// The certificates of authorities in a ConfigMap.
pub(crate) fn authorities(map: &ConfigMap) -> Option<Str> {
    let read = pem(|name| map.data.get(name).map(String::as_bytes), &["cacert", "ca.crt"]).ok()?;
    (!read.is_empty()).then_some(read)
}

/// The first of some entries that is there, when it is PEM that can be read; empty when there is none.
fn pem<'a, 'b>(get: impl Fn(&str) -> Option<&'b [u8]>, names: &[&'a str]) -> Result<Str, (&'a str, String)> {
    let Some((name, data)) = names.iter().find_map(|name| Some((*name, get(name)?))) else {
        return Ok(Str::default());
    };
    let text = std::str::from_utf8(data).map_err(|_| (name, "it is not text".to_string()))?;
    let mut blocks = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()) {
        let block = block.map_err(|error| (name, format!("it is not PEM: {error}")))?;
        if block.label == "CERTIFICATE" {
            block.parse_x509().map_err(|error| (name, format!("certificate {}: {error}", blocks + 1)))?;
        }
        blocks += 1;
    }
    match blocks {
        0 => Err((name, "there is no PEM block in it".to_string())),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "-----BEGIN X509 CRL-----
MIGWMD4wCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHY2xpZW50cxcNMjYxMTIxMjI0
MjE4WhcNMzYxMTE4MjI0MjE4WjAKBggqhkjOPQQDAgNIADBFAiEA8tROAoAqHZS/
KZqMcWN2CR1/gTKX9I4lR9UH+OSSN04CIBp2hmRvbCCfT+sL4FHiG2eOCslw/LCN
ZDW6ygEwu5MT
-----END X509 CRL-----
";

    /// The list of revoked certificates in an entry `ca.crl`, and what is said of it.
    fn of(text: &str) -> (Revoked, String) {
        let mut problems = Vec::new();
        let get = |name: &str| (name == "ca.crl").then_some(text.as_bytes());
        let read = revoked(get, &["ca.crl", "crl"], &mut problems);
        (read, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_the_same_as_none() {
        assert!(of(LIST) == (Revoked::Lists(LIST.into()), String::new()));
        let two = format!("{LIST}{LIST}");
        assert!(of(&two).0 == Revoked::Lists(two.as_str().into()));
        assert!(of("\n") == (Revoked::Nothing, String::new()));
        for wrong in ["list", &LIST.replace("X509 CRL", "CERTIFICATE"), &LIST.replace("MIGWMD", "MIGXMD")] {
            let (read, said) = of(wrong);
            assert!(read == Revoked::Unreadable, "{wrong}");
            assert!(said.contains("data[ca.crl]"), "{said}");
        }
        assert!(revoked(|_| None, &["ca.crl", "crl"], &mut Vec::new()) == Revoked::Nothing);
    }
}
