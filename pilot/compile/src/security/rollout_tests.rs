// SPDX-License-Identifier: Apache-2.0
//! Changes of mutual TLS against proxies that take what they are given one after the other.

use super::*;
use crate::{Settings, lower_mesh};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tiphys_api::mesh::MeshConfig;
use tiphys_model::{PeerAuthentication, Str};

const ROOT: &str = "istio-system";
/// Workloads by namespace and application.
const WORKLOADS: &[(&str, &str)] = &[("a", "x"), ("a", "y"), ("b", "x")];
/// A port that policies name, and all others.
const PORTS: &[Option<u32>] = &[Some(80), None];

fn labels(app: &str) -> Labels {
    [(Str::from("app"), Str::from(app))].into_iter().collect()
}

fn policy(namespace: &str, app: Option<&str>, mode: Option<MutualTls>, port: Option<MutualTls>) -> PeerAuthentication {
    PeerAuthentication {
        name: "p".into(),
        namespace: namespace.into(),
        selector: app.map(labels),
        mode,
        ports: port.map(|mode| (80, Some(mode))).into_iter().collect(),
    }
}

fn peers(policies: Vec<PeerAuthentication>) -> Peers {
    Marked::new(policies.into_iter().map(Marked::new).collect())
}

fn of_mesh(mode: MutualTls) -> Peers {
    peers(vec![policy(ROOT, None, Some(mode), None)])
}

fn mesh() -> Mesh {
    lower_mesh(&MeshConfig::default(), &Settings::default())
}

fn picture(rollout: &Rollout, wanted: &Peers) -> Security {
    Security {
        peers: wanted.clone(),
        told: rollout.told().clone(),
        outdated: rollout.outdated(),
        requests: Marked::new(Vec::new()),
        authorization: Marked::new(Vec::new()),
    }
}

/// Whether a client with one picture reaches a workload with another.
fn reaches(mesh: &Mesh, client: &Security, server: &Security) -> Result<(), String> {
    for (namespace, app) in WORKLOADS {
        let labels = labels(app);
        let calls = Calls::of(&client.told, mesh, namespace, &labels);
        let modes = server.modes_of(mesh, namespace, &labels);
        for port in PORTS {
            let mode = port.map_or(modes.mode, |port| modes.of_port(port));
            let plain = calls.in_plain_text(*port);
            if (plain && mode == MutualTls::Strict) || (!plain && mode == MutualTls::Disable) {
                return Err(format!(
                    "{app}.{namespace}, port {port:?}: called {}, takes {mode:?}",
                    if plain { "in plain text" } else { "by mutual TLS" }
                ));
            }
        }
    }
    Ok(())
}

/// A mesh of proxies, each of which acts on the picture that it took last, as client and as server.
struct Proxies {
    mesh: Mesh,
    rollout: Rollout,
    wanted: Peers,
    generation: u64,
    /// Epoch of the present step, and the generation that brought it.
    begun: (u64, u64),
    /// None: gone.
    taken: Vec<Option<(u64, Security)>>,
}

impl Proxies {
    fn new(count: usize, wanted: Peers) -> Self {
        let mut rollout = Rollout::new(true);
        rollout.want(&wanted);
        let first = Some((1, picture(&rollout, &wanted)));
        Self { mesh: mesh(), begun: (rollout.epoch(), 1), rollout, wanted, generation: 1, taken: vec![first; count] }
    }

    fn push(&mut self) {
        self.rollout.want(&self.wanted);
        self.generation += 1;
        if self.begun.0 != self.rollout.epoch() {
            self.begun = (self.rollout.epoch(), self.generation);
        }
    }

    fn want(&mut self, wanted: Peers) {
        self.wanted = wanted;
        self.push();
    }

    fn take(&mut self, proxy: usize) {
        self.taken[proxy] = Some((self.generation, picture(&self.rollout, &self.wanted)));
        self.pass_if_all_took();
    }

    fn pass_if_all_took(&mut self) {
        while self.rollout.step() != Step::Settled && self.taken.iter().flatten().all(|(g, _)| *g >= self.begun.1) {
            self.pass();
        }
    }

