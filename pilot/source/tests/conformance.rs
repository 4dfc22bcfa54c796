// SPDX-License-Identifier: Apache-2.0
//! What every source does, run on each of them.

mod common;

use common::{Bench, bad_policy, bad_vs, vs};
use tiphys_source::Outcome;

/// Makes a test of each of some sources from one body.
macro_rules! conformance {
    ([$($source:ident: $make:ident),*] $tests:tt) => {
        $(conformance! { @ $source $make $tests })*
    };
    (@ $source:ident $make:ident { $($name:ident($bench:ident, [$($first:expr),*]) $body:block)* }) => {
        mod $source {
            use super::*;
            $(#[tokio::test] #[allow(unused_mut)] async fn $name() { let mut $bench = Bench::$make(&[$($first),*]).await; $body })*
        }
    };
}

conformance! { [mem: mem, dir: dir, kube: kube] {
    an_empty_source_is_in_sync(bench, []) {
        assert!(bench.objects.is_empty() && bench.reports.is_empty());
        bench.put("a.yaml", &vs("a", "1"));
        bench.until("a", |b| b.names() == ["a=1"]).await;
    }

    objects_come_change_and_go(bench, [("a.yaml", &vs("a", "1")), ("b.yaml", &vs("b", "1"))]) {
        assert_eq!(bench.names(), ["a=1", "b=1"]);
        bench.put("a.yaml", &vs("a", "2"));
        let batch = bench.next().await;
        assert_eq!(batch.changes.len(), 1, "only what changed is told: {batch:?}");
        assert_eq!(bench.names(), ["a=2", "b=1"]);
        bench.remove("b.yaml");
        bench.until("b gone", |b| b.names() == ["a=2"]).await;
    }

    many_documents_one_file(bench, [("a.yaml", &format!("{}---\n# nothing\n---\n{}", vs("a", "1"), vs("b", "1")))]) {
        assert_eq!(bench.names(), ["a=1", "b=1"]);
        bench.put("a.yaml", &format!("{}---\n{}---\n{}", vs("a", "1"), vs("b", "2"), vs("c", "1")));
        bench.until("b and c", |b| b.names() == ["a=1", "b=2", "c=1"]).await;
        bench.put("a.yaml", &vs("c", "1"));
        bench.until("a and b gone", |b| b.names() == ["c=1"]).await;
    }

    a_refused_object_keeps_its_last_good_version(bench, [("a.yaml", &format!("# comment\n{}", vs("a", "1")))]) {
        bench.put("a.yaml", &format!("# comment\n{}", bad_vs("a")));
        bench.until("report", |b| !b.reports.is_empty()).await;
        assert_eq!(bench.names(), ["a=1"]);
        let lines = bench.lines();
        let wanted = format!("{}VirtualService default/a: spec.hosts[0]: ", bench.at("a.yaml:8:11"));
        assert!(lines[0].starts_with(&wanted), "{lines:?}");
        assert_eq!(bench.reports.values().next().unwrap().outcome, Outcome::Kept);
        bench.put("a.yaml", &vs("a", "2"));
        bench.until("mended", |b| b.reports.is_empty()).await;
        assert_eq!(bench.names(), ["a=2"]);
        bench.remove("a.yaml");
        bench.until("gone", |b| b.objects.is_empty()).await;
    }

    an_object_refused_from_the_start_is_absent(bench, [("a.yaml", &bad_vs("a")), ("b.yaml", &vs("b", "1"))]) {
        assert_eq!(bench.names(), ["b=1"]);
        assert_eq!(bench.reports.values().next().unwrap().outcome, Outcome::Absent);
        bench.put("a.yaml", &vs("a", "2"));
        bench.until("mended", |b| b.names() == ["a=2", "b=1"] && b.reports.is_empty()).await;
    }

    a_security_policy_that_cannot_be_understood_denies(bench, [("b.yaml", &vs("b", "1"))]) {
        bench.put("p.yaml", &bad_policy("p"));
        bench.until("denial", |b| !b.denying.is_empty()).await;
        let report = bench.denying.values().next().unwrap().clone();
        assert_eq!(report.outcome, Outcome::Denied);
        let wanted = format!("{}AuthorizationPolicy default/p: spec.action: ", bench.at("p.yaml:7:3"));
        assert!(bench.lines()[0].starts_with(&wanted), "{:?}", bench.lines());
        bench.put("p.yaml", &bad_policy("p").replace("PERHAPS", "DENY\n  rules: [{}]"));
        bench.until("good", |b| b.denying.is_empty() && b.reports.is_empty() && b.objects.len() == 2).await;
        // Once good, the last good version is what protects.
        bench.put("p.yaml", &bad_policy("p"));
        bench.until("kept", |b| b.reports.values().any(|r| r.outcome == Outcome::Kept)).await;
        assert!(bench.denying.is_empty() && bench.objects.len() == 2);
        bench.remove("p.yaml");
        bench.until("gone", |b| b.names() == ["b=1"] && b.reports.is_empty()).await;
    }
} }

// Of sources whose objects stand in texts.
conformance! { [mem_texts: mem, dir_texts: dir] {
    a_text_that_does_not_parse_keeps_what_it_gave(bench, [("a.yaml", &vs("a", "1"))]) {
        bench.put("a.yaml", "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a\nspec:\n");
        bench.until("report", |b| !b.reports.is_empty()).await;
        assert_eq!(bench.names(), ["a=1"]);
        let line = bench.lines().remove(0);
        assert!(line.starts_with("a.yaml:4:") || line.starts_with("a.yaml:3:"), "{line}");
        assert!(line.ends_with("[the last good version stays in force]"), "{line}");
        bench.put("a.yaml", &vs("a", "2"));
        bench.until("mended", |b| b.reports.is_empty()).await;
        assert_eq!(bench.names(), ["a=2"]);
    }

    a_broken_document_does_not_hide_the_others(bench, [("a.yaml", &format!("{}---\n{}", vs("a", "1"), vs("b", "1")))]) {
        bench.put("a.yaml", &format!("{}---\n{{{{broken\n---\n{}", vs("a", "2"), vs("c", "1")));
        bench.until("a and c", |b| b.names() == ["a=2", "b=1", "c=1"]).await;
        assert_eq!(bench.reports.len(), 1);
        bench.put("a.yaml", &format!("{}---\n{}", vs("a", "2"), vs("c", "1")));
        bench.until("b gone", |b| b.names() == ["a=2", "c=1"]).await;
        assert!(bench.reports.is_empty());
    }

    a_duplicate_names_both_places_and_the_first_stays(bench, [("b.yaml", &vs("a", "b"))]) {
        bench.put("a.yaml", &vs("a", "a"));
        bench.until("report", |b| !b.reports.is_empty()).await;
        assert_eq!(bench.names(), ["a=b"]);
        let (line, other) = (bench.lines().remove(0), bench.place("b.yaml"));
        assert!(line.starts_with("a.yaml:1:1: VirtualService default/a: is also in b.yaml:1:1, which stays in force"), "{line} {other:?}");
        bench.remove("b.yaml");
        bench.until("the other takes over", |b| b.names() == ["a=a"] && b.reports.is_empty()).await;
    }

    a_fresh_start_takes_the_first_by_name(bench, [("b.yaml", &vs("a", "b")), ("a.yaml", &format!("{}---\n{}", vs("a", "a"), vs("a", "again")))]) {
        assert_eq!(bench.names(), ["a=a"]);
        assert_eq!(bench.reports.len(), 2, "{:?}", bench.lines());
        bench.put("a.yaml", &vs("z", "1"));
        bench.until("the other takes over", |b| b.names() == ["a=b", "z=1"] && b.reports.is_empty()).await;
    }

    an_object_may_move(bench, [("a.yaml", &vs("a", "1"))]) {
        bench.put("b.yaml", &vs("a", "1"));
        bench.remove("a.yaml");
        bench.quiet().await;
        assert_eq!(bench.names(), ["a=1"]);
        assert!(bench.reports.is_empty());
    }

    kinds_of_others_are_passed_over_and_unknown_ones_of_ours_are_not(bench, [
        ("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualServise\nmetadata: {name: t}\n")
    ]) {
        let reports: Vec<_> = bench.reports.values().map(|r| (r.is_error(), r.lines().next().unwrap())).collect();
        assert_eq!(reports.len(), 2);
        let (error, warning) = (reports.iter().find(|r| r.0).unwrap(), reports.iter().find(|r| !r.0).unwrap());
        assert!(error.1.contains("VirtualServise") && warning.1.contains("Deployment d"), "{reports:?}");
        bench.remove("a.yaml");
        bench.until("mended", |b| b.reports.is_empty()).await;
    }

    lists_are_objects_and_their_fields_are_found(bench, [
        ("l.json", r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a", "labels": {"v": "1"}},
   "spec": {"hosts": ["a.example"], "http": [{"route": [{"destination": {"host": "b.example"}}]}]}},
  {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "b"},
   "spec": {"hosts": ["a b"], "http": [{"route": [{"destination": {"host": "b.example"}}]}]}}]}"#)
    ]) {
        assert_eq!(bench.names(), ["a=1"]);
        assert!(bench.lines()[0].starts_with("l.json:5:23: VirtualService default/b: spec.hosts[0]: "), "{:?}", bench.lines());
        assert!(bench.is_running());
    }
} }
