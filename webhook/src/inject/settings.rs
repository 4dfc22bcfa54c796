// SPDX-License-Identifier: Apache-2.0
//! The settings of a pod's proxy: MeshConfig's defaultConfig, under the objects ProxyConfig of the root namespace and of the pod's, under the
//! annotation proxy.istio.io/config, under the objects ProxyConfig that select the pod
//! (<https://istio.io/latest/docs/reference/config/networking/proxy-config/>).

use std::collections::BTreeMap;

use tiphys_api::istio::networking::proxy_config::ProxyConfig as Object;
use tiphys_api::mesh::{MeshConfig, ProxyConfig, SettingsError};

/// Objects ProxyConfig by namespace, the oldest first.
pub type Objects = BTreeMap<String, Vec<Object>>;

/// The settings of a pod's proxy.
///
/// # Errors
/// When the annotation cannot be read.
pub fn effective(
    mesh: &MeshConfig,
    objects: &Objects,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    annotation: Option<&str>,
) -> Result<ProxyConfig, SettingsError> {
    let mut settings = mesh.proxy_defaults();
    let of = |namespace: &str| objects.get(namespace).map_or(&[][..], Vec::as_slice);
    let whole = |namespace: &str| of(namespace).iter().find(|object| selected_by(object).is_none());
    if let Some(object) = whole(&mesh.root_namespace) {
        lay(&mut settings, object);
    }
    if namespace != mesh.root_namespace
        && let Some(object) = whole(namespace)
    {
        lay(&mut settings, object);
    }
    if let Some(text) = annotation {
        settings = settings.merge_yaml(text)?.0;
    }
    let selected = of(namespace).iter().find(|object| {
        selected_by(object).is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
    });
    if let Some(object) = selected {
        lay(&mut settings, object);
    }
    Ok(settings)
}

/// The labels of the pods that an object is for; none when it is for all.
fn selected_by(object: &Object) -> Option<&BTreeMap<String, String>> {
    object.selector.as_ref().map(|selector| &selector.match_labels).filter(|wanted| !wanted.is_empty())
}

fn lay(settings: &mut ProxyConfig, object: &Object) {
    settings.concurrency = object.concurrency.or(settings.concurrency);
    settings.proxy_metadata.extend(object.environment_variables.clone());
    if object.image.is_some() {
        settings.image.clone_from(&object.image);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn the_narrower_goes_before_the_wider() {
        let object = |json| from_value::<Object>(json).unwrap();
        let objects: Objects = [
            (
                "istio-system".to_owned(),
                vec![object(json!({"concurrency": 1, "environmentVariables": {"A": "root", "B": "root"}}))],
            ),
            (
                "shop".to_owned(),
                vec![
                    object(json!({"selector": {"matchLabels": {"app": "web"}}, "concurrency": 4})),
                    object(json!({"environmentVariables": {"A": "shop"}, "image": {"imageType": "debug"}})),
                ],
            ),
        ]
        .into();
        let mesh = MeshConfig::default();
        let labels: BTreeMap<_, _> = [("app".to_owned(), "web".to_owned())].into();
        let web = effective(&mesh, &objects, "shop", &labels, Some("concurrency: 3\nstatusPort: 7")).unwrap();
        assert_eq!((web.concurrency, web.status_port), (Some(4), 7));
        assert_eq!((web.proxy_metadata["A"].as_str(), web.proxy_metadata["B"].as_str()), ("shop", "root"));
        assert_eq!(web.image.unwrap().image_type, "debug");
        let other = effective(&mesh, &objects, "shop", &BTreeMap::new(), Some("concurrency: 3")).unwrap();
        assert_eq!(other.concurrency, Some(3));
        assert_eq!(effective(&mesh, &objects, "else", &labels, None).unwrap().concurrency, Some(1));
        assert!(effective(&mesh, &objects, "else", &labels, Some("concurrency: many")).is_err());
    }
}
