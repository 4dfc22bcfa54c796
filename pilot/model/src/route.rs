// SPDX-License-Identifier: Apache-2.0
//! Routes, whichever API they were written in (VirtualService, HTTPRoute, GRPCRoute, TLSRoute, TCPRoute).

use crate::{Host, Str, Visibility};
use serde::Serialize;

/// The name that stands for all sidecars in a VirtualService's `gateways`.
pub const MESH_GATEWAY: &str = "mesh";

/// One VirtualService, or a route of the Gateway API in its form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct VirtualService {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// Creation in seconds since 1970: the older of two wins.
    pub creation: i64,
    /// Hosts that it is about, fully qualified.
    pub hosts: Vec<Host>,
    /// `mesh`, or gateways as `NAMESPACE/NAME`.
    pub gateways: Vec<Str>,
    /// Who sees it.
    pub export_to: Visibility,
    /// Hosts that its routes send to, fully qualified, sorted.
    pub destinations: Vec<Host>,
}
