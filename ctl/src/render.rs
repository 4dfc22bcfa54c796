// SPDX-License-Identifier: Apache-2.0
//! `tiphysctl render`: what each proxy would get, without a control plane. Files come in as a folder source would read them; each proxy's
//! resources go out as canonical protobuf JSON, one array a type.

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tiphys_api::mesh::{MeshConfig, MeshNetworks};
use tiphys_compile::{Compiler, Settings, Snapshot};
use tiphys_model::{Locality, NodeParts, ProxyNode};
use tiphys_view::{Generator, Memo};
use tiphys_xds::{Entry, ResourceType};

/// Writes what each proxy would get.
#[derive(Args)]
#[command(after_help = "Examples:
  tiphysctl render --config samples/bookinfo --proxies proxies.yaml --out /tmp/rendered

The file of --proxies is a list of proxies, each with a name and the xDS node that it would send:
  - name: web
    node:
      id: sidecar~10.0.0.1~web-1.default~default.svc.cluster.local
      metadata: {NAMESPACE: default, LABELS: {app: web}}

OUT gets NAME/cds.json, eds.json, lds.json, rds.json for each proxy (ecds.json, nds.json where there are any) and status.yaml.
Settings of istiod are taken from the environment. Exit code 1: something could not be read; what could be is written all the same.")]
pub struct Render {
    /// Folder (read recursively) or file of objects: YAML or JSON.
    #[arg(long, required_unless_present = "cases")]
    config: Option<PathBuf>,
    /// MeshConfig as YAML, over the defaults.
    #[arg(long)]
    mesh_config: Option<PathBuf>,
    /// MeshNetworks as YAML.
    #[arg(long)]
    mesh_networks: Option<PathBuf>,
    /// The proxies.
    #[arg(long, required_unless_present = "cases")]
    proxies: Option<PathBuf>,
    /// Folder to write to; it is made when it is not there.
    #[arg(long)]
    out: PathBuf,
    /// Renders every GROUP/CASE below a folder: input.yaml, proxies.yaml, and meshconfig.yaml, meshnetworks.yaml, case.yaml (env) where
    /// they are there.
    #[arg(long, conflicts_with_all = ["config", "proxies", "mesh_config", "mesh_networks"])]
    cases: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Proxy {
    name: String,
    node: Node,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    locality: NodeLocality,
    #[serde(default)]
    extensions: Vec<Extension>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeLocality {
    region: String,
    zone: String,
    #[serde(alias = "sub_zone")]
    sub_zone: String,
}

#[derive(Deserialize)]
struct Extension {
    name: String,
}

/// One rendering: what goes in, and where it goes.
struct Job {
    config: PathBuf,
    mesh_config: Option<PathBuf>,
    mesh_networks: Option<PathBuf>,
    proxies: PathBuf,
    settings: Vec<(String, String)>,
    out: PathBuf,
}

/// Runs the command; whether everything could be read.
pub fn run(args: Render) -> Result<bool> {
    let generators = tiphys_view::generators();
    let environment: Vec<(String, String)> = std::env::vars().collect();
    if let Some(cases) = &args.cases {
        let mut whole = true;
        for job in case_jobs(cases, &args.out, &environment)? {
            whole &= render(&job, &generators).with_context(|| job.config.display().to_string())?;
        }
        return Ok(whole);
    }
    let (Some(config), Some(proxies)) = (args.config, args.proxies) else { bail!("--config and --proxies are needed") };
    let job = Job {
        config,
        mesh_config: args.mesh_config,
        mesh_networks: args.mesh_networks,
        proxies,
        settings: environment,
        out: args.out,
    };
    render(&job, &generators)
}

fn case_jobs(cases: &Path, out: &Path, environment: &[(String, String)]) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for group in folders(cases)? {
        for case in folders(&group)? {
            if !case.join("input.yaml").is_file() {
                continue;
            }
            let present = |name: &str| Some(case.join(name)).filter(|path| path.is_file());
            let mut settings = environment.to_vec();
            if let Some(path) = present("case.yaml") {
                settings.extend(case_settings(&path)?);
            }
            jobs.push(Job {
                config: case.join("input.yaml"),
                mesh_config: present("meshconfig.yaml"),
                mesh_networks: present("meshnetworks.yaml"),
                proxies: case.join("proxies.yaml"),
                settings,
                out: out.join(case.strip_prefix(cases)?),
            });
        }
    }
    Ok(jobs)
}

fn folders(parent: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = std::fs::read_dir(parent).with_context(|| parent.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// The `env` of a case.
fn case_settings(path: &Path) -> Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Case {
        #[serde(default)]
        env: BTreeMap<String, String>,
    }
    let case: Case =
        yaml_serde::from_str(&std::fs::read_to_string(path)?).with_context(|| path.display().to_string())?;
    Ok(case.env.into_iter().collect())
}

fn render(job: &Job, generators: &[Generator]) -> Result<bool> {
    let (mut compiler, whole) = compile(job)?;
    let snapshot = compiler.snapshot();
    for (key, problems) in snapshot.warnings.iter() {
        for problem in problems {
            eprintln!("warning: {key}: {}: {}", problem.path, problem.message);
        }
    }
    std::fs::create_dir_all(&job.out)?;
    if job.proxies.is_file() {
        let text = std::fs::read_to_string(&job.proxies)?;
        let proxies: Vec<Proxy> = yaml_serde::from_str(&text).with_context(|| job.proxies.display().to_string())?;
        let memo = Memo::default();
        for proxy in proxies {
            let node = node_of(&proxy)?;
            write_proxy(&job.out.join(&proxy.name), &snapshot, generators, &node, &memo)?;
        }
    }
    Ok(whole)
}

fn compile(job: &Job) -> Result<(Compiler, bool)> {
    let mut config = MeshConfig::default();
    if let Some(path) = &job.mesh_config {
        let (merged, problems) =
            config.merge_yaml(&std::fs::read_to_string(path)?).with_context(|| path.display().to_string())?;
        for problem in problems {
            eprintln!("warning: {}: {}: {}", path.display(), problem.path, problem.message);
        }
        config = merged;
    }
    if let Some(path) = &job.mesh_networks {
        // Read so that a broken file is an error; several networks are not served yet.
        MeshNetworks::from_yaml(&std::fs::read_to_string(path)?).with_context(|| path.display().to_string())?;
        eprintln!("warning: {}: several networks are not served yet", path.display());
    }
    let mut compiler = Compiler::new(&config, Settings::from_pairs(job.settings.iter().cloned()));
    let mut whole = true;
    let mut files = Vec::new();
    collect_files(&job.config, &mut files)?;
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        for parsed in tiphys_api::parse_yaml(&text, Some(file.as_path().into())) {
            let parsed = match parsed {
                Ok(parsed) => parsed,
                Err(tiphys_api::ParseError::UnknownKind(_)) => continue,
                Err(error) => {
                    eprintln!("error: {error}");
                    whole = false;
                    continue;
                }
            };
            compiler.apply(parsed.object.key(), Some(Arc::new(parsed.object)));
        }
    }
    Ok((compiler, whole))
}

fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let named = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if path.is_dir() || named {
            collect_files(&path, files)?;
        }
    }
    Ok(())
}

