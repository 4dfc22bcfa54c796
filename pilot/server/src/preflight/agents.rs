// SPDX-License-Identifier: Apache-2.0
//! What agents say that their workloads took: `GET /debug/plaintext` of each on its status port, many at a time. One that does not answer is left
//! out, as are Istio's own, which count nothing of the kind.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tiphys_preflight::{Agent, PodTaken, Taken};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How many are asked at once.
const AT_ONCE: usize = 64;
/// How long one is waited for.
const EACH: Duration = Duration::from_secs(2);
/// Longest answer in bytes: ports and 256 addresses.
const LONGEST: usize = 128 << 10;

type Http = Client<HttpConnector, Empty<bytes::Bytes>>;

/// Asks agents until the deadline.
pub(super) async fn ask(agents: Vec<Agent>, minutes: u32, deadline: Instant) -> Taken {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(EACH));
    let client: Http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let (mut waiting, mut running, mut taken) = (agents.into_iter(), JoinSet::new(), Taken::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(agent) = waiting.next()
        {
            running.spawn(one(client.clone(), agent, minutes));
        }
        match timeout_at(deadline, running.join_next()).await {
            Ok(Some(Ok(Some((pod, said))))) => drop(taken.insert(pod, said)),
            Ok(Some(_)) => {}
            // All are done, or it takes too long: those that run are dropped.
            Ok(None) | Err(_) => return taken,
        }
    }
}

async fn one(client: Http, agent: Agent, minutes: u32) -> Option<(String, PodTaken)> {
    let uri = format!("http://{}/debug/plaintext?minutes={minutes}", agent.address).parse().ok()?;
    let answer = async {
        let response = client.get(uri).await.ok().filter(|response| response.status().is_success())?;
        let body = Limited::new(response.into_body(), LONGEST).collect().await.ok()?.to_bytes();
        serde_json::from_slice(&body).ok()
    };
    Some((agent.pod, timeout(EACH, answer).await.ok()??))
}
