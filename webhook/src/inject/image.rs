// SPDX-License-Identifier: Apache-2.0
//! The proxy's image: hub, name and tag of the values, with the variant that the values, the proxy's settings or the pod ask for.

use super::config::Values;

/// Variants that have images of their own; a tag may already end with one.
const VARIANTS: [&str; 2] = ["distroless", "debug"];

/// The proxy's image. The pod's `variant` goes before the settings', and that before the values'.
pub fn proxy(values: &Values, settings: &str, variant: Option<&str>) -> String {
    image(values, "proxy", settings, variant)
}

/// The image of the init container.
pub fn init(values: &Values, variant: Option<&str>) -> String {
    image(values, "proxy_init", "", variant)
}

fn image(values: &Values, which: &str, settings: &str, variant: Option<&str>) -> String {
    let name = Some(values.text(&["global", which, "image"])).filter(|name| !name.is_empty());
    // What the values leave out is what the charts of this version ship.
    let name = name.unwrap_or_else(|| "proxyv2".to_owned());
    let of_values = values.text(&["global", "variant"]);
    let variant = variant.unwrap_or(if settings.is_empty() { &of_values } else { settings });
    let (hub, tag) = (values.text(&["global", "hub"]), values.text(&["global", "tag"]));
    format!("{hub}/{name}:{}", tag_of(&tag, variant))
}

fn tag_of(tag: &str, variant: &str) -> String {
    if variant.is_empty() {
        return tag.to_owned();
    }
    let known = VARIANTS.iter().find_map(|known| tag.strip_suffix(known)?.strip_suffix('-'));
    let plain = known.unwrap_or(tag);
    if variant == "default" { plain.to_owned() } else { format!("{plain}-{variant}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants() {
        for (tag, variant, wanted) in [
            ("1.0", "", "1.0"),
            ("1.0", "debug", "1.0-debug"),
            ("1.0-distroless", "debug", "1.0-debug"),
            ("1.0-distroless", "default", "1.0"),
            ("1.0-distroless", "", "1.0-distroless"),
        ] {
            assert_eq!(tag_of(tag, variant), wanted);
        }
        let values = Values::parse("global: {hub: h, tag: 1.5, variant: distroless, proxy: {image: p}}").unwrap();
        assert_eq!(proxy(&values, "", None), "h/p:1.5-distroless");
        assert_eq!(proxy(&values, "debug", None), "h/p:1.5-debug");
        assert_eq!(proxy(&values, "debug", Some("default")), "h/p:1.5");
        assert_eq!(init(&values, None), "h/proxyv2:1.5-distroless");
    }
}
