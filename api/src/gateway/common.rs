// SPDX-License-Identifier: Apache-2.0
//! What several Gateway API kinds share: references, selectors, session persistence.

use serde::{Deserialize, Serialize};

use crate::value::{Duration, open_enum};

/// The resource that a route attaches to: a Gateway, a ListenerSet, a Service, or the mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentReference {
    /// API group; unset means gateway.networking.k8s.io, empty the core group.
    pub group: Option<String>,
    /// Kind; unset means Gateway.
    pub kind: Option<String>,
    /// Namespace; unset means the route's own.
    pub namespace: Option<String>,
    /// Name of the parent.
    pub name: String,
    /// Listener of a Gateway, or port name of a Service; unset means all of them.
    pub section_name: Option<String>,
    /// Port of the parent; unset means all of them.
    pub port: Option<i32>,
}

/// The parents of a route; every route kind has these fields in its spec.
pub trait Route {
    /// What the route attaches to.
    fn parent_refs(&self) -> &[ParentReference];
    /// Whether it also attaches to default gateways.
    fn use_default_gateways(&self) -> Option<&GatewayDefaultScope>;
    /// The hostnames it serves; empty for kinds that have none.
    fn hostnames(&self) -> &[String];
}

/// A backend with a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendObjectReference {
    /// API group; unset or empty is the core group.
    pub group: Option<String>,
    /// Kind; unset means Service.
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Namespace; unset means the referrer's own. Another one needs a ReferenceGrant.
    pub namespace: Option<String>,
    /// Port of the Service; needed for Services.
    pub port: Option<i32>,
}

/// A backend with a share of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendRef {
    /// API group; unset or empty is the core group.
    pub group: Option<String>,
    /// Kind; unset means Service.
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Namespace; unset means the route's own. Another one needs a ReferenceGrant.
    pub namespace: Option<String>,
    /// Port of the Service; needed for Services.
    pub port: Option<i32>,
    /// Share of the traffic, relative to the others; unset means 1.
    pub weight: Option<i32>,
}

/// A Secret or another object that may live in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretObjectReference {
    /// API group; unset or empty is the core group.
    pub group: Option<String>,
    /// Kind; unset means Secret.
    pub kind: Option<String>,
    /// Name of the object.
    pub name: String,
    /// Namespace; unset means the referrer's own. Another one needs a ReferenceGrant.
    pub namespace: Option<String>,
}

/// An object of a given kind that may live in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace; unset means the referrer's own.
    pub namespace: Option<String>,
}

/// An object in the referrer's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalObjectReference {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// A policy's target in its own namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargetReference {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Port name or listener of the target; unset means all of it.
    pub section_name: Option<String>,
}

/// An object that holds a controller's parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParametersReference {
    /// API group.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; unset for cluster-scoped ones.
    pub namespace: Option<String>,
}

open_enum! {
    /// Which default gateways are meant.
    pub enum GatewayDefaultScope {
        /// All default gateways.
        All = "All",
        /// None.
        None = "None",
    }
}

/// Binds a client to one backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionPersistence {
    /// Name of the cookie or header; unset lets the implementation choose.
    pub session_name: Option<String>,
    /// The session ends this long after it began.
    pub absolute_timeout: Option<Duration>,
    /// Carried by a cookie or by a header; unset means a cookie.
    #[serde(rename = "type")]
    pub session_type: Option<SessionPersistenceType>,
    /// Details of the cookie.
    pub cookie_config: Option<CookieConfig>,
}

open_enum! {
    /// What carries the session.
    pub enum SessionPersistenceType {
        /// A cookie.
        Cookie = "Cookie",
        /// A header.
        Header = "Header",
    }
}

/// Details of a session cookie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CookieConfig {
    /// How long the browser keeps it; unset means for the session.
    pub lifetime_type: Option<CookieLifetimeType>,
}

open_enum! {
    /// How long a cookie lives.
    pub enum CookieLifetimeType {
        /// Until the browser closes.
        Session = "Session",
        /// Until the session's absolute timeout.
        Permanent = "Permanent",
    }
}

/// A part of a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fraction {
    /// The part.
    pub numerator: i32,
    /// The whole; unset means 100.
    pub denominator: Option<i32>,
}
