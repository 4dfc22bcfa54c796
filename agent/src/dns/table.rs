// SPDX-License-Identifier: Apache-2.0
//! The names that the control plane told, and what a query means in them.
//!
//! Only the hosts themselves are kept; the other names of a Kubernetes service (`a`, `a.ns`, `a.ns.svc`), and what a client makes of a
//! name by the first search domain of its resolv.conf, are found when they are asked for: a large mesh has many hosts.

use prost::encoding::{DecodeContext, decode_key};
use std::net::IpAddr;
use tiphys_proto::istio::networking::nds::v1::name_table::NameInfo;

const KUBERNETES: &str = "Kubernetes";

/// Where the proxy stands, by which short names are understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The proxy's namespace.
    pub namespace: String,
    /// The domain of services: `svc.cluster.local`.
    pub domain: String,
    /// The first search domain of resolv.conf.
    pub search: Option<String>,
}

impl Place {
    /// By the proxy's `--domain`, which begins with its namespace, and the search domains.
    pub fn new(namespace: &str, proxy_domain: &str, search: &[String]) -> Self {
        let own = proxy_domain.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('.'));
        let domain = own.unwrap_or(proxy_domain).trim_end_matches('.').to_ascii_lowercase();
        let search = search.first().map(|s| s.trim_end_matches('.').to_ascii_lowercase());
        Self { namespace: namespace.to_ascii_lowercase(), domain, search }
    }
}

/// The names: hosts in order, their letters and addresses one after the other. Nothing of it is an allocation of its own, so that
/// a table costs little more than its text, and leaves nothing behind.
#[derive(Debug, Default)]
pub struct Table {
    hosts: Vec<Known>,
    text: String,
    addresses: Vec<IpAddr>,
    /// Registries and namespaces, of which there are few.
    words: Vec<String>,
}

/// A host, as places in the table.
#[derive(Clone, Copy, Debug)]
struct Known {
    host: (u32, u32),
    addresses: (u32, u32),
    registry: u32,
    /// Of a Kubernetes service, how much of the host is its short name, and its namespace.
    short: Option<(u32, u32)>,
}

/// What is known of a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The name that the addresses have, when it is another than the one asked for.
    pub alias: Option<String>,
    /// All addresses, of both families.
    pub addresses: &'a [IpAddr],
}

/// One host of a message.
#[derive(Clone, PartialEq, prost::Message)]
struct Host {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    info: Option<NameInfo>,
}

impl Table {
    /// The table of an encoded [`NameTable`](tiphys_proto::istio::networking::nds::v1::NameTable); hosts without a usable address
    /// are left out. The message is read host by host: it is never there as a whole.
    ///
    /// # Errors
    /// When it is no such message.
    pub fn decode(mut message: &[u8]) -> Result<Self, prost::DecodeError> {
        let mut table = Self { text: String::with_capacity(message.len()), ..Self::default() };
        while !message.is_empty() {
            let (field, kind) = decode_key(&mut message)?;
            if field == 1 {
                let mut host = Host::default();
                prost::encoding::message::merge(kind, &mut host, &mut message, DecodeContext::default())?;
                table.add(&host.name, host.info.unwrap_or_default());
            } else {
                prost::encoding::skip_field(kind, field, &mut message, DecodeContext::default())?;
            }
        }
        let text = &table.text;
        table.hosts.sort_unstable_by_key(|known| slice(text, known.host));
        table.text.shrink_to_fit();
        table.hosts.shrink_to_fit();
        table.addresses.shrink_to_fit();
        Ok(table)
    }