    fn pass(&mut self) {
        self.rollout.pass();
        self.push();
    }

    fn check(&self) -> Result<(), String> {
        let live = || self.taken.iter().flatten().map(|(_, security)| security);
        live().try_for_each(|client| live().try_for_each(|server| reaches(&self.mesh, client, server)))
    }

    /// Whatever happened before: when proxies go on taking what they are given, they come to what is wanted.
    fn end(mut self) {
        for _ in 0..3 {
            (0..self.taken.len()).for_each(|proxy| self.take(proxy));
        }
        assert_eq!(self.rollout.step(), Step::Settled);
        let fresh = Proxies::new(1, self.wanted.clone()).taken.remove(0).unwrap().1;
        for (_, security) in self.taken.iter().flatten() {
            assert_eq!(security.fingerprint(), fresh.fingerprint());
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Want(Peers),
    Take(usize),
    Leave(usize),
    /// Those that did not take a step are passed over.
    TimeOut,
}

fn mode() -> impl Strategy<Value = MutualTls> {
    prop_oneof![Just(MutualTls::Disable), Just(MutualTls::Permissive), Just(MutualTls::Strict)]
}

/// Policies under which a mesh at rest works: of a namespace that switches mutual TLS off for its clients no workload may insist on it.
fn policies() -> impl Strategy<Value = Peers> {
    let maybe = || proptest::option::of(mode());
    (maybe(), maybe(), maybe(), maybe(), maybe())
        .prop_map(|(of_mesh, of_a, of_b, of_x, of_port)| {
            peers(vec![
                policy(ROOT, None, of_mesh, None),
                policy("a", Some("x"), of_x, of_port),
                policy("a", None, of_a, None),
                policy("b", None, of_b, None),
            ])
        })
        .prop_filter("works at rest", |peers| {
            let security = Proxies::new(1, peers.clone()).taken.remove(0).unwrap().1;
            reaches(&mesh(), &security, &security).is_ok()
        })
}

const COUNT: usize = 3;

fn events(with_time_outs: bool) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => policies().prop_map(Event::Want),
        9 => (0..COUNT).prop_map(Event::Take),
        1 => (0..COUNT).prop_map(Event::Leave),
        u32::from(with_time_outs) => Just(Event::TimeOut),
    ];
    proptest::collection::vec(event, 1..60)
}

proptest! {
    #[test]
    fn no_call_is_refused_while_proxies_take_what_they_are_given(first in policies(), events in events(false)) {
        let mut proxies = Proxies::new(COUNT, first);
        for event in events {
            match event.clone() {
                Event::Want(wanted) => proxies.want(wanted),
                Event::Take(proxy) => proxies.take(proxy),
                // It comes back as another one, with its next Take.
                Event::Leave(proxy) => {
                    proxies.taken[proxy] = None;
                    proxies.pass_if_all_took();
                }
                Event::TimeOut => {}
            }
            prop_assert_eq!(proxies.check(), Ok(()), "after {:?}", event);
        }
        proxies.end();
    }

    #[test]
    fn whatever_happens_it_ends_with_what_is_wanted(first in policies(), events in events(true)) {
        let mut proxies = Proxies::new(COUNT, first);
        for event in events {
            match event {
                Event::Want(wanted) => proxies.want(wanted),
                Event::Take(proxy) => proxies.take(proxy),
                Event::Leave(proxy) => proxies.taken[proxy] = None,
                Event::TimeOut => proxies.pass(),
            }
        }
        proxies.end();
    }
}

/// The steps of one change from a mesh at rest: after each what clients do and what servers take.
fn steps(from: MutualTls, to: MutualTls) -> Vec<(Step, bool, MutualTls)> {
    let mut proxies = Proxies::new(0, of_mesh(from));
    proxies.want(of_mesh(to));
    let mut seen = Vec::new();
    loop {
        let security = picture(&proxies.rollout, &proxies.wanted);
        let calls = Calls::of(&security.told, &proxies.mesh, "a", &labels("x"));
        let mode = security.modes_of(&proxies.mesh, "a", &labels("x")).mode;
        seen.push((proxies.rollout.step(), calls.in_plain_text(None), mode));
        if proxies.rollout.step() == Step::Settled {
            return seen;
        }
        proxies.pass();
    }
}

