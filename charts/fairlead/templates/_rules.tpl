{{- /* What the operator itself does; what is released is done in the name of service accounts. Each rule is used by the
       tests, and no other is needed there. */ -}}
{{- define "fairlead.rules" -}}
{{- $all := and (has "source" .Values.controllers) (has "kustomize" .Values.controllers) (has "helm" .Values.controllers) -}}
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories, helmrepositories, helmcharts, ocirepositories, buckets, externalartifacts]
  verbs: [list, watch]
{{- if has "source" .Values.controllers }}
- apiGroups: [source.toolkit.fluxcd.io]
  resources:
    - gitrepositories
    - gitrepositories/status
    - helmrepositories
    - helmrepositories/status
    - helmcharts
    - helmcharts/status
    - ocirepositories
    - ocirepositories/status
    - buckets
    - buckets/status
  verbs: [patch]
{{- end }}
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations]
  verbs: [list, watch]
{{- if has "kustomize" .Values.controllers }}
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations, kustomizations/status]
  verbs: [patch]
{{- end }}
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases]
  verbs: [list, watch]
{{- if has "helm" .Values.controllers }}
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases, helmreleases/status]
  verbs: [patch]
# A HelmRelease's spec.chart becomes a HelmChart.
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [helmcharts]
  verbs: [create, patch, delete]
{{- end }}
{{- if .Values.receiver.enabled }}
- apiGroups: [notification.toolkit.fluxcd.io]
  resources: [receivers]
  verbs: [list, watch]
- apiGroups: [notification.toolkit.fluxcd.io]
  resources: [receivers, receivers/status]
  verbs: [patch]
{{- if not $all }}
# A Receiver asks the controllers that run elsewhere by an annotation.
- apiGroups: [source.toolkit.fluxcd.io, kustomize.toolkit.fluxcd.io, helm.toolkit.fluxcd.io]
  resources: ["*"]
  verbs: [get, patch]
{{- end }}
{{- end }}
{{- if has "notification" (splitList "," (include "fairlead.controllers" .)) }}
- apiGroups: [notification.toolkit.fluxcd.io]
  resources: [alerts, providers]
  verbs: [list, watch]
{{- end }}
# Credentials, values and helm's records, and whatever changes in them.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, impersonate]
# The way into other clusters that trust this one's tokens (spec.kubeConfig.configMapRef).
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- if and .Values.crds.upgrade (not .Values.watchNamespace) }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames:
    - buckets.source.toolkit.fluxcd.io
    - externalartifacts.source.toolkit.fluxcd.io
    - gitrepositories.source.toolkit.fluxcd.io
    - helmcharts.source.toolkit.fluxcd.io
    - helmreleases.helm.toolkit.fluxcd.io
    - helmrepositories.source.toolkit.fluxcd.io
    - kustomizations.kustomize.toolkit.fluxcd.io
    - alerts.notification.toolkit.fluxcd.io
    - providers.notification.toolkit.fluxcd.io
    - ocirepositories.source.toolkit.fluxcd.io
    - receivers.notification.toolkit.fluxcd.io
  verbs: [create, patch]
{{- end }}
{{- end -}}
