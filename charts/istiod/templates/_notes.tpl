{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/*
Appends to `lines` a line for each key that was set and has no effect or is not known, with all keys below. Input: `set` (values at `path`),
`defaults` (the chart's at the same place), `keys` (files/keys.yaml), `out` (a dict whose `lines` grow).
*/}}
{{- define "istiod.notes.walk" -}}
  {{- $in := . -}}
  {{- range $key, $value := .set -}}
    {{- $path := append $in.path $key -}}
    {{- $name := join "." $path -}}
    {{- $default := index $in.defaults $key -}}
    {{- if hasKey $in.keys.withoutEffect $name -}}
      {{- if ne (toJson $value) (toJson $default) -}}
        {{- $_ := set $in.out "lines" (append $in.out.lines (printf "%s: %s" $name (index $in.keys.withoutEffect $name))) -}}
      {{- end -}}
    {{- else if has $name $in.keys.optional -}}
    {{- else if and (kindIs "map" $value) (or $default (eq $name "global.tracer")) -}}
      {{- include "istiod.notes.walk" (dict "set" $value "defaults" ($default | default dict) "path" $path "keys" $in.keys "out" $in.out) -}}
    {{- else if not (hasKey $in.defaults $key) -}}
      {{- $_ := set $in.out "lines" (append $in.out.lines (printf "%s: this chart has no such key" $name)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
