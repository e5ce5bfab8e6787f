#!/usr/bin/env bash
# The image's root file system: the given programs, and of this machine git, an SSH client and a shell (git starts ssh by
# it), with the libraries and certificates that they need. No package manager, no perl, nothing else.
#
#   deploy/rootfs.sh ROOT PROGRAMS LICENSE      ROOT is made; PROGRAMS is a folder with fairlead, helm, kustomize, sops, …
#
# The Dockerfile runs it, and so does the test that runs the operator in what it makes.
set -euo pipefail
umask 022

usage='usage: deploy/rootfs.sh ROOT PROGRAMS LICENSE'
root=${1:?$usage}
programs=${2:?$usage}
license=${3:?$usage}
transport=$(git --exec-path)/git-remote-http

copy() {
  mkdir -p "$root$(dirname "${2:-$1}")"
  cp -L --preserve=mode "$1" "$root${2:-$1}"
}

# What the loader would load.
libraries() {
  for program in "$@"; do ldd "$program" 2>/dev/null || true; done |
    sed -nE 's|^\s*(.* => )?(/[^ ]+) \(0x.*|\2|p' | sort -u
}

mkdir -p "$root"/{dev,etc,proc,tmp,usr/local/bin,var/lib/fairlead,var/run/secrets/kubernetes.io/serviceaccount}
for program in "$programs"/*; do copy "$program" "/usr/local/bin/$(basename "$program")"; done
copy "$(command -v git)" /usr/bin/git
copy "$(command -v ssh)" /usr/bin/ssh
copy "$(command -v sh)" /bin/sh
copy "$transport"
copy "$transport" "${transport}s"
for library in $(libraries "$programs"/* "$(command -v git)" "$(command -v ssh)" "$(command -v sh)" "$transport"); do
  copy "$library"
done
copy /etc/ssl/certs/ca-certificates.crt
copy "$license" /usr/share/licenses/fairlead/LICENSE

# ssh refuses a user who has no name.
echo 'fairlead:x:65532:65532::/tmp:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'fairlead:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"

# The same files have the same times, whenever they are built.
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
  find "$root" -depth -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
fi
