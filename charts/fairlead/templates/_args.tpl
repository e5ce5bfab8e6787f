{{- /* With eventsAddr somebody else sends notifications. */ -}}
{{- define "fairlead.controllers" -}}
{{- if .Values.eventsAddr }}{{ join "," (without .Values.controllers "notification") }}{{ else }}{{ join "," .Values.controllers }}{{ end -}}
{{- end -}}
{{- define "fairlead.args" -}}
- run
- --concurrent={{ .Values.concurrent }}
- --controllers={{ include "fairlead.controllers" . }}
- --log-level={{ .Values.logLevel }}
- --log-format={{ .Values.logFormat }}
- --artifact-url={{ default (printf "http://%s.%s.svc" (include "fairlead.fullname" .) .Release.Namespace) .Values.artifactUrl }}
- --artifact-retention-ttl={{ .Values.artifactRetention.ttl }}
- --artifact-retention-records={{ .Values.artifactRetention.records }}
- --prune-ceiling-percent={{ .Values.pruneCeiling.percent }}
- --prune-ceiling-objects={{ .Values.pruneCeiling.objects }}
- --graceful-shutdown-timeout={{ .Values.gracefulShutdownTimeout }}
- --rate-limit-interval={{ .Values.rateLimitInterval }}
{{- with .Values.eventsAddr }}
- --events-addr={{ . }}
{{- end }}
{{- with .Values.otlpEndpoint }}
- --otlp-endpoint={{ . }}
{{- end }}
{{- if .Values.metricsPerObject }}
- --metrics-per-object
{{- end }}
{{- with .Values.watchLabelSelector }}
- {{ printf "--watch-label-selector=%s" . | quote }}
{{- end }}
{{- with .Values.watchNamespace }}
- --watch-namespace={{ . }}
{{- end }}
{{- with .Values.defaultServiceAccount }}
- --default-service-account={{ . }}
{{- end }}
{{- with .Values.defaultKubeconfigServiceAccount }}
- --default-kubeconfig-service-account={{ . }}
{{- end }}
{{- if .Values.noCrossNamespaceRefs }}
- --no-cross-namespace-refs
{{- end }}
{{- if not .Values.strictSubstitutions }}
- --strict-substitutions=false
{{- end }}
{{- if .Values.allowRemoteBases }}
- --allow-remote-bases
{{- end }}
{{- if .Values.disableChartDigestTracking }}
- --disable-chart-digest-tracking
{{- end }}
{{- if .Values.insecureKubeconfigTLS }}
- --insecure-kubeconfig-tls
{{- end }}
{{- if .Values.receiver.enabled }}
- --receiver-listen=0.0.0.0:9292
{{- end }}
{{- if .Values.leaderElection.enabled }}
- --leader-elect
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
