{{/* Forms of a model's URI, as robmon/models/uri.py takes them; of what they could look like, a little less. */}}

{{/* Of a model that is loaded: models:/name@alias, models:/name/version, models:/m-id or runs:/run_id/path. */}}
{{- define "robmon.registryUriPattern" -}}
{{- $name := "[^/\\s\\pC][^/\\pC]*" -}}
{{- $forms := list (printf "models:/%s@[^/@\\s\\pC]+" $name) (printf "models:/%s/[0-9]+" $name) "models:/m-[0-9a-zA-Z]+" "runs:/[^/\\s\\pC]+/[^\\pC]*[^/\\s\\pC]/?" -}}
{{- printf "^(%s)$" (join "|" $forms) -}}
{{- end }}

{{/* Of a model that is asked at its endpoint: an http(s) URL without a query. */}}
{{- define "robmon.endpointUriPattern" -}}
{{- $user := "([A-Za-z0-9._~!$&'()*+,;=:@%-]*@)?" -}}
{{- $host := "([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])" -}}
{{- $port := "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?" -}}
{{- $word := "[^/?#\\s\\pC\\pZ]+" -}}
{{- $model := printf "models/%s(/versions/%s)?" $word $word -}}
{{- printf "^(?i:https?)://%s%s%s(/%s)*/(invocations|v1/%s:predict|v2/%s/infer)$" $user $host $port $word $model $model -}}
{{- end }}

{{- define "robmon.uriForms" -}}
models:/name@alias, models:/name/3, runs:/run_id/path, or an endpoint such as http://127.0.0.1:8080/v2/models/name/infer
{{- end }}

{{/* Refuses a URI with which robmon itself would not start, or of a model that the image cannot load. */}}
{{- define "robmon.checkUri" -}}
{{- with .Values.settings.model.uri -}}
{{- $isLoaded := regexMatch (include "robmon.registryUriPattern" $) . -}}
{{- if not (or $isLoaded (regexMatch (include "robmon.endpointUriPattern" $) .)) -}}
{{- fail (printf "settings.model.uri is none that robmon takes: give %s" (include "robmon.uriForms" $)) -}}
{{- end -}}
{{- if and $isLoaded (eq (include "robmon.cannotLoad" $) "true") -}}
{{- fail (printf "image.variant remote holds no model libraries, and settings.model.uri %s is a model to load: choose image.variant cpu, name the URL of the model's endpoint, or set settings.worker.python" .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whether an image of the variant remote can load no model: worker.python may name an interpreter that can. */}}
{{- define "robmon.cannotLoad" -}}
{{- and (eq (include "robmon.variant" .) "remote") (eq (include "robmon.namesPython" .) "false") -}}
{{- end }}

{{- define "robmon.namesPython" -}}
{{- $found := not (empty (dig "worker" "python" "" .Values.settings)) -}}
{{- range .Values.env }}{{ if eq .name "ROBMON_WORKER__PYTHON" }}{{ $found = true }}{{ end }}{{ end -}}
{{- $found -}}
{{- end }}
