// SPDX-License-Identifier: Apache-2.0
use super::*;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Signer {
    key: KeyPair,
    id: &'static str,
}

impl Signer {
    pub(crate) fn new(id: &'static str) -> Self {
        Self { key: KeyPair::generate().unwrap(), id }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.into());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(self.key.serialized_der())).unwrap()
    }

    pub(crate) fn jwks(&self) -> String {
        let key = EncodingKey::from_ec_der(self.key.serialized_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.into());
        serde_json::to_string(&JwkSet { keys: vec![jwk] }).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:default:reviews",
        "aud": ["istio-ca"],
        "exp": now() + 600,
        "iat": now(),
        "kubernetes.io": {"namespace": "default", "pod": {"name": "reviews-1", "uid": "u-1"}},
    });
    change(&mut claims);
    claims
}

fn authenticator(signer: &Signer) -> JwtAuthenticator {
    let issuer = Some("https://kubernetes.default.svc".to_string());
    let keys = KeySet::from_jwks(&signer.jwks()).unwrap();
    JwtAuthenticator::new(keys, vec!["istio-ca".into()], issuer, "cluster.local".into()).unwrap()
}

#[test]
fn a_good_token() {
    let signer = Signer::new("k1");
    let caller = authenticator(&signer).verify(&signer.sign(&claims(|_| {}))).unwrap();
    assert_eq!(caller.identities[0].to_string(), "spiffe://cluster.local/ns/default/sa/reviews");
    assert_eq!(caller.pod, Some(PodReference { name: "reviews-1".into(), uid: "u-1".into() }));
}

#[test]
fn tokens_that_are_refused() {
    let signer = Signer::new("k1");
    let check = authenticator(&signer);
    let refused = |change: &dyn Fn(&mut Value)| check.verify(&signer.sign(&claims(change))).unwrap_err().to_string();
    assert!(refused(&|c| c["aud"] = json!("vault")).contains("Audience"));
    assert!(refused(&|c| c["aud"] = json!([])).contains("Audience"));
    assert!(refused(&|c| c["exp"] = json!(now() - 60)).contains("Expired"));
    assert!(refused(&|c| c["nbf"] = json!(now() + 300)).contains("Immature"));
    assert!(refused(&|c| c["iss"] = json!("https://elsewhere")).contains("Issuer"));
    assert!(refused(&|c| c["sub"] = json!("admin")).contains("subject"));
    assert!(refused(&|c| c["sub"] = json!("system:serviceaccount:default:a/b")).contains("service account may have"));
    assert!(refused(&|c| drop(c.as_object_mut().unwrap().remove("exp"))).contains("exp"));
    assert!(refused(&|c| drop(c.as_object_mut().unwrap().remove("aud"))).contains("aud"));
    assert!(check.verify("").is_err());
    assert!(check.verify("a.b.c").is_err());
    assert!(check.verify(&"a".repeat(20_000)).is_err());
}

#[test]
fn foreign_and_forged_signatures() {
    let (ours, theirs) = (Signer::new("k1"), Signer::new("k1"));
    let check = authenticator(&ours);
    assert!(check.verify(&theirs.sign(&claims(|_| {}))).unwrap_err().to_string().contains("InvalidSignature"));
    let other_id = Signer { key: theirs.key, id: "k2" };
    assert!(check.verify(&other_id.sign(&claims(|_| {}))).unwrap_err().to_string().contains("key id"));
    // The public key used as a shared secret.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".into());
    let secret = EncodingKey::from_secret(ours.key.public_key_raw());
    let forged = jsonwebtoken::encode(&header, &claims(|_| {}), &secret).unwrap();
    assert!(check.verify(&forged).unwrap_err().to_string().contains("Algorithm"));
    // No signature at all: {"alg":"none"}.
    let good = ours.sign(&claims(|_| {}));
    let body = good.split('.').nth(1).unwrap();
    assert!(check.verify(&format!("eyJhbGciOiJub25lIn0.{body}.")).is_err());
}

#[test]
fn key_sets_that_are_refused() {
    let error = |json: &str| KeySet::from_jwks(json).err().unwrap().to_string();
    assert!(error("{}").contains("keys"));
    assert!(error(r#"{"keys":[]}"#).contains("no keys"));
    assert!(error(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).contains("symmetric"));
    let keys = KeySet::from_jwks(&Signer::new("a").jwks()).unwrap();
    assert!(JwtAuthenticator::new(keys, vec![], None, "cluster.local".into()).is_err());
}
