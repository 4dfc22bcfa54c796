// SPDX-License-Identifier: Apache-2.0
//! Golden tests: `cases/NAME/` has objects and proxies, and in `expected/` what each proxy gets. `UPDATE_GOLDENS=1` rewrites that.
