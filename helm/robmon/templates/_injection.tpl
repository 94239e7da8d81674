{{/* The CEL expressions of the injection, made from the very templates of the sidecar. */}}

{{/*
The context in which a pod of a variant is rendered: the chart's, with that variant, and without a device where it has
none. Takes root, variant and device.
*/}}
{{- define "robmon.injectedValues" -}}
{{- $values := deepCopy .root.Values -}}
{{- $_ := set $values.image "variant" .variant -}}
{{- $_ := set $values.settings.model "uri" "model-uri" -}}
{{- if not .device -}}
{{- $_ := set $values.device "mode" "none" -}}
{{- $_ := unset (get $values.settings "device" | default dict) "name" -}}
{{- end -}}
{{- toJson $values -}}
{{- end }}

{{/* The sidecar of a variant, as JSON. Takes root, variant and device. */}}
{{- define "robmon.injectedSidecar" -}}
{{- $values := include "robmon.injectedValues" . | fromJson -}}
{{- $context := merge (dict "Values" $values) (omit .root "Values") -}}
{{- include "robmon.sidecar" $context | fromYamlArray | first | toJson -}}
{{- end }}

{{/*
The container as an expression: as the chart renders it, but for what depends on the pod. A pod has the device only
where its variant can use one, and where, with a claim, it has that claim already: the model server uses it too.
*/}}
{{- define "robmon.celSidecar" -}}
{{- $path := "Object.spec.initContainers" -}}
{{- $fields := list -}}
{{- range $key, $value := dict "root" . "variant" "cpu" "device" false | include "robmon.injectedSidecar" | fromJson -}}
{{- if not (has $key (list "image" "env" "envFrom" "resources")) -}}
{{- $fields = append $fields (printf "%s: %s" $key (dict "value" $value "path" (printf "%s.%s" $path $key) | include "robmon.cel")) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "image" "env" "resources" -}}
{{- $fields = append $fields (printf "%s: variables.%s" $key $key) -}}
{{- end -}}
{{- printf "%s{\n  %s\n}" $path (join ",\n  " $fields) -}}
{{- end }}

{{/* Image or resources of the container. Takes root and key. */}}
{{- define "robmon.celOfVariant" -}}
{{- $choice := dict -}}
{{- $path := printf "Object.spec.initContainers.%s" .key -}}
{{- $root := .root -}}
{{- $key := .key -}}
{{- range $variant := list "cpu" "cuda" "remote" -}}
{{- $sidecar := dict "root" $root "variant" $variant "device" false | include "robmon.injectedSidecar" | fromJson -}}
{{- $_ := set $choice $variant (dict "value" (get $sidecar $key) "path" $path | include "robmon.cel") -}}
{{- end -}}
{{- $chosen := include "robmon.celByVariant" $choice -}}
{{- if and (ne .root.Values.device.mode "none") (eq .key "resources") -}}
{{- $sidecar := dict "root" .root "variant" "cuda" "device" true | include "robmon.injectedSidecar" | fromJson -}}
{{- printf "variables.device ? %s : %s" (dict "value" $sidecar.resources "path" $path | include "robmon.cel") $chosen -}}
{{- else -}}
{{- $chosen -}}
{{- end -}}
{{- end }}

{{/* Environment of the container. Takes root and device. */}}
{{- define "robmon.celEnvironment" -}}
{{- $items := list -}}
{{- $path := "Object.spec.initContainers.env" -}}
{{- $root := .root -}}
{{- $variant := ternary "cuda" "cpu" .device -}}
{{- range (dict "root" .root "variant" $variant "device" .device | include "robmon.injectedSidecar" | fromJson).env -}}
{{- if eq .name "ROBMON_MODEL__URI" -}}
{{- $items = append $items (printf "%s{name: %s, value: variables.modelUri}" $path (toJson .name)) -}}
{{- else if and (eq .name "ROBMON_HISTORY__SCOPE") (not (dig "history" "scope" "" $root.Values.settings)) -}}
{{- $items = append $items (printf "%s{name: %s, value: variables.scope}" $path (toJson .name)) -}}
{{- else -}}
{{- $items = append $items (dict "value" . "path" $path | include "robmon.cel") -}}
{{- end -}}
{{- end -}}
{{- printf "[\n  %s\n]" (join ",\n  " $items) -}}
{{- end }}

{{/* Names of the volumes that are added: a pod that has one of them is left alone. */}}
{{- define "robmon.celVolumeNames" -}}
{{- $names := list -}}
{{- range include "robmon.volumes" . | fromYamlArray }}{{ $names = append $names .name }}{{ end -}}
{{- toJson $names -}}
{{- end }}

{{/*
What a pod that asks must be like, each as {name, pod (the expression, of `POD`), message}: conditions of the injection, and
what a pod that asks in vain is told. Beside these, a pod that has robmon already is left alone, without a word.
*/}}
{{- define "robmon.injectionConditions" -}}
{{- $variant := include "robmon.variant" . | toJson -}}
{{- $variants := ternary (list "cpu" "cuda" "remote") (list (include "robmon.variant" .)) (empty .Values.image.digest) -}}
- name: names-a-model
  pod: 'POD.metadata.?annotations[?"robmon.dev/model-uri"].orValue("").matches("^[^\\s]+$")'
  message: robmon is not put in, because the annotation robmon.dev/model-uri names no model, such as models:/digits@champion
# Names that Kubernetes would refuse, and with them the pod.
- name: names-its-settings-well
  pod: 'POD.metadata.?annotations[?"robmon.dev/settings"].orValue("none").matches("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")'
  message: robmon is not put in, because the annotation robmon.dev/settings is no name of a ConfigMap
- name: asks-for-a-variant-that-there-is
  pod: 'POD.metadata.?annotations[?"robmon.dev/variant"].orValue({{ $variant }}) in {{ toJson $variants }}'
  message: robmon is not put in, because the annotation robmon.dev/variant is none of {{ join ", " $variants }}
- name: is-on-linux
  pod: 'POD.spec.?os.name.orValue("linux") == "linux"'
  message: robmon is not put in, because it is a Linux program
- name: has-a-network-of-its-own
  pod: '!POD.spec.?hostNetwork.orValue(false)'
  message: robmon is not put in, because with hostNetwork its ports would be the node's
{{- end }}

{{- define "robmon.checkInjection" -}}
{{- if .Values.injection.enabled -}}
{{- if not (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") -}}
{{- fail (printf "injection.enabled needs a cluster with MutatingAdmissionPolicy in admissionregistration.k8s.io/v1 (Kubernetes 1.36 or newer), and this one, %s, has none: include robmon.sidecar in your charts instead (`helm template` is told of it by --api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy)" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if or .Values.persistence.existingClaim .Values.persistence.size -}}
{{- fail "persistence is one claim, and injection.enabled is for many pods: leave persistence.existingClaim and persistence.size empty" -}}
{{- end -}}
{{- if .Values.settingsConfigMap -}}
{{- fail "settingsConfigMap is one ConfigMap, and injection.enabled is for many pods, which name theirs by the annotation robmon.dev/settings: leave it empty" -}}
{{- end -}}
{{- end -}}
{{- end }}
