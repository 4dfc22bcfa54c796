// SPDX-License-Identifier: Apache-2.0
//! ReferenceGrants: who may refer to objects of another namespace.

use crate::Store;
use std::collections::{BTreeMap, BTreeSet};
use tiphys_api::{Kind, Spec};

/// From and to what: group, kind and namespace of each.
type Pair = [(String, String, String); 2];

/// All grants: the names that may be referred to; none stands for all.
#[derive(Default)]
pub(super) struct Grants(BTreeMap<Pair, BTreeSet<Option<String>>>);

/// A reference across namespaces.
pub(super) struct Crossing<'a> {
    pub from: (&'a str, &'a str, &'a str),
    pub to: (&'a str, &'a str, &'a str),
    pub name: &'a str,
}

impl Grants {
    pub fn build(store: &Store) -> Self {
        let mut grants = Self::default();
        for object in store.of_kind(Kind::ReferenceGrant) {
            let Spec::ReferenceGrant(spec) = &object.spec else { continue };
            for from in &spec.from {
                for to in &spec.to {
                    let owner = (to.group.clone(), to.kind.clone(), object.meta.namespace.clone());
                    let pair = [(from.group.clone(), from.kind.clone(), from.namespace.clone()), owner];
                    grants.0.entry(pair).or_default().insert(to.name.clone().filter(|name| !name.is_empty()));
                }
            }
        }
        grants
    }

    /// Whether a reference is allowed; within one namespace it always is.
    pub fn allow(&self, crossing: &Crossing<'_>) -> bool {
        let own = |(group, kind, namespace): (&str, &str, &str)| (group.into(), kind.into(), namespace.into());
        crossing.from.2 == crossing.to.2
            || self
                .0
                .get(&[own(crossing.from), own(crossing.to)])
                .is_some_and(|names| names.contains(&None) || names.contains(&Some(crossing.name.to_string())))
    }
}
