// SPDX-License-Identifier: Apache-2.0
//! Any sequence of views: clients of both variants end with the last one, and on the way never refer to what they do not have.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tiphys_xds::{Options, ResourceType, Table};

/// A mesh: clusters with the versions of themselves and of their endpoints, and the clusters that each route names. A listener of the
/// same name belongs to each route.
#[derive(Clone, Debug, Default)]
struct World {
    clusters: BTreeMap<u8, (u8, u8)>,
    routes: BTreeMap<u8, BTreeSet<u8>>,
}

impl World {
    fn tables(&self) -> Vec<(ResourceType, Table)> {
        let map = |ty, pairs: Vec<(String, String)>| {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (&**n, &**v)).collect();
            (ty, table(ty, &pairs))
        };
        let cluster = |c: &u8| format!("c{c}");
        let routes = |list: &BTreeSet<u8>| list.iter().map(cluster).collect::<Vec<_>>().join(",");
        let named = |pair: (String, u8)| (pair.0.clone(), format!("{};{}", pair.0, pair.1));
        vec![
            map(CDS, self.clusters.iter().map(|(c, v)| named((cluster(c), v.0))).collect()),
            map(EDS, self.clusters.iter().map(|(c, v)| named((cluster(c), v.1))).collect()),
            map(LDS, self.routes.keys().map(|r| (format!("r{r}"), format!("r{r};"))).collect()),
            map(RDS, self.routes.iter().map(|(r, l)| (format!("r{r}"), format!("r{r};{}", routes(l)))).collect()),
        ]
    }
}

fn worlds() -> impl Strategy<Value = Vec<World>> {
    let clusters = prop::collection::btree_map(0u8..10, (0u8..3, 0u8..3), 0..8);
    let routes = prop::collection::btree_map(0u8..4, prop::collection::btree_set(0u8..10, 0..4), 0..4);
    let world = (clusters, routes).prop_map(|(clusters, mut routes)| {
        // A route names only clusters of its own view.
        routes.values_mut().for_each(|list| list.retain(|c| clusters.contains_key(c)));
        World { clusters, routes }
    });
    prop::collection::vec(world, 1..8)
}

type Held = BTreeMap<ResourceType, BTreeMap<String, String>>;

/// What a proxy does: it holds resources, waits for the endpoints of new and changed clusters, and checks that it can route.
#[derive(Default)]
struct Proxy {
    held: Held,
    warming: BTreeSet<String>,
    asked: BTreeMap<ResourceType, BTreeSet<String>>,
    /// What happened, for whoever reads of a failure.
    log: Vec<String>,
}

impl Proxy {
    fn of(&mut self, ty: ResourceType) -> &mut BTreeMap<String, String> {
        self.held.entry(ty).or_default()
    }

    fn take(&mut self, ty: ResourceType, changed: Vec<(String, String)>, removed: &[String]) {
        let contents: Vec<&String> = changed.iter().map(|(_, content)| content).collect();
        self.log.push(format!("got {ty} {contents:?}, removed {removed:?}"));
        // What was on its way when it was given up is not taken, as Envoy does not.
        let asked = self.asked.get(&ty).cloned();
        let asked_for =
            |name: &String| ty == CDS || ty == LDS || asked.as_ref().is_some_and(|asked| asked.contains(name));
        for (name, value) in changed.into_iter().filter(|(name, _)| asked_for(name)) {
            if ty == CDS && self.of(CDS).get(&name) != Some(&value) {
                self.warming.insert(name.clone());
            }
            if ty == EDS {
                self.warming.remove(&name);
            }
            self.of(ty).insert(name, value);
        }
        for name in removed {
            self.of(ty).remove(name);
            if ty == CDS {
                self.warming.remove(name);
            }
        }
    }

    /// The names of a type that what is held makes it ask for; what is not wanted is dropped.
    fn wanted(&mut self, ty: ResourceType) -> BTreeSet<String> {
        let parent = if ty == EDS { CDS } else { LDS };
        let wanted: BTreeSet<String> = self.of(parent).keys().cloned().collect();
        self.of(ty).retain(|n, _| wanted.contains(n));
        wanted
    }

    /// Each route of a listener names only clusters that are there, and have had endpoints.
    fn check(&self) {
        let none = BTreeMap::new();
        let get = |ty| self.held.get(&ty).unwrap_or(&none);
        for route in get(LDS).keys().filter_map(|l| get(RDS).get(l)) {
            let clusters = route.split_once(';').map_or("", |(_, list)| list);
            for cluster in clusters.split(',').filter(|c| !c.is_empty()) {
                assert!(get(CDS).contains_key(cluster), "{route} names {cluster}, which is not there: {self}");
                assert!(get(EDS).contains_key(cluster), "{route} names {cluster}, which has no endpoints: {self}");
            }
        }
    }
}

impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} after\n{}", self.held, self.log.join("\n"))
    }
}

