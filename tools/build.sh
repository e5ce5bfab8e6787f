#!/usr/bin/env bash
# Builds the pinned tools of the test bench, each once per change of its module files, and links them into a folder.
#
#   tools/build.sh BIN_DIR TOOL...      TOOL is the name of a folder beside this script
#
# Built tools are kept in ${FAIRLEAD_TOOLS_CACHE:-$HOME/.cache/fairlead/tools}/<tool>-<key>/, where the key covers the
# module files and the recipe below, so that every checkout on a machine shares them.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${FAIRLEAD_TOOLS_CACHE:-$HOME/.cache/fairlead/tools}

# The version that a tool's go.mod pins for a module, without its leading v.
pinned() { sed -nE "s|^\s*(require )?$2 v([^ ]+).*|\2|p" "$here/$1/go.mod" | head -n 1; }

# One line "binary=package" per program, then one line "-X …" per version variable, and "-tags …" for build tags: helm and Kubernetes report (and
# decide by) what is stamped here, and would call themselves v1.20 or v0.0.0 otherwise.
recipe() {
  local version minor client
  case $1 in
    kubernetes)
      version=$(pinned kubernetes k8s.io/kubernetes) minor=${version#1.} minor=${minor%%.*}
      printf '%s=k8s.io/kubernetes/cmd/%s\n' kube-apiserver{,} kube-controller-manager{,} kube-scheduler{,} kubectl{,}
      printf -- '-X k8s.io/component-base/version.%s\n' \
        "gitVersion=v$version" gitMajor=1 "gitMinor=$minor" gitTreeState=clean gitCommit=0000000000000000000000000000000000000000
      ;;
    etcd) echo etcd=go.etcd.io/etcd/server/v3 ;;
    kwok)
      echo kwok=sigs.k8s.io/kwok/cmd/kwok
      echo "-X sigs.k8s.io/kwok/pkg/consts.Version=$(pinned kwok sigs.k8s.io/kwok)"
      ;;
    helm3 | helm4)
      version=$(pinned "$1" "helm.sh/helm/v${1#helm}")
      echo "$1=helm.sh/helm/v${1#helm}/cmd/helm"
      echo "-X helm.sh/helm/v${1#helm}/internal/version.version=v$version"
      if [ "$1" = helm3 ]; then
        client=$(pinned helm3 k8s.io/client-go) minor=${client#0.} minor=${minor%%.*}
        printf -- '-X helm.sh/helm/v3/pkg/%s\n' {chartutil,lint/rules}.k8sVersionMajor=1 {chartutil,lint/rules}.k8sVersionMinor="$minor"
      fi
      ;;
    kustomize)
      echo kustomize=sigs.k8s.io/kustomize/kustomize/v5
      echo "-X sigs.k8s.io/kustomize/api/provenance.version=v$(pinned kustomize sigs.k8s.io/kustomize/kustomize/v5)"
      ;;
    crane)
      echo crane=github.com/google/go-containerregistry/cmd/crane
      echo "-X github.com/google/go-containerregistry/cmd/crane/cmd.Version=$(pinned crane github.com/google/go-containerregistry)"
      ;;
    sops)
      printf '%s\n' sops=github.com/getsops/sops/v3/cmd/sops age-keygen=filippo.io/age/cmd/age-keygen
      echo "-X github.com/getsops/sops/v3/version.Version=$(pinned sops github.com/getsops/sops/v3)"
      ;;
    cosign)
      echo cosign=github.com/sigstore/cosign/v3/cmd/cosign
      echo "-X sigs.k8s.io/release-utils/version.gitVersion=v$(pinned cosign github.com/sigstore/cosign/v3)"
      ;;
    notation)
      echo notation=github.com/notaryproject/notation/cmd/notation
      # Its version is in its source; this keeps it from calling itself unreleased.
      echo '-X github.com/notaryproject/notation/internal/version.BuildMetadata='
      ;;
    flux) echo "-X main.VERSION=$(pinned flux github.com/fluxcd/flux2/v2)" ;;
    prometheus)
      printf '%s=github.com/prometheus/prometheus/cmd/%s\n' prometheus{,} promtool{,}
      # Tests name their targets: no clients of clouds.
      echo '-tags remove_all_sd'
      ;;
    cargo-deny | cargo-fuzz) echo "$1=$(cat "$here/$1/version")" ;;
    *) echo "tools/build.sh: no recipe for a tool named '$1'" >&2; return 1 ;;
  esac
}

key() {
  { recipe "$1"; uname -sm; cat "$here/$1"/{go.mod,go.sum,version} 2>/dev/null || true; } | sha256sum | cut -c1-16
}

build_go() {
  local tool=$1 out=$2 stamps tags program
  tags=$(recipe "$tool" | sed -n 's/^-tags //p')
  stamps=$(recipe "$tool" | grep '^-X' | tr '\n' ' ' || true)
  for program in $(recipe "$tool" | grep -v '^-'); do
    go build -C "$here/$tool" -mod=readonly -trimpath -buildvcs=false -tags "$tags" -ldflags "-s -w $stamps" \
      -o "$out/${program%%=*}" "${program#*=}"
  done
}

# Flux's command line embeds the manifests that `flux install` applies, and the module is published without them: it is
# built from a copy, with a file in their place, by its own go.sum.
build_flux() {
  local out=$1 module
  module=$(cd "$here/flux" && go mod download -json github.com/fluxcd/flux2/v2 | sed -nE 's/^\s*"Dir": "(.*)",$/\1/p')
  cp -r "$module" "$out.source" && chmod -R u+w "$out.source"
  mkdir "$out.source/cmd/flux/manifests" && echo '# none' >"$out.source/cmd/flux/manifests/none.yaml"
  go build -C "$out.source" -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w $(recipe flux)" -o "$out/flux" ./cmd/flux
  rm -rf "$out.source"
}

build() {
  local tool=$1 out=$2
  echo "building $tool (once; kept in $cache)" >&2
  if [ -f "$here/$tool/version" ]; then
    cargo install --quiet --locked --root "$out/root" --target-dir "$out/target" "$tool" --version "=$(cat "$here/$tool/version")"
    mv "$out/root/bin/$tool" "$out/" && rm -rf "$out/root" "$out/target"
  elif [ "$tool" = flux ]; then
    build_flux "$out"
  else
    build_go "$tool" "$out"
  fi
}

ensure() {
  local tool=$1 kept
  kept=$cache/$tool-$(key "$tool")
  if [ ! -d "$kept" ]; then
    exec 9>"$cache/$tool.lock"
    flock 9
    if [ ! -d "$kept" ]; then
      rm -rf "$kept.partial"* && mkdir -p "$kept.partial"
      build "$tool" "$kept.partial"
      mv "$kept.partial" "$kept"
    fi
    exec 9>&-
  fi
  ln -sf "$kept"/* "$bin/"
}

bin=${1:?usage: tools/build.sh BIN_DIR TOOL...}
shift
mkdir -p "$bin" "$cache"
for tool in "$@"; do ensure "$tool"; done
