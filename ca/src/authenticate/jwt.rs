// SPDX-License-Identifier: Apache-2.0
//! Callers with a service account token, verified locally with a set of public keys.
//!
//! A token is accepted when a key of the set signed it (never with an algorithm that the token chooses), it is valid now, one of
//! its audiences is ours, and its subject is `system:serviceaccount:NAMESPACE:NAME`.

use super::{AuthenticationError, Authenticator, Caller, Credentials, PodReference};
use crate::{CaError, SpiffeId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::sync::Arc;

const NAME: &str = "token";
/// Tolerance in seconds for clocks that differ.
const LEEWAY: u64 = 30;
/// Longer tokens are not looked at.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Public keys by which tokens are verified.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

#[derive(Clone)]
struct VerifyingKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: Arc<DecodingKey>,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517). Symmetric keys and unknown kinds are refused.
    ///
    /// # Errors
    /// Says which key cannot be used and why.
    pub fn from_jwks(json: &str) -> Result<Self, CaError> {
        let bad = |problem: String| CaError::Settings(format!("JSON Web Key Set: {problem}"));
        let set: JwkSet = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
        let mut keys = Vec::new();
        for (index, jwk) in set.keys.iter().enumerate() {
            let algorithms = algorithms(jwk).map_err(|e| bad(format!("keys[{index}]: {e}")))?;
            let key = DecodingKey::from_jwk(jwk).map_err(|e| bad(format!("keys[{index}]: {e}")))?;
            keys.push(VerifyingKey { id: jwk.common.key_id.clone(), algorithms, key: Arc::new(key) });
        }
        if keys.is_empty() {
            return Err(bad("it has no keys".into()));
        }
        Ok(Self { keys })
    }

    /// A set of one ECDSA P-256 key, given as SEC 1 point.
    pub(crate) fn of_p256(id: String, point: &[u8]) -> Self {
        let key = Arc::new(DecodingKey::from_ec_der(point));
        Self { keys: vec![VerifyingKey { id: Some(id), algorithms: vec![Algorithm::ES256], key }] }
    }

    /// The keys to try for a token: those of its key id, or all when it names none.
    fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a VerifyingKey> {
        self.keys.iter().filter(move |k| id.is_none() || k.id.is_none() || k.id.as_deref() == id)
    }
}

fn algorithms(jwk: &Jwk) -> Result<Vec<Algorithm>, String> {
    match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => Ok(vec![Algorithm::ES256]),
            EllipticCurve::P384 => Ok(vec![Algorithm::ES384]),
            _ => Err("elliptic curve is not P-256 or P-384".into()),
        },
        AlgorithmParameters::RSA(_) => Ok(vec![Algorithm::RS256, Algorithm::RS384, Algorithm::RS512]),
        AlgorithmParameters::OctetKeyPair(_) => Ok(vec![Algorithm::EdDSA]),
        AlgorithmParameters::OctetKey(_) => Err("a symmetric key cannot verify tokens of others".into()),
    }
}

/// Why a token is not accepted; the token itself is not in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT, or none of the keys has its key id: another verifier may know it.
    #[error("{0}")]
    Unknown(String),
    /// It is not valid, whoever looks at it.
    #[error("{0}")]
    Refused(String),
}

/// The claims that matter, as Kubernetes writes them.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Option<KubernetesClaims>,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    #[serde(default)]
    pod: Option<ReferenceClaim>,
}

#[derive(Deserialize)]
struct ReferenceClaim {
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
}

/// Accepts service account tokens signed by a key of a [`KeySet`].
pub struct JwtAuthenticator {
    keys: KeySet,
    audiences: Vec<String>,
    issuer: Option<String>,
    trust_domain: String,
}

impl JwtAuthenticator {
    /// Accepts tokens for one of `audiences` (Istio's is `istio-ca`), and of `issuer` when one is given. Identities get
    /// `trust_domain`.
    ///
    /// # Errors
    /// When there is no audience: a token for someone else would pass.
    pub fn new(
        keys: KeySet,
        audiences: Vec<String>,
        issuer: Option<String>,
        trust_domain: String,
    ) -> Result<Self, CaError> {
        if audiences.is_empty() {
            return Err(CaError::Settings("verifying tokens needs at least one audience".into()));
        }
        Ok(Self { keys, audiences, issuer, trust_domain })
    }

    /// Who holds this token.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, token: &str) -> Result<Caller, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Refused("longer than a token can be".into()));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|e| TokenError::Unknown(format!("no JWT: {e}")))?;
        let mut reason = TokenError::Unknown("no key of the key set has the token's key id".to_string());
        for candidate in self.keys.candidates(header.kid.as_deref()) {
            let mut validation = Validation::new(candidate.algorithms[0]);
            validation.algorithms.clone_from(&candidate.algorithms);
            validation.leeway = LEEWAY;
            validation.validate_nbf = true;
            validation.set_audience(&self.audiences);
            validation.set_required_spec_claims(&["exp", "aud", "sub"]);
            if let Some(issuer) = &self.issuer {
                validation.set_issuer(&[issuer]);
                validation.required_spec_claims.insert("iss".into());
            }
            match jsonwebtoken::decode::<Claims>(token, &candidate.key, &validation) {
                Ok(token) => return self.caller(token.claims).map_err(TokenError::Refused),
                Err(error) => reason = judge(&error, header.kid.is_some()),
            }
        }
        Err(reason)
    }

    fn caller(&self, claims: Claims) -> Result<Caller, String> {
        let (namespace, account) = claims
            .sub
            .strip_prefix("system:serviceaccount:")
            .and_then(|rest| rest.split_once(':'))
            .ok_or("subject is not system:serviceaccount:NAMESPACE:NAME")?;
        let identity = SpiffeId::new(&self.trust_domain, namespace, account).map_err(|e| e.to_string())?;
        let pod = claims.kubernetes.and_then(|k| k.pod).map(|p| PodReference { name: p.name, uid: p.uid });
        Ok(Caller { identities: vec![identity], authenticator: NAME, pod })
    }
}

/// Whether another verifier could come to another verdict: an API server may have several issuers, and tokens of an older kind.
fn judge(error: &jsonwebtoken::errors::Error, key_is_named: bool) -> TokenError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::ExpiredSignature
        | ErrorKind::ImmatureSignature
        | ErrorKind::InvalidAudience
        | ErrorKind::InvalidAlgorithm => TokenError::Refused(text),
        ErrorKind::InvalidSignature if key_is_named => TokenError::Refused(text),
        _ => TokenError::Unknown(text),
    }
}

#[tonic::async_trait]
impl Authenticator for JwtAuthenticator {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticationError> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        self.verify(token)
            .map(Some)
            .map_err(|error| AuthenticationError { authenticator: NAME, reason: error.to_string() })
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
pub(crate) mod tests;