fn node_of(proxy: &Proxy) -> Result<ProxyNode> {
    let node = &proxy.node;
    let extensions: Vec<String> = node.extensions.iter().map(|extension| extension.name.clone()).collect();
    let locality = Locality {
        region: node.locality.region.as_str().into(),
        zone: node.locality.zone.as_str().into(),
        subzone: node.locality.sub_zone.as_str().into(),
    };
    let parts = NodeParts { id: &node.id, metadata: node.metadata.clone(), locality, extensions: &extensions };
    ProxyNode::parse(parts).with_context(|| format!("proxy {}", proxy.name))
}

/// Writes the resources that the proxy would ask for: all clusters and listeners, and what these name.
fn write_proxy(out: &Path, snapshot: &Snapshot, generators: &[Generator], node: &ProxyNode, memo: &Memo) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let rendered = tiphys_view::render(snapshot, generators, node, memo);
    let mut json: BTreeMap<ResourceType, Vec<(Arc<str>, Value)>> = BTreeMap::new();
    for (ty, entries) in &rendered {
        let list = entries.iter().map(|entry| Ok((entry.name.clone(), to_json(entry)?)));
        json.insert(*ty, list.collect::<Result<_>>()?);
    }
    let named = [
        (ResourceType::ENDPOINT, names_in(&json, ResourceType::CLUSTER, &["edsClusterConfig"], "serviceName")),
        (ResourceType::ROUTE, names_in(&json, ResourceType::LISTENER, &["rds"], "routeConfigName")),
    ];
    for (ty, names) in named {
        if let Some(list) = json.get_mut(&ty) {
            list.retain(|(name, _)| names.contains(&**name));
        }
    }
    for ty in [ResourceType::CLUSTER, ResourceType::ENDPOINT, ResourceType::LISTENER, ResourceType::ROUTE] {
        json.entry(ty).or_default();
    }
    for (ty, list) in json {
        let required = ty <= ResourceType::ROUTE;
        if required || !list.is_empty() {
            let values: Vec<Value> = list.into_iter().map(|(_, value)| value).collect();
            std::fs::write(out.join(format!("{}.json", ty.short())), serde_json::to_vec_pretty(&values)?)?;
        }
    }
    Ok(())
}

fn to_json(entry: &Entry) -> Result<Value> {
    let any = entry.any().with_context(|| entry.name.to_string())?;
    tiphys_proto::to_json(&any).with_context(|| entry.name.to_string())
}

/// The values of a field, wherever it stands below one of the given fields.
fn names_in(
    json: &BTreeMap<ResourceType, Vec<(Arc<str>, Value)>>,
    ty: ResourceType,
    below: &[&str],
    field: &str,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, value) in json.get(&ty).into_iter().flatten() {
        collect_names(value, below, field, &mut names);
    }
    names
}

fn collect_names(value: &Value, below: &[&str], field: &str, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                if below.contains(&key.as_str())
                    && let Some(name) = inner.get(field).and_then(Value::as_str)
                {
                    names.insert(name.to_string());
                }
                collect_names(inner, below, field, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, below, field, names)),
        _ => {}
    }
}
