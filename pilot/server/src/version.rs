// SPDX-License-Identifier: Apache-2.0
//! Which build this is.

/// Version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit the build was made from; `unknown` when the builder did not say (TIPHYS_GIT_REVISION).
pub const REVISION: &str = match option_env!("TIPHYS_GIT_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
/// Whether the tree was as committed: istiod's third part of a version.
pub const STATUS: &str = if cfg!(debug_assertions) { "Debug" } else { "Release" };
/// Version, commit and state as istiod writes them at /version.
pub fn build() -> String {
    format!("{VERSION}-{REVISION}-{STATUS}")
}
