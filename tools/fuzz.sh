#!/usr/bin/env bash
# Has libFuzzer feed every entry of src/fuzzing.rs for some seconds, from the corpus in tests/fuzz/<entry>.
#
#   tools/fuzz.sh CARGO_FUZZ SECONDS
#
# What it learns is kept in target/fuzz/corpus/<entry>, so that the next run goes on from there.
set -euo pipefail

cargo_fuzz=$(realpath "${1:?usage: tools/fuzz.sh CARGO_FUZZ SECONDS}")
seconds=${2:?usage: tools/fuzz.sh CARGO_FUZZ SECONDS}
cd "$(dirname "$0")/.."

# Coverage counters are an unstable flag of rustc; the pinned stable one has them all the same.
export RUSTC_BOOTSTRAP=1
flags=(--fuzz-dir tests/fuzz --target-dir target/fuzz --sanitizer none)
findings=$PWD/target/fuzz-findings
mkdir -p "$findings"
for entry in $("$cargo_fuzz" list --fuzz-dir tests/fuzz); do
  learnt=$PWD/target/fuzz/corpus/$entry
  mkdir -p "$learnt"
  "$cargo_fuzz" run "${flags[@]}" "$entry" "$learnt" "$PWD/tests/fuzz/$entry" -- \
    -max_total_time="$seconds" -max_len=65536 -timeout=60 -rss_limit_mb=2048 -artifact_prefix="$findings/$entry-"
done
