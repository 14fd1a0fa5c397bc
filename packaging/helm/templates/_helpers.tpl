{{- define "relay.name" -}}
{{- $name := .Release.Name }}
{{- if not (contains "relay" $name) }}{{ $name = printf "%s-relay" $name }}{{ end }}
{{- $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "relay.selector" -}}
app.kubernetes.io/name: relay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "relay.labels" -}}
{{ include "relay.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* What the chart itself says; `settings` come before it. */}}
{{- define "relay.variables" -}}
{{- $files := "/run/secrets/relay" }}
{{- $said := dict "RELAY_LISTEN" "0.0.0.0:2525" "RELAY_NETWORKS" (join " " .Values.networks) }}
{{- if and .Values.secret.name .Values.secret.passwordKey }}
{{- $_ := set $said "RELAY_PASSWORD_FILE" (printf "%s/%s" $files .Values.secret.passwordKey) }}
{{- end }}
{{- if .Values.web.enabled }}
{{- $_ := set $said "RELAY_WEB_ADDRESS" "0.0.0.0:8025" }}
{{- $_ := set $said "RELAY_WEB_PASSWORD_FILE" (printf "%s/%s" $files .Values.web.passwordKey) }}
{{- end }}
{{- if .Values.postgres.enabled }}
{{- $_ := set $said "RELAY_SPOOL" (required "postgres.url: where the queue is, such as postgresql://relay@db.example/relay" .Values.postgres.url) }}
{{- $_ := set $said "RELAY_SPOOL_PASSWORD_FILE" (printf "%s/%s" $files .Values.postgres.passwordKey) }}
{{- $_ := set $said "RELAY_SPOOL_FALLBACK" "sqlite:/var/lib/relay/fallback.db" }}
{{- end }}
{{- range $name, $value := merge (deepCopy .Values.settings) $said }}
- {name: {{ $name }}, value: {{ kindIs "float64" $value | ternary (int64 $value) $value | toString | quote }}}
{{- end }}
{{- end }}

{{- define "relay.claim" -}}
accessModes: [{{ .Values.persistence.accessMode }}]
{{- with .Values.persistence.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .Values.persistence.size }}}}
{{- end }}
