// SPDX-License-Identifier: Apache-2.0
//! The question of the API server and the answer to it
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The version of reviews that is spoken.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// A review as it comes in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Its version.
    #[serde(default)]
    pub api_version: String,
    /// The question.
    pub request: Option<Request>,
}

/// What is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// Goes back with the answer.
    pub uid: String,
    /// The kind of the object.
    pub kind: GroupVersionKind,
    /// Its namespace; it need not say so itself.
    pub namespace: String,
    /// CREATE, UPDATE, DELETE or CONNECT.
    pub operation: String,
    /// The object.
    pub object: Json,
    /// Nothing will be stored.
    pub dry_run: Option<bool>,
}

/// A kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct GroupVersionKind {
    /// Its group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub kind: String,
}

/// What is answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why the object is refused; none when it is let through.
    pub refused: Option<String>,
    /// What is to be changed in it, as RFC 6902 writes it.
    pub patch: Option<Vec<u8>>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// The object goes through as it is.
    pub fn allowed() -> Self {
        Self::default()
    }

    /// The object is refused.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), ..Self::default() }
    }

    /// The review that goes back.
    pub fn reply(self, uid: &str) -> Json {
        let response = Response {
            uid,
            allowed: self.refused.is_none(),
            status: self.refused.map(|message| Status { message, code: 400, reason: "BadRequest" }),
            patch_type: self.patch.is_some().then_some("JSONPatch"),
            patch: self.patch.map(|patch| STANDARD.encode(patch)),
            warnings: self.warnings,
        };
        serde_json::json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status {
    message: String,
    code: u16,
    reason: &'static str,
}
