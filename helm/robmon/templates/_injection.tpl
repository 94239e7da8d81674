{{/* The CEL expressions of the injection, made from the very templates of the sidecar. */}}

{{/*
The context in which a pod of a variant is rendered: the chart's, with that variant, and without a device where it has
none. Takes root, variant and device.
*/}}
{{- define "robmon.injectedValues" -}}
{{- $values := deepCopy .root.Values -}}
{{- $_ := set $values.image "variant" .variant -}}
{{- $_ := set $values.settings.model "uri" "http://the-pods-own/invocations" -}}
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

{{/* Names of the volumes that are added: none may be there already. */}}
{{- define "robmon.celVolumeNames" -}}
{{- $names := list -}}
{{- range include "robmon.volumes" . | fromYamlArray }}{{ $names = append $names .name }}{{ end -}}
{{- toJson $names -}}
{{- end }}

{{/* Whether `POD` has robmon already: then it is left alone, without a word. */}}
{{- define "robmon.celHasRobmon" -}}
(POD.spec.containers.exists(c, c.name == "robmon") || POD.spec.?initContainers.orValue([]).exists(c, c.name == "robmon"))
{{- end }}

{{/*
What a pod that asks must be like, each as {name, pod (the expression, of `POD`), message}: conditions of the injection, and
what a pod that asks in vain is told. With a container that exits at once the pod would leave its Service: what robmon
would refuse is not put in.
*/}}
{{- define "robmon.injectionConditions" -}}
{{- $variant := include "robmon.variant" . | toJson -}}
{{- $variants := ternary (list "cpu" "cuda" "remote") (list (include "robmon.variant" .)) (empty .Values.image.digest) -}}
{{- $uri := `POD.metadata.?annotations[?"robmon.dev/model-uri"].orValue("")` -}}
{{- $asked := printf `POD.metadata.?annotations[?"robmon.dev/variant"].orValue(%s)` $variant -}}
{{- $isLoaded := printf "%s.matches(%s)" $uri (include "robmon.registryUriPattern" . | toJson) -}}
{{- $isAsked := printf "%s.matches(%s)" $uri (include "robmon.endpointUriPattern" . | toJson) -}}
{{- $conditions := list
  (dict "name" "names-a-model"
    "pod" (printf "(%s.size() <= 2000 && (%s || %s))" $uri $isLoaded $isAsked)
    "message" (printf "the annotation robmon.dev/model-uri names no model: give %s" (include "robmon.uriForms" .)))
  (dict "name" "names-its-settings-well"
    "pod" `POD.metadata.?annotations[?"robmon.dev/settings"].orValue("none").matches("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")`
    "message" "the annotation robmon.dev/settings is no name of a ConfigMap")
  (dict "name" "asks-for-a-variant-that-there-is"
    "pod" (printf "%s in %s" $asked (toJson $variants))
    "message" (printf "the annotation robmon.dev/variant is none of %s" (join ", " $variants)))
  (dict "name" "is-on-linux"
    "pod" `POD.spec.?os.name.orValue("linux") == "linux"`
    "message" "it is a Linux program")
  (dict "name" "has-a-network-of-its-own"
    "pod" "!POD.spec.?hostNetwork.orValue(false)"
    "message" "with hostNetwork its ports would be the node's")
  (dict "name" "has-resources-by-container"
    "pod" "(POD.spec.?resources.requests.orValue({}).size() == 0 && POD.spec.?resources.limits.orValue({}).size() == 0)"
    "message" "the pod has resources of its own (spec.resources), in which there may be no room for it: give them to its containers, or add a sidecar to its manifest")
  (dict "name" "has-no-volume-of-robmons"
    "pod" (printf "!POD.spec.?volumes.orValue([]).exists(v, v.name in %s)" (include "robmon.celVolumeNames" .))
    "message" (printf "the pod has a volume with the name of one of robmon's, %s" (include "robmon.celVolumeNames" . | fromJsonArray | join ", ")))
-}}
{{- if eq (include "robmon.namesPython" .) "false" -}}
{{- $conditions = append $conditions (dict "name" "can-load-the-model"
    "pod" (printf `(%s != "remote" || !%s)` $asked $isLoaded)
    "message" "the variant remote holds no model libraries, and robmon.dev/model-uri is a model to load: name the URL of its endpoint, or ask for robmon.dev/variant cpu") -}}
{{- end -}}
{{- with dict "root" . "names" (list "model.allowed_flavors" "model.require_tags" "worker.python" "device.precision" "history.log_to_mlflow") | include "robmon.settingsOf" -}}
{{- $conditions = append $conditions (dict "name" "is-loaded-as-the-settings-say" "pod" (printf "!%s" $isAsked)
    "message" (printf "robmon.dev/model-uri is an endpoint, and the release sets %s, which is for models that are loaded" .)) -}}
{{- end -}}
{{- with dict "root" . "names" (list "model.name" "model.token_file") | include "robmon.settingsOf" -}}
{{- $conditions = append $conditions (dict "name" "is-asked-as-the-settings-say" "pod" (printf "!%s" $isLoaded)
    "message" (printf "robmon.dev/model-uri is a model to load, and the release sets %s, which is for endpoints" .)) -}}
{{- end -}}
{{- if not (or (dig "model" "name" "" .Values.settings) .Values.env .Values.envFrom) -}}
{{- $conditions = append $conditions (dict "name" "says-the-models-name"
    "pod" (printf `(!%s.endsWith("/invocations") || !%s || POD.metadata.?annotations[?"robmon.dev/settings"].hasValue())` $uri $isAsked)
    "message" "the endpoint of robmon.dev/model-uri names no model: say its name by ROBMON_MODEL__NAME in the ConfigMap of robmon.dev/settings") -}}
{{- end -}}
{{- toYaml $conditions -}}
{{- end }}

{{/* Those of some settings that the release sets, as text. Takes root and names. */}}
{{- define "robmon.settingsOf" -}}
{{- $root := .root -}}
{{- $found := list -}}
{{- range $name := .names -}}
{{- $words := splitList "." $name -}}
{{- if dig (first $words) (last $words) "" $root.Values.settings }}{{ $found = append $found $name }}{{ end -}}
{{- end -}}
{{- join ", " $found -}}
{{- end }}

{{- define "robmon.checkInjection" -}}
{{- if .Values.injection.enabled -}}
{{- dict "labels" .Values.injection.namespaceLabels "value" "injection.namespaceLabels" | include "robmon.checkLabels" -}}
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
