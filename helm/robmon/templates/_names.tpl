{{/* Names and labels that Kubernetes, or a container runtime, would refuse: refused here in a sentence. */}}

{{/* Takes labels and value, the name of the value that they are. */}}
{{- define "robmon.checkLabels" -}}
{{- range $name, $text := .labels -}}
{{- $words := regexSplit "/" $name -1 -}}
{{- $isPrefixed := eq (len $words) 2 -}}
{{- $prefix := ternary (first $words) "a" $isPrefixed -}}
{{- if or (gt (len $words) 2) (gt (len $prefix) 253) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" $prefix)) (not (include "robmon.isLabelText" (last $words))) -}}
{{- fail (printf "%s names the label %q, which is no name of a label: at most 63 letters, digits and - _ . between letters or digits, with a domain and / before it if need be" $.value $name) -}}
{{- end -}}
{{- if not (or (kindIs "invalid" $text) (eq (toString $text) "") (include "robmon.isLabelText" (toString $text))) -}}
{{- fail (printf "%s sets the label %s to %q, which is no value of a label: at most 63 letters, digits and - _ . between letters or digits" $.value $name $text) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "robmon.isLabelText" -}}
{{- if regexMatch "^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" . }}true{{ end -}}
{{- end }}

{{/* Refuses a name of the objects that would be none. A Service's is stricter: it is a name in the DNS. */}}
{{- define "robmon.checkName" -}}
{{- $values := "fullnameOverride, or nameOverride and the release's name" -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" .name) -}}
{{- fail (printf "the objects' name would be %q (%s): it must be of lower-case letters, digits and - between letters or digits" .name $values) -}}
{{- end -}}
{{- if and .isService (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .name)) -}}
{{- fail (printf "the Service's name would be %q (%s): it must begin with a letter, and have no dot" .name $values) -}}
{{- end -}}
{{- end }}

{{/* Takes repository (with its registry) and tag. */}}
{{- define "robmon.checkImage" -}}
{{- $word := "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*" -}}
{{- $host := "([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:]+\\])(:[0-9]+)?" -}}
{{- if not (regexMatch (printf "^(%s/)?%s(/%s)*$" $host $word $word) .repository) -}}
{{- fail (printf "image.registry and image.repository make %q, which is no name of an image, such as ghcr.io/team/robmon" .repository) -}}
{{- end -}}
{{- if not (regexMatch "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" .tag) -}}
{{- fail (printf "image.tag makes the tag %q, which is none: at most 128 letters, digits and _ . -" .tag) -}}
{{- end -}}
{{- end }}
