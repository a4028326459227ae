#!/usr/bin/env bash
# Runs fuzz targets over what is kept of their corpora. It ends at the first input that a target does not bear.
#
#   fuzz.sh SECONDS             all targets, each for so long
#   fuzz.sh SECONDS TARGET...   those of these names
#
# New inputs go to a folder beside the compiled targets, never into the corpus that is kept; the next run has them, too.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift

fail() {
    printf 'fuzz: %s\n' "$@" >&2
    exit 1
}

[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "FUZZ_SECONDS has to be a number of seconds, this is \`$seconds\`"

# Sanitizers and coverage are options of compilers that are not released; of one that is, they have to be asked for.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/fuzz

known=()
for manifest in */fuzz/Cargo.toml */*/fuzz/Cargo.toml; do
    crate=$(dirname "$(dirname "$manifest")")
    for target in $(cargo fuzz list --fuzz-dir "$crate/fuzz"); do
        known+=("$target")
        [[ $# -eq 0 || " $* " == *" $target "* ]] || continue
        echo "fuzz: $target of $crate, for $seconds s"
        new=$CARGO_TARGET_DIR/new/$target
        # What takes any bytes at all may have none that are kept.
        corpora=("$new")
        [[ ! -d $crate/fuzz/corpus/$target ]] || corpora+=("$crate/fuzz/corpus/$target")
        mkdir -p "$new"
        cargo fuzz run --fuzz-dir "$crate/fuzz" "$target" "${corpora[@]}" -- \
            -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
    done
done
for target in "$@"; do
    [[ " ${known[*]} " == *" $target "* ]] || fail "there is no target \`$target\`; there are: ${known[*]}"
done
