// SPDX-License-Identifier: Apache-2.0
//! What one proxy would get, without a connection.

use crate::class::Class;
use crate::{Context, Generator, Memo, Notes, patches};
use std::collections::BTreeMap;
use tiphys_compile::Snapshot;
use tiphys_model::ProxyNode;
use tiphys_xds::{Entry, ResourceType, Table};

/// All resources of a proxy by type, sorted by name.
pub fn render(
    snapshot: &Snapshot,
    generators: &[Generator],
    node: &ProxyNode,
    memo: &Memo,
) -> BTreeMap<ResourceType, Vec<Entry>> {
    let scope = snapshot.scope(node);
    let (_, class) = Class::of(snapshot, node, Class::with_addresses(snapshot, node));
    let notes = Notes::default();
    let (proxy, targets, patches) = (&class.node, &class.targets, class.patches.as_ref());
    let cx = Context { snapshot, scope: &scope, proxy, targets, patches, memo, notes: &notes };
    let table = |generator: &Generator| Table::from_entries(patches::build(generator, &cx)).iter().cloned().collect();
    generators.iter().map(|generator| (generator.ty, table(generator))).collect()
}
