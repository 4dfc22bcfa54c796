// SPDX-License-Identifier: Apache-2.0
//! Steps by a clock that tests hold.

use super::*;

const PATIENCE: Patience = Patience { timeout: Duration::from_secs(10), settle: Duration::from_secs(1) };

fn behind(names: &[&str]) -> Vec<Behind> {
    let id = |name: &&str| format!("sidecar~10.0.0.1~{name}.ns~ns.svc.cluster.local");
    names.iter().map(|name| Behind { id: id(name), lag: Lag::Silent }).collect()
}

fn running(changed: usize, now: Instant) -> Running {
    let push = StepPush { generation: 2, changed, what: "PeerAuthentication a/b" };
    Running::new(None, (Step::Servers, 1), push, now)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_step_waits_for_all_and_settles() {
    let start = Instant::now();
    let mut step = running(2, start);
    assert_eq!(step.look(behind(&["a", "b"]), PATIENCE, start), (false, behind(&["a", "b"])));
    assert_eq!(step.look_at, start + LOOK);
    assert_eq!(step.look(behind(&["b"]), PATIENCE, start + ms(25)), (false, behind(&["b"])));
    assert!(!step.look(behind(&[]), PATIENCE, start + ms(50)).0);
    // One that comes while it settles is waited for as well.
    assert!(!step.look(behind(&["c"]), PATIENCE, start + ms(900)).0);
    assert!(!step.look(behind(&[]), PATIENCE, start + ms(1_000)).0);
    assert!(!step.look(behind(&[]), PATIENCE, start + ms(1_999)).0);
    assert!(step.look(behind(&[]), PATIENCE, start + ms(2_000)).0);
}

#[test]
fn a_step_that_is_new_for_nobody_is_passed_at_once() {
    let start = Instant::now();
    assert_eq!(running(0, start).look(Vec::new(), PATIENCE, start), (true, Vec::new()));
}

#[test]
fn who_does_not_answer_is_passed_over_once() {
    let start = Instant::now();
    let mut step = running(2, start);
    assert!(!step.look(behind(&["a"]), PATIENCE, start + ms(9_999)).0);
    assert!(step.named && step.passed_over.is_empty());
    assert!(!step.look(behind(&["a"]), PATIENCE, start + ms(10_000)).0);
    assert_eq!(step.passed_over, ["a.ns".to_owned()].into());
    assert!(step.look(behind(&["a"]), PATIENCE, start + ms(11_000)).0);
    let push = StepPush { generation: 3, changed: 2, what: "" };
    let mut next = Running::new(Some(step), (Step::Clients, 2), push, start + ms(11_000));
    assert_eq!(next.what, "PeerAuthentication a/b");
    assert!(!next.look(behind(&["a"]), PATIENCE, start + ms(11_000)).0);
    assert_eq!(next.outcome(), Outcome::Withdrawn);
    assert!(next.look(behind(&["a"]), PATIENCE, start + ms(12_000)).0);
    assert_eq!(next.outcome(), Outcome::PassedOver);
}

#[test]
fn other_replicas_are_waited_for_as_long_as_they_may_wait_themselves() {
    let start = Instant::now();
    let mut step = running(0, start);
    let late = || vec!["istiod-b".to_owned()];
    assert!(step.look(Vec::new(), PATIENCE, start).0);
    assert_eq!(step.look_at_replicas(late(), PATIENCE, start + ms(21_999)), late());
    assert_eq!((step.passed, step.look_at), (false, start + ms(21_999) + LOOK));
    assert!(step.look(Vec::new(), PATIENCE, start + ms(22_000)).0);
    assert!(step.look_at_replicas(late(), PATIENCE, start + ms(22_000)).is_empty());
    assert!(step.passed && step.passed_over.contains("istiod-b"));
    assert!(step.look_at_replicas(late(), PATIENCE, start).is_empty(), "once is enough");
}

#[test]
fn proxies_have_time_to_come_back_to_a_control_plane_that_begins_anew() {
    let start = Instant::now();
    let mut step = running(0, start);
    step.expect_back(start + PATIENCE.timeout);
    assert_eq!(step.look_at, start + PATIENCE.timeout);
    assert!(!step.look(behind(&[]), PATIENCE, step.look_at).0, "it settles");
    assert!(!step.look(behind(&["a"]), PATIENCE, step.look_at).0);
    assert!(step.look(behind(&[]), PATIENCE, step.look_at + PATIENCE.settle).1.is_empty());
}

#[test]
fn a_line_names_a_few() {
    let text = Names(names(&behind(&["a", "b"]))).to_string();
    assert_eq!(text, "a.ns (has not acknowledged it), b.ns (has not acknowledged it)");
    let many = behind(&["a", "b", "c", "d", "e", "f", "g"]);
    assert!(Names(names(&many)).to_string().ends_with("e.ns (has not acknowledged it) and 2 more"));
}