    fn add(&mut self, name: &str, info: NameInfo) {
        let first = place(self.addresses.len());
        self.addresses.extend(info.ips.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()));
        let addresses = (first, place(self.addresses.len()));
        if addresses.0 == addresses.1 {
            return;
        }
        let start = place(self.text.len());
        self.text.extend(name.trim_end_matches('.').chars().map(|c| c.to_ascii_lowercase()));
        let host = (start, place(self.text.len()));
        let short = info.shortname.to_ascii_lowercase();
        let is_short = info.registry == KUBERNETES && !short.is_empty() && slice(&self.text, host).starts_with(&short);
        let registry = self.word(&info.registry);
        let short = is_short.then(|| (place(short.len()), self.word(&info.namespace)));
        self.hosts.push(Known { host, addresses, registry, short });
    }

    fn word(&mut self, word: &str) -> u32 {
        let known = self.words.iter().position(|w| w == word);
        place(known.unwrap_or_else(|| {
            self.words.push(word.to_string());
            self.words.len() - 1
        }))
    }

    fn host(&self, known: &Known) -> &str {
        slice(&self.text, known.host)
    }

    fn get(&self, host: &str) -> Option<&Known> {
        let at = self.hosts.binary_search_by(|known| self.host(known).cmp(host)).ok()?;
        self.hosts.get(at)
    }

    fn found(&self, known: &Known, alias: Option<String>) -> Found<'_> {
        let (from, to) = known.addresses;
        let addresses = self.addresses.get(from as usize..to as usize).unwrap_or_default();
        Found { alias, addresses }
    }

    /// Short name and namespace of a Kubernetes service.
    fn short(&self, known: &Known) -> Option<(&str, &str)> {
        let (length, namespace) = known.short?;
        Some((self.host(known).get(..length as usize)?, self.words.get(namespace as usize)?))
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// What is known of a name, in lower case and without the dot at its end. Of names that are not known the servers know.
    pub fn find(&self, name: &str, place: &Place) -> Option<Found<'_>> {
        if let Some(known) = self.exact(name, place) {
            return Some(self.found(known, None));
        }
        let search = place.search.as_deref().filter(|s| !s.is_empty());
        let short = search.and_then(|s| name.strip_suffix(s)?.strip_suffix('.'));
        // A name that ends in the search domain itself is not one that a client has lengthened.
        let short = short.filter(|short| !search.is_some_and(|s| short.ends_with(s)));
        if let Some(short) = short
            && let Some(known) = self.exact(short, place).or_else(|| self.wildcard(short))
        {
            return Some(self.found(known, Some(short.to_string())));
        }
        self.wildcard(name).map(|known| self.found(known, None))
    }

    fn exact(&self, name: &str, place: &Place) -> Option<&Known> {
        self.get(name).or_else(|| self.by_short_name(name, place))
    }

    /// `a` in the proxy's namespace, `a.ns`, `a.ns.svc`.
    fn by_short_name(&self, name: &str, place: &Place) -> Option<&Known> {
        let domain = place.domain.as_str();
        if domain.is_empty() {
            return None;
        }
        let (first, rest) = domain.split_once('.').unwrap_or((domain, ""));
        let whole = match name.strip_suffix(first).and_then(|n| n.strip_suffix('.')) {
            Some(name) if !rest.is_empty() => self.service(&format!("{name}.{domain}")),
            _ => None,
        };
        whole
            .or_else(|| self.service(&format!("{name}.{domain}")))
            .or_else(|| self.service(&format!("{name}.{}.{domain}", place.namespace)))
            .filter(|known| {
                // The name must be one of those that the service has, not one that happens to complete it.
                self.short(known).is_some_and(|(short, namespace)| {
                    let of_service = name.strip_prefix(short).unwrap_or("-");
                    let with_namespace = format!(".{namespace}");
                    (of_service.is_empty() && *namespace == *place.namespace)
                        || of_service == with_namespace
                        || of_service.strip_prefix(&*with_namespace).is_some_and(|r| r.strip_prefix('.') == Some(first))
                })
            })
    }

    /// A Kubernetes service of this host.
    fn service(&self, host: &str) -> Option<&Known> {
        self.get(host).filter(|known| known.short.is_some())
    }

    /// `*.example.com` for any name below.
    fn wildcard(&self, name: &str) -> Option<&Known> {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(known) = self.get(&format!("*.{parent}")) {
                return Some(known);
            }
            rest = parent;
        }
        None
    }

    /// As `/debug/ndsz` shows it: the message in JSON.
    pub fn to_json(&self) -> String {
        // Written piece by piece: a tree of all of it would be many times as large.
        let text = |s: &str| serde_json::to_string(s).unwrap_or_default();
        let mut out = String::with_capacity(self.text.len() * 4);
        for known in &self.hosts {
            let ips: Vec<String> = self.found(known, None).addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
            let registry = self.words.get(known.registry as usize).map(String::as_str).unwrap_or_default();
            let start = if out.is_empty() { "{\"table\":{" } else { "," };
            let host = text(self.host(known));
            out += &format!("{start}{host}:{{\"ips\":[{}],\"registry\":{}", ips.join(","), text(registry));
            if let Some((short, namespace)) = self.short(known) {
                out += &format!(",\"shortname\":{},\"namespace\":{}", text(short), text(namespace));
            }
            out.push('}');
        }
        if out.is_empty() { "{\"table\":{}}".into() } else { out + "}}" }
    }
}