#[test]
fn up_and_down_servers_take_both_while_clients_change() {
    use MutualTls::{Disable, Permissive, Strict};
    let up = [(Step::Servers, true, Permissive), (Step::Clients, false, Permissive), (Step::Settled, false, Strict)];
    assert_eq!(steps(Disable, Strict), up);
    let down = [(Step::Servers, false, Permissive), (Step::Clients, true, Permissive), (Step::Settled, true, Disable)];
    assert_eq!(steps(Strict, Disable), down);
}

#[test]
fn what_clients_do_not_notice_is_taken_at_once() {
    assert_eq!(steps(MutualTls::Permissive, MutualTls::Strict), [(Step::Settled, false, MutualTls::Strict)]);
    assert_eq!(steps(MutualTls::Strict, MutualTls::Permissive), [(Step::Settled, false, MutualTls::Permissive)]);
    let mut rollout = Rollout::new(true);
    rollout.want(&peers(Vec::new()));
    rollout.want(&of_mesh(MutualTls::Strict));
    assert_eq!((rollout.step(), rollout.epoch()), (Step::Settled, 0));
}

#[test]
fn the_first_policies_are_taken_as_they_are_and_so_are_all_without_order() {
    let mut rollout = Rollout::new(true);
    rollout.want(&of_mesh(MutualTls::Disable));
    assert_eq!((rollout.step(), rollout.outdated()), (Step::Settled, vec![]));
    let mut rollout = Rollout::new(false);
    rollout.want(&of_mesh(MutualTls::Disable));
    rollout.want(&of_mesh(MutualTls::Strict));
    assert_eq!((rollout.step(), rollout.outdated()), (Step::Settled, vec![]));
    assert!(rollout.told().all_take_mtls());
}

#[test]
fn a_change_that_is_taken_back_before_clients_were_told_is_over_at_once() {
    let mut rollout = Rollout::new(true);
    rollout.want(&of_mesh(MutualTls::Disable));
    rollout.want(&of_mesh(MutualTls::Strict));
    assert_eq!(rollout.step(), Step::Servers);
    rollout.want(&of_mesh(MutualTls::Disable));
    assert_eq!(rollout.step(), Step::Settled);
    // Once they were told, some may act on it.
    rollout.want(&of_mesh(MutualTls::Strict));
    rollout.pass();
    rollout.want(&of_mesh(MutualTls::Disable));
    assert_eq!((rollout.step(), rollout.outdated().len()), (Step::Servers, 1));
}

#[test]
fn only_ports_that_clients_call_otherwise_take_both() {
    let mut rollout = Rollout::new(true);
    let strict_but_80 = policy("a", Some("x"), Some(MutualTls::Strict), Some(MutualTls::Disable));
    rollout.want(&peers(vec![strict_but_80]));
    let wanted = of_mesh(MutualTls::Strict);
    rollout.want(&wanted);
    let modes = picture(&rollout, &wanted).modes_of(&mesh(), "a", &labels("x"));
    assert_eq!((modes.mode, modes.ports), (MutualTls::Strict, BTreeMap::from([(80, MutualTls::Permissive)])));
    let others = picture(&rollout, &wanted).modes_of(&mesh(), "b", &labels("x"));
    assert!(others.mode == MutualTls::Strict && others.ports.values().all(|mode| *mode == MutualTls::Strict));
}

#[test]
fn policies_are_told_to_other_replicas_as_they_are() {
    let policies =
        [policy("a", Some("x"), None, Some(MutualTls::Disable)), policy(ROOT, None, Some(MutualTls::Strict), None)];
    let told = ClientPolicies::of(&peers(policies.to_vec()));
    let text = serde_json::to_string(&told).unwrap();
    let read: ClientPolicies = serde_json::from_str(&text).unwrap();
    assert_eq!((&read, read.name()), (&told, told.name()), "{text}");
    assert_ne!(told.name(), ClientPolicies::default().name());
}

