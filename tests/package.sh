#!/usr/bin/env bash
# Puts together what is installed on a server: package.sh BINARY PLUGINS OUT makes OUT/upkeep-VERSION.tar.gz.
# The same sources give the same archive, byte for byte, if the compiler gives the same binary.
set -euo pipefail
binary=$1 plugins=$2 out=$3
cd "$(dirname "$0")/.."

version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=upkeep-$version
stage=$out/$name
time=$(git log -1 --format=%ct 2>/dev/null || date +%s)

rm -rf "$stage" "$stage.tar.gz"
install -D -m 755 "$binary" "$stage/bin/upkeep"
install -D -m 644 -t "$stage/plugins" "$plugins"/*.wasm
install -D -m 644 -t "$stage/config" config/upkeep.toml
install -D -m 644 -t "$stage/config/tasks.d" config/tasks.d/*
install -D -m 644 -t "$stage/config/schema" config/schema/*
install -D -m 644 -t "$stage/systemd" config/upkeep.service
install -D -m 644 -t "$stage/docs" docs/*.md
install -m 644 -t "$stage" README.md README.zh-CN.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE

tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -C "$out" -c "$name" | gzip --no-name -9 >"$stage.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