/// A place in a table: messages of more than 4 GiB do not arrive.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn slice(text: &str, (from, to): (u32, u32)) -> &str {
    text.get(from as usize..to as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use serde_json::{Value, json};
    use tiphys_proto::istio::networking::nds::v1::NameTable;

    fn table() -> (Table, Place) {
        let info = |registry: &str, short: &str, namespace: &str, ips: &[&str]| NameInfo {
            ips: ips.iter().map(ToString::to_string).collect(),
            registry: registry.into(),
            shortname: short.into(),
            namespace: namespace.into(),
            ..NameInfo::default()
        };
        let table = [
            ("a.ns.svc.cluster.local", info("Kubernetes", "a", "ns", &["10.0.0.1", "fd00::1"])),
            ("b.other.svc.cluster.local", info("Kubernetes", "b", "other", &["10.0.0.2"])),
            ("db-0.db.ns.svc.cluster.local", info("Kubernetes", "db-0.db", "ns", &["10.0.0.3"])),
            ("www.Example.com", info("External", "", "", &["1.1.1.1"])),
            ("*.wild.com", info("External", "", "", &["2.2.2.2"])),
            ("x.ns.svc.cluster.local", info("External", "", "", &["3.3.3.3"])),
            ("broken.com", info("External", "", "", &["10.0.0.0/8"])),
        ];
        let table = table.into_iter().map(|(host, info)| (host.to_string(), info)).collect();
        let search = ["ns.svc.cluster.local".to_string(), "svc.cluster.local".to_string()];
        let table = Table::decode(&NameTable { table }.encode_to_vec()).unwrap();
        (table, Place::new("ns", "ns.svc.cluster.local", &search))
    }

    fn ask(name: &str) -> Option<(Option<String>, String)> {
        let (table, place) = table();
        let found = table.find(name, &place)?;
        Some((found.alias, found.addresses[0].to_string()))
    }

    #[test]
    fn names_of_services() {
        for name in ["a", "a.ns", "a.ns.svc", "a.ns.svc.cluster.local"] {
            assert_eq!(ask(name), Some((None, "10.0.0.1".into())), "{name}");
        }
        for name in ["b.other", "b.other.svc"] {
            assert_eq!(ask(name), Some((None, "10.0.0.2".into())), "{name}");
        }
        assert_eq!(ask("db-0.db"), Some((None, "10.0.0.3".into())));
        for name in ["b", "a.other", "x", "x.ns", "ns", "svc", "a.ns.svc.cluster", "broken.com", "wild.com", "nobody"] {
            assert_eq!(ask(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_a_client_lengthened_lead_back() {
        let alias = |name: &str| Some((Some(name.to_string()), "1.1.1.1".into()));
        assert_eq!(ask("www.example.com.ns.svc.cluster.local"), alias("www.example.com"));
        assert_eq!(ask("www.example.com.svc.cluster.local"), None);
        assert_eq!(ask("b.other.ns.svc.cluster.local"), Some((Some("b.other".into()), "10.0.0.2".into())));
        assert_eq!(ask("a.ns.svc.cluster.local.ns.svc.cluster.local"), None);
    }

    #[test]
    fn wildcards() {
        assert_eq!(ask("any.wild.com"), Some((None, "2.2.2.2".into())));
        assert_eq!(ask("very.deep.wild.com"), Some((None, "2.2.2.2".into())));
        assert_eq!(ask("any.wild.com.ns.svc.cluster.local"), Some((Some("any.wild.com".into()), "2.2.2.2".into())));
    }

    #[test]
    fn what_is_no_table() {
        assert!(Table::decode(&[10, 200]).is_err());
        assert!(Table::decode(&[]).unwrap().is_empty());
    }

    #[test]
    fn as_it_is_shown() {
        let shown: Value = serde_json::from_str(&table().0.to_json()).unwrap();
        assert_eq!(shown["table"].as_object().unwrap().len(), table().0.len());
        assert_eq!(Table::default().to_json(), r#"{"table":{}}"#);
        let a = &shown["table"]["a.ns.svc.cluster.local"];
        assert_eq!(
            *a,
            json!({"ips": ["10.0.0.1", "fd00::1"], "registry": "Kubernetes", "shortname": "a", "namespace": "ns"})
        );
    }
}