#[test]
fn who_begins_anew_goes_on_with_what_clients_were_told() {
    let off = ClientPolicies::of(&of_mesh(MutualTls::Disable));
    let mut rollout = Rollout::new(true);
    rollout.resume(vec![off.clone()]);
    rollout.want(&of_mesh(MutualTls::Strict));
    assert_eq!((rollout.step(), rollout.told(), rollout.outdated()), (Step::Servers, &off, vec![off.clone()]));
    let mut rollout = Rollout::new(true);
    rollout.resume(vec![off]);
    rollout.want(&of_mesh(MutualTls::Disable));
    assert_eq!(rollout.step(), Step::Settled);
}

/// Two replicas, of which each knows only its own proxies; proxies of both call each other.
#[derive(Clone, Debug)]
enum Shared {
    Want(usize, usize),
    Take(usize, usize),
}

proptest! {
    #[test]
    fn replicas_that_wait_for_each_other_refuse_no_call(
        wanted in proptest::collection::vec(policies(), 1..5),
        events in proptest::collection::vec(prop_oneof![
            1 => (0..2usize, 1..3usize).prop_map(|(replica, further)| Shared::Want(replica, further)),
            5 => (0..2usize, 0..2usize).prop_map(|(replica, proxy)| Shared::Take(replica, proxy)),
        ], 1..80),
    ) {
        let mut replicas = [Proxies::new(2, wanted[0].clone()), Proxies::new(2, wanted[0].clone())];
        // What each says: what it wants, and how far it is.
        let name = |proxies: &Proxies| proxies.rollout.target().name();
        let mut said = [(name(&replicas[0]), 3), (name(&replicas[1]), 3)];
        let mut seen = [0, 0];
        let settle = |replicas: &mut [Proxies; 2], said: &mut [(String, u8); 2]| {
            for _ in 0..8 {
                for one in 0..2 {
                    let proxies = &mut replicas[one];
                    let wanted = name(proxies);
                    let took = proxies.taken.iter().flatten().all(|(taken, _)| *taken >= proxies.begun.1);
                    let reached = match proxies.rollout.step() {
                        Step::Settled => 3,
                        Step::Servers if took => { proxies.rollout.promise(); 1 }
                        Step::Servers => 0,
                        Step::Clients if took => 2,
                        Step::Clients => 1,
                    };
                    said[one] = (wanted.clone(), reached);
                    let needed = match proxies.rollout.step() { Step::Settled => 9, Step::Servers => 1, Step::Clients => 2 };
                    let other = &said[1 - one];
                    if took && reached >= needed && other.0 == wanted && other.1 >= needed {
                        proxies.pass();
                    }
                }
            }
        };
        let check = |replicas: &[Proxies; 2]| {
            let live = || replicas.iter().flat_map(|proxies| proxies.taken.iter().flatten()).map(|(_, security)| security);
            live().try_for_each(|client| live().try_for_each(|server| reaches(&replicas[0].mesh, client, server)))
        };
        for event in events {
            match event.clone() {
                // A replica may pass over what was wanted for a moment only; none goes back.
                Shared::Want(replica, further) => {
                    seen[replica] = (seen[replica] + further).min(wanted.len() - 1);
                    let wanted = wanted[seen[replica]].clone();
                    replicas[replica].want(wanted);
                }
                Shared::Take(replica, proxy) => {
                    let proxies = &mut replicas[replica];
                    proxies.taken[proxy] = Some((proxies.generation, picture(&proxies.rollout, &proxies.wanted)));
                }
            }
            settle(&mut replicas, &mut said);
            prop_assert_eq!(check(&replicas), Ok(()), "after {:?}", event);
        }
        let last = wanted[wanted.len() - 1].clone();
        replicas.iter_mut().for_each(|proxies| proxies.want(last.clone()));
        for _ in 0..6 {
            for proxies in &mut replicas {
                let now = picture(&proxies.rollout, &proxies.wanted);
                let generation = proxies.generation;
                proxies.taken.iter_mut().for_each(|taken| *taken = Some((generation, now.clone())));
            }
            settle(&mut replicas, &mut said);
            prop_assert_eq!(check(&replicas), Ok(()));
        }
        prop_assert!(replicas.iter().all(|proxies| proxies.rollout.step() == Step::Settled));
    }
}
