// SPDX-License-Identifier: Apache-2.0
//! Lowering of PeerAuthentication.

use crate::LowerContext;
use crate::lower::labels;
use tiphys_api::istio::security::peer_authentication::MutualTlsMode;
use tiphys_api::{Object, Problem, Spec};
use tiphys_model::{Labels, MutualTls, PeerAuthentication};

/// A PeerAuthentication in the words of the model.
pub fn lower(object: &Object, _: &LowerContext<'_>, _: &mut Vec<Problem>) -> Option<PeerAuthentication> {
    let Spec::PeerAuthentication(spec) = &object.spec else { return None };
    Some(PeerAuthentication {
        name: object.meta.name.as_str().into(),
        namespace: object.meta.namespace.as_str().into(),
        selector: selector(object),
        mode: spec.mtls.as_ref().and_then(|mtls| mode(&mtls.mode)),
        ports: spec.port_level_mtls.iter().map(|(port, mtls)| (*port, mode(&mtls.mode))).collect(),
    })
}

fn selector(object: &Object) -> Option<Labels> {
    let Spec::PeerAuthentication(spec) = &object.spec else { return None };
    spec.selector.as_ref().map(|s| labels(&s.match_labels)).filter(|labels| !labels.is_empty())
}

fn mode(mode: &MutualTlsMode) -> Option<MutualTls> {
    match mode {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Disable => Some(MutualTls::Disable),
        MutualTlsMode::Permissive => Some(MutualTls::Permissive),
        // A mode that is not known is taken for the strictest.
        _ => Some(MutualTls::Strict),
    }
}