async fn run_delta(mut client: Delta, proxy: &std::sync::Mutex<Proxy>) {
    client.subscribe(CDS, &[], &[]).await;
    let mut listeners = false;
    loop {
        let response = client.responses.message().await.unwrap().unwrap();
        let ty = ResourceType::find(&response.type_url).unwrap();
        let changed = response.resources.iter().map(|r| (r.name.clone(), text(&r.resource.as_ref().unwrap().value)));
        let mut ask = None;
        {
            let mut proxy = proxy.lock().unwrap();
            proxy.take(ty, changed.collect(), &response.removed_resources);
            if ty == CDS || ty == LDS {
                let child = if ty == CDS { EDS } else { RDS };
                let wanted = proxy.wanted(child);
                let asked = proxy.asked.entry(child).or_default();
                let add: Vec<String> = wanted.difference(asked).cloned().collect();
                let gone: Vec<String> = asked.difference(&wanted).cloned().collect();
                *asked = wanted;
                ask = Some((child, add, gone)).filter(|(_, a, g)| !a.is_empty() || !g.is_empty());
                proxy
                    .log
                    .extend(ask.iter().map(|(ty, add, gone)| format!("asked for {ty} {add:?}, no more for {gone:?}")));
            }
            proxy.check();
        }
        client.answer(&response, None).await;
        if let Some((child, add, gone)) = ask {
            let add: Vec<&str> = add.iter().map(String::as_str).collect();
            let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
            client.subscribe(child, &add, &gone).await;
        }
        // As Envoy does: when the first clusters have their endpoints.
        if !listeners && proxy.lock().unwrap().warming.is_empty() {
            listeners = true;
            client.subscribe(LDS, &[], &[]).await;
        }
    }
}

async fn run_sotw(mut client: Sotw, proxy: &std::sync::Mutex<Proxy>) {
    client.request(CDS, &[], "", "", None).await;
    let mut listeners = false;
    let mut last: BTreeMap<ResourceType, (String, String)> = BTreeMap::new();
    loop {
        let response = client.responses.message().await.unwrap().unwrap();
        let ty = ResourceType::find(&response.type_url).unwrap();
        last.insert(ty, (response.version_info.clone(), response.nonce.clone()));
        let named = |any: &tiphys_proto::google::protobuf::Any| {
            let value = text(&any.value);
            (value.split(';').next().unwrap().to_owned(), value)
        };
        let changed: Vec<(String, String)> = response.resources.iter().map(named).collect();
        let mut ask = None;
        let names: Vec<String> = {
            let mut proxy = proxy.lock().unwrap();
            let full = ty == CDS || ty == LDS;
            let gone = |n: &&String| full && !changed.iter().any(|(c, _)| c == *n);
            let removed: Vec<String> = proxy.of(ty).keys().filter(gone).cloned().collect();
            proxy.take(ty, changed, &removed);
            if full {
                let child = if ty == CDS { EDS } else { RDS };
                let wanted = proxy.wanted(child);
                let first = !proxy.asked.contains_key(&child);
                proxy.asked.insert(child, wanted.clone());
                // As Envoy does, also when a changed cluster makes it ask for the same names again.
                ask = Some((child, wanted)).filter(|(_, w)| !first || !w.is_empty());
                proxy.log.extend(ask.iter().map(|(ty, names)| format!("asked for {ty} {names:?}")));
            }
            proxy.check();
            proxy.asked.get(&ty).into_iter().flatten().cloned().collect()
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        client.request(ty, &names, &response.version_info, &response.nonce, None).await;
        if let Some((child, wanted)) = ask {
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let (version, nonce) = last.get(&child).cloned().unwrap_or_default();
            client.request(child, &wanted, &version, &nonce, None).await;
        }
        // As Envoy does: when the first clusters have their endpoints.
        if !listeners && proxy.lock().unwrap().warming.is_empty() {
            listeners = true;
            client.request(LDS, &[], "", "", None).await;
        }
    }
}

async fn follow(worlds: Vec<World>) {
    // Whoever takes its time gets nothing out of order here: there is no time after which it would.
    let server = serve(Options { patience: Duration::from_secs(3_600), ..Options::default() }).await;
    server.stub.set(worlds[0].tables());
    let (delta, sotw) = (std::sync::Mutex::<Proxy>::default(), std::sync::Mutex::<Proxy>::default());
    let (first, second) = (Delta::connect(&server, "delta").await, Sotw::connect(&server, "sotw").await);
    let last = worlds.last().unwrap().clone();
    let script = async {
        for (i, world) in worlds.into_iter().enumerate() {
            for proxy in [&delta, &sotw] {
                proxy.lock().unwrap().log.push(format!("view {world:?}"));
            }
            server.stub.set(world.tables());
            // Some views follow at once, others when the clients are under way.
            tokio::time::sleep(Duration::from_millis([0, 1, 4][i % 3])).await;
        }
        let wanted: Held = last.tables().into_iter().map(|(ty, t)| (ty, contents(&t))).collect();
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if is(&delta, &wanted) && is(&sotw, &wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for (name, proxy) in [("delta", &delta), ("sotw", &sotw)] {
            let proxy = proxy.lock().unwrap();
            assert_eq!(full(&proxy.held), wanted, "{name}: {proxy}");
            assert_eq!(proxy.warming, BTreeSet::new(), "{name}: {proxy}");
        }
    };
    tokio::select! {
        () = run_delta(first, &delta) => {}
        () = run_sotw(second, &sotw) => {}
        () = script => {}
    }
}

fn contents(table: &Table) -> BTreeMap<String, String> {
    table.iter().map(|e| (e.name.to_string(), text(&e.any().unwrap().value))).collect()
}

fn full(held: &Held) -> Held {
    [CDS, EDS, LDS, RDS].into_iter().map(|ty| (ty, held.get(&ty).cloned().unwrap_or_default())).collect()
}

fn is(proxy: &std::sync::Mutex<Proxy>, wanted: &Held) -> bool {
    let proxy = proxy.lock().unwrap();
    proxy.warming.is_empty() && full(&proxy.held) == *wanted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn all_end_alike_and_never_refer_to_nothing(worlds in worlds()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(follow(worlds));
    }
}
