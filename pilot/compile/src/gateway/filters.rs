// SPDX-License-Identifier: Apache-2.0
//! Filters that HTTPRoute and GRPCRoute share.

use super::Refusal;
use super::backend::{Referrer, destination};
use std::collections::BTreeMap;
use tiphys_api::gateway::http_route::{HttpHeader, HttpHeaderFilter, HttpRequestMirrorFilter};
use tiphys_model::{HeaderOperations, Mirror, Share, Str};

/// Header changes. Of two headers of one name the first counts.
pub(super) fn headers(filter: &HttpHeaderFilter) -> Result<HeaderOperations, Refusal> {
    let visible = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    if let Some(bad) = filter.set.iter().chain(&filter.add).find(|header| !header.value.bytes().all(visible)) {
        let message = format!("header {:?} value contains invalid characters", bad.name);
        return Err(Refusal::new("InvalidFilter", message));
    }
    let map = |list: &[HttpHeader]| {
        let mut map: BTreeMap<Str, Str> = BTreeMap::new();
        for header in list {
            map.entry(header.name.as_str().into()).or_insert_with(|| header.value.as_str().into());
        }
        map
    };
    Ok(HeaderOperations {
        set: map(&filter.set),
        add: map(&filter.add),
        remove: filter.remove.iter().map(|name| name.as_str().into()).collect(),
    })
}

/// A mirror, and what is wrong with its backend; without a backend there is none.
pub(super) fn mirror(filter: &HttpRequestMirrorFilter, referrer: &Referrer<'_>) -> Result<Option<Mirror>, Refusal> {
    let (destination, refused) = destination(referrer, (&filter.backend_ref).into())?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let share = match (&filter.fraction, filter.percent) {
        (Some(part), _) => {
            let whole = f64::from(part.denominator.unwrap_or(100).max(1));
            Share::of_percentage(100.0 * f64::from(part.numerator) / whole)
        }
        (None, Some(percent)) => Share::of_percentage(f64::from(percent)),
        (None, None) => Share::ALL,
    };
    Ok((!share.is_zero()).then_some(Mirror { destination, share }))
}
