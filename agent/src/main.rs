// SPDX-License-Identifier: Apache-2.0
//! The agent beside Envoy; also usable under the name pilot-agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    tiphys_agent::commands::run(std::env::args().skip(1).collect())
}
