// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn entry(name: &str, content: u32) -> Entry {
    Entry::new(name, "t", content.to_le_bytes())
}

fn many(n: u32) -> Vec<Entry> {
    (0..n).map(|i| entry(&format!("outbound|80||svc-{i:05}.test.svc.cluster.local"), i)).collect()
}

#[test]
fn one_change_shares_the_rest() {
    let old = Table::from_entries(many(10_000));
    let name = "outbound|80||svc-05000.test.svc.cluster.local";
    let new = old.patch(vec![entry(name, 1_000_000)], &[]);
    assert_eq!(new.len(), old.len());
    assert_eq!(new.shared_chunks(&old), old.0.chunks.len() - 1);
    let diff = Table::diff(&old, &new);
    assert_eq!(diff.changed, vec![entry(name, 1_000_000)]);
    assert!(diff.removed.is_empty());
    assert!(Table::diff(&new, &new.patch(vec![entry(name, 1_000_000)], &[])).is_empty());
}

#[test]
fn a_rebuilt_table_keeps_chunks() {
    let old = Table::from_entries(many(5_000));
    let mut entries = many(5_000);
    entries.remove(2_000);
    entries.insert(100, entry("outbound|80||svc-00099.zzz", 1));
    let new = old.replace(entries);
    assert!(new.shared_chunks(&old) >= old.0.chunks.len() - 4);
    let diff = Table::diff(&old, &new);
    assert_eq!(diff.changed.len(), 1);
    assert_eq!(diff.removed, vec![Arc::from("outbound|80||svc-02000.test.svc.cluster.local")]);
    assert_eq!(old.replace(many(5_000)).shared_chunks(&old), old.0.chunks.len());
}

#[test]
fn the_last_of_equal_names_wins() {
    let table = Table::from_entries(vec![entry("b", 1), entry("a", 1), entry("b", 2), entry("b", 3)]);
    assert_eq!(table.len(), 2);
    assert_eq!(table.get("b"), Some(&entry("b", 3)));
    assert_eq!(table.get("c"), None);
    assert_eq!(table.get(""), None);
}

#[derive(Clone, Debug)]
enum Step {
    Patch(Vec<(u16, u8)>, Vec<u16>),
    Replace(Vec<(u16, u8)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pairs = || prop::collection::vec((0u16..600, any::<u8>()), 0..200);
    let step = prop_oneof![
        3 => (pairs(), prop::collection::vec(0u16..600, 0..100)).prop_map(|(u, r)| Step::Patch(u, r)),
        1 => pairs().prop_map(Step::Replace),
    ];
    prop::collection::vec(step, 1..12)
}

fn name(i: u16) -> String {
    format!("name-{i}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn behaves_as_a_map(steps in steps()) {
        let mut table = Table::default();
        let mut model: BTreeMap<String, u8> = BTreeMap::new();
        for step in steps {
            let before = (table.clone(), model.clone());
            let entries = |pairs: &[(u16, u8)]| pairs.iter().map(|(n, v)| entry(&name(*n), u32::from(*v))).collect::<Vec<_>>();
            table = match &step {
                Step::Patch(upserts, removals) => {
                    for n in removals { model.remove(&name(*n)); }
                    model.extend(upserts.iter().map(|(n, v)| (name(*n), *v)));
                    let removals: Vec<Arc<str>> = removals.iter().map(|n| Arc::from(name(*n))).collect();
                    table.patch(entries(upserts), &removals)
                }
                Step::Replace(pairs) => {
                    model = pairs.iter().map(|(n, v)| (name(*n), *v)).collect();
                    table.replace(entries(pairs))
                }
            };
            let wanted: Vec<Entry> = model.iter().map(|(n, v)| entry(n, u32::from(*v))).collect();
            prop_assert_eq!(table.iter().cloned().collect::<Vec<_>>(), wanted.clone());
            prop_assert_eq!(table.len(), model.len());
            let fresh = Table::from_entries(wanted);
            prop_assert!(fresh.same(&table));
            prop_assert_eq!(fresh.0.chunks.len(), table.0.chunks.len());
            for n in 0..600 {
                prop_assert_eq!(table.contains(&name(n)), model.contains_key(&name(n)));
            }
            let diff = Table::diff(&before.0, &table);
            let changed: Vec<String> = model.iter().filter(|(n, v)| before.1.get(*n) != Some(v)).map(|(n, _)| n.clone()).collect();
            let removed: Vec<String> = before.1.keys().filter(|n| !model.contains_key(*n)).cloned().collect();
            prop_assert_eq!(diff.changed.iter().map(|e| e.name.to_string()).collect::<Vec<_>>(), changed);
            prop_assert_eq!(diff.removed.iter().map(|n| n.to_string()).collect::<Vec<_>>(), removed);
        }
    }
}
