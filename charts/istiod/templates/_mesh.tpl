{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* The MeshConfig: what other values say about it, and over that `meshConfig`. */}}
{{- define "istiod.mesh" -}}
  {{- $global := .Values.global -}}
  {{- $proxies := dict "discoveryAddress" (printf "%s.%s.svc:15012" (include "istiod.name" .) .Release.Namespace) -}}
  {{- with $global.meshID -}}
    {{- $_ := set $proxies "meshId" . -}}
  {{- end -}}
  {{- with $global.proxy.variant | default $global.variant -}}
    {{- $_ := set $proxies "image" (dict "imageType" .) -}}
  {{- end -}}
  {{- if eq $global.proxy.tracer "zipkin" -}}
    {{- $address := (($global.tracer).zipkin).address | default (printf "zipkin.%s:9411" $global.istioNamespace) -}}
    {{- $_ := set $proxies "tracing" (dict "zipkin" (dict "address" $address)) -}}
  {{- else if eq $global.proxy.tracer "datadog" -}}
    {{- $address := (($global.tracer).datadog).address | default "$(HOST_IP):8126" -}}
    {{- $_ := set $proxies "tracing" (dict "datadog" (dict "address" $address)) -}}
  {{- end -}}
  {{- $mesh := dict "trustDomain" "cluster.local" "rootNamespace" $global.istioNamespace "defaultConfig" $proxies -}}
  {{- $telemetry := .Values.telemetry -}}
  {{- if and $telemetry.enabled $telemetry.v2.enabled $telemetry.v2.prometheus.enabled (not .Values.meshConfig.defaultProviders) -}}
    {{- $_ := set $mesh "defaultProviders" (dict "metrics" (list "prometheus")) -}}
  {{- end -}}
  {{- mustMergeOverwrite $mesh (deepCopy .Values.meshConfig) | toYaml -}}
{{- end -}}
