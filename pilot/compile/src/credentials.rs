// SPDX-License-Identifier: Apache-2.0
//! Credentials of gateways from Secrets, of type `kubernetes.io/tls` (tls.crt, tls.key, ca.crt) or generic (cert, key, cacert), and `-cacert`
//! Secrets beside them, and authorities in ConfigMaps (<https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/>).

use crate::LowerContext;
use tiphys_api::k8s::ConfigMap;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{Credential, Str};

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
    let mut text = |names: &[&str]| read(|name| secret.get(name), names, problems);
    let credential = Credential {
        certificate: text(&["tls.crt", "cert"]),
        key: text(&["tls.key", "key"]),
        authorities: text(&["ca.crt", "cacert"]),
        revoked: text(&["ca.crl", "crl"]),
    };
    named(object, credential)
}

/// The authorities in a ConfigMap; none when it holds nothing of the kind.
pub fn lower_config_map(object: &Object, _: &LowerContext<'_>, problems: &mut Vec<Problem>) -> Option<NamedCredential> {
    let Spec::ConfigMap(map) = &object.spec else { return None };
    let mut text = |names: &[&str]| read(|name| map.data.get(name).map(String::as_bytes), names, problems);
    let authorities = text(&["cacert", "ca.crt"]);
    // Other ConfigMaps may have such entries too.
    if authorities.is_empty() {
        return None;
    }
    named(object, Credential { authorities, revoked: text(&["crl", "ca.crl"]), ..Credential::default() })
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
