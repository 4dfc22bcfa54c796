// SPDX-License-Identifier: Apache-2.0

//go:build programs

// What `make istio-programs` builds.
package programs

import (
	_ "istio.io/istio/istioctl/cmd/istioctl"
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
