// SPDX-License-Identifier: Apache-2.0
//! What it takes until pods run: when their containers started, by the log of the container runtime, which is finer than the seconds of pods'
//! statuses, and the processor time of all that runs in the cluster, by its control group.

use crate::cluster::Cluster;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What containerd says of a pod's sandbox, and of a container in one.
const SANDBOX: &str = "RunPodSandbox for ";
const CREATED: &str = "CreateContainer within sandbox ";
const STARTED: &str = "StartContainer for ";

/// Something that each pod goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `sandbox`, or a container that has started.
    pub name: String,
    /// When half of the pods had come so far.
    pub median: Duration,
}

/// The steps of the pods of a namespace whose sandboxes were made since a moment, in the order of their times after it.
///
/// # Errors
/// When the log cannot be read.
pub fn steps(cluster: &Cluster, namespace: &str, since: OffsetDateTime) -> Result<Vec<Step>> {
    let path = crate::folder::logs(cluster.name())?.join("node-1/containerd.log");
    let log = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(of_log(&log, namespace, since))
}

/// How much time processors have spent on the cluster: its control plane, its node, and all pods. None where the kernel does not count it.
pub fn processor_time(cluster: &Cluster) -> Option<Duration> {
    let group = Path::new("tiphys").join(cluster.name());
    let first = std::fs::read_to_string(Path::new("/sys/fs/cgroup/cpuacct").join(&group).join("cpuacct.usage"));
    if let Ok(nanoseconds) = first {
        return Some(Duration::from_nanos(nanoseconds.trim().parse().ok()?));
    }
    let second = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(&group).join("cpu.stat")).ok()?;
    let microseconds = second.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(microseconds.parse().ok()?))
}

fn of_log(log: &str, namespace: &str, since: OffsetDateTime) -> Vec<Step> {
    let here = format!("Namespace:{namespace},");
    let (mut sandboxes, mut containers) = (Vec::new(), BTreeMap::new());
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for line in log.lines() {
        let Some((at, message)) = parts(line) else { continue };
        let Ok(after) = Duration::try_from(at - since) else { continue };
        // What begins is told first, and then with how it ended.
        if let Some(rest) = message.strip_prefix(SANDBOX)
            && rest.contains(&here)
            && let Some((_, id)) = rest.split_once(" returns sandbox id ")
        {
            sandboxes.push(quoted(id));
            times.entry("sandbox").or_default().push(after);
        } else if let Some(rest) = message.strip_prefix(CREATED)
            && sandboxes.contains(&quoted(rest))
            && let Some((container, id)) = rest.split_once(" returns container id ")
        {
            let name = container.split_once("{Name:").and_then(|(_, name)| name.split_once(','));
            containers.insert(quoted(id), name.map_or("", |(name, _)| name));
        } else if let Some(rest) = message.strip_prefix(STARTED)
            && rest.contains(" returns successfully")
            && let Some(name) = containers.get(quoted(rest))
        {
            times.entry(name).or_default().push(after);
        }
    }
    let mut steps: Vec<Step> = times.into_iter().map(|(name, times)| step(name, times)).collect();
    steps.sort_by_key(|step| step.median);
    steps
}

/// When something was said, and what.
fn parts(line: &str) -> Option<(OffsetDateTime, &str)> {
    let (at, rest) = line.strip_prefix("time=\"")?.split_once('"')?;
    Some((OffsetDateTime::parse(at, &Rfc3339).ok()?, rest.split_once(" msg=\"")?.1))
}

/// What stands between the first quotation marks, which a quotation itself escapes.
fn quoted(text: &str) -> &str {
    text.split('"').nth(1).map_or("", |text| text.trim_end_matches('\\'))
}

fn step(name: &str, mut times: Vec<Duration>) -> Step {
    times.sort();
    Step { name: name.to_owned(), median: times.get(times.len() / 2).copied().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panic")]
    use super::*;

    const LOG: &str = r#"
time="2026-11-21T22:34:10.000000000Z" level=info msg="RunPodSandbox for &PodSandboxMetadata{Name:a,Uid:u,Namespace:mine,Attempt:0,} returns sandbox id \"old\""
time="2026-11-21T22:34:11.914817456Z" level=info msg="RunPodSandbox for &PodSandboxMetadata{Name:a,Uid:u,Namespace:mine,Attempt:0,}"
time="2026-11-21T22:34:12.500000000Z" level=info msg="RunPodSandbox for &PodSandboxMetadata{Name:a,Uid:u,Namespace:mine,Attempt:0,} returns sandbox id \"s1\""
time="2026-11-21T22:34:12.600000000Z" level=info msg="RunPodSandbox for &PodSandboxMetadata{Name:b,Uid:v,Namespace:other,Attempt:0,} returns sandbox id \"s2\""
time="2026-11-21T22:34:13.000000000Z" level=info msg="CreateContainer within sandbox \"s1\" for container &ContainerMetadata{Name:app,Attempt:0,}"
time="2026-11-21T22:34:13.100000000Z" level=info msg="CreateContainer within sandbox \"s1\" for &ContainerMetadata{Name:app,Attempt:0,} returns container id \"c1\""
time="2026-11-21T22:34:13.100000000Z" level=info msg="CreateContainer within sandbox \"s2\" for &ContainerMetadata{Name:app,Attempt:0,} returns container id \"c2\""
time="2026-11-21T22:34:13.200000000Z" level=info msg="StartContainer for \"c1\""
time="2026-11-21T22:34:13.250000000Z" level=info msg="StartContainer for \"c1\" returns successfully"
time="2026-11-21T22:34:13.260000000Z" level=info msg="StartContainer for \"c2\" returns successfully"
"#;

    #[test]
    fn steps_are_read_from_the_log() {
        let since = OffsetDateTime::parse("2026-11-21T22:34:11.5Z", &Rfc3339).unwrap();
        let steps = of_log(LOG, "mine", since);
        let found: Vec<_> = steps.iter().map(|step| (step.name.as_str(), step.median.as_millis())).collect();
        assert_eq!(found, [("sandbox", 1000), ("app", 1750)]);
    }
}
