// SPDX-License-Identifier: Apache-2.0
//! Keys and certificates that a sample needs, made anew for each run: no private key is kept in the source tree.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, RevocationReason, RevokedCertParams, SerialNumber,
};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A certificate for a server, and the certificate that a client must trust for it. PEM.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The authority's certificate.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// The server's key.
    pub key: String,
}

impl ServerCertificate {
    /// For `name`, from an authority that signs nothing else.
    ///
    /// # Errors
    /// When `name` cannot stand in a certificate.
    pub fn new(name: &str) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, format!("authority of {name}"));
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &issuer)?;
        Ok(ServerCertificate { ca: issuer.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A Secret of type kubernetes.io/tls, as `credentialName` of a Gateway names it.
    pub fn secret(&self, namespace: &str, name: &str) -> String {
        let indented = |pem: &str| pem.trim_end().replace('\n', "\n    ");
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {namespace}\ntype: kubernetes.io/tls\n\
             stringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
            indented(&self.certificate),
            indented(&self.key)
        )
    }
}

/// An authority that signs certificates of clients, and calls them back.
pub struct ClientAuthority(CertifiedIssuer<'static, KeyPair>);

/// A certificate of a client. PEM.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    serial: SerialNumber,
}

impl ClientAuthority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of clients");
        Ok(Self(CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?))
    }

    /// Its own certificate in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for the client that is called so, with a number that no other of its certificates has.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn client(&self, name: &str, serial: u64) -> Result<ClientCertificate> {
        let key = KeyPair::generate()?;
        let mut client = CertificateParams::new(vec![name.to_owned()])?;
        client.serial_number = Some(serial.into());
        client.use_authority_key_identifier_extension = true;
        let certificate = client.signed_by(&key, &self.0)?.pem();
        Ok(ClientCertificate { certificate, key: key.serialize_pem(), serial: serial.into() })
    }

    /// A list of those that are called back, in PEM, which is valid for an hour.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn revoked(&self, clients: &[&ClientCertificate]) -> Result<String> {
        let this_update = SystemTime::now() - Duration::from_secs(60);
        let revoked = clients.iter().map(|client| RevokedCertParams {
            serial_number: client.serial.clone(),
            revocation_time: this_update.into(),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: this_update.into(),
            next_update: (this_update + Duration::from_secs(3660)).into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.0)?.pem()?)
    }
}

/// An issuer of JSON web tokens.
pub struct TokenIssuer {
    name: String,
    key: KeyPair,
}

impl TokenIssuer {
    /// An issuer of this name with a new key.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        Ok(TokenIssuer { name: name.to_owned(), key: KeyPair::generate()? })
    }

    /// The public key as a JSON web key set.
    pub fn jwks(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let (x, y) = self.key.der_bytes()[1..].split_at(32);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "sample", "x": x, "y": y}]})
    }

    /// A token for `subject` that is valid for a day.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, subject: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let expires = now + Duration::from_secs(24 * 3600);
        let claims = json!({"iss": self.name, "sub": subject, "iat": now.as_secs(), "exp": expires.as_secs()});
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("sample".to_owned());
        let key = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes())?;
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }

    /// A RequestAuthentication that knows this issuer, for the workloads with these labels.
    pub fn request_authentication(&self, namespace: &str, label: (&str, &str)) -> String {
        format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata:\n  name: tokens\n  namespace: {namespace}\n\
             spec:\n  selector:\n    matchLabels:\n      {}: {}\n  jwtRules:\n    - issuer: {}\n      jwks: '{}'\n",
            label.0,
            label.1,
            self.name,
            self.jwks()
        )
    }
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};

    #[test]
    fn a_token_is_valid_by_the_published_keys() {
        let issuer = TokenIssuer::new("the-issuer").expect("a key");
        let keys: JwkSet = serde_json::from_value(issuer.jwks()).expect("a key set");
        let key = DecodingKey::from_jwk(keys.find("sample").expect("the key")).expect("a usable key");
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&["the-issuer"]);
        let token = issuer.token("somebody").expect("a token");
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).expect("valid").claims;
        assert_eq!(claims["sub"], "somebody");
    }
}
