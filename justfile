# Oblix Actors. Every recipe sets up what it needs; `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Start the server on 127.0.0.1:62549; arguments go to `oblix serve`
[no-exit-message]
serve *args: setup
    @exec .venv/bin/oblix serve "$@"

# Ask one question in the terminal: just ask "Why is the sky blue?"
[no-exit-message]
ask *args: setup
    @exec .venv/bin/oblix ask "$@"

# All checks, then all tests; arguments go to pytest
[no-exit-message]
test *args: check
    @tools/setup.sh system
    @tools/setup.sh clients
    @exec .venv/bin/python -m pytest "$@"

# Format, lint, async lint, types, and who may import whom
[no-exit-message]
check: setup
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    @echo flake8-async
    @find oblix_actors bench tools -name '*.py' -print0 | xargs -0 .venv/bin/python -m flake8_async \
        --enable=ASYNC1,ASYNC2,ASYNC3,ASYNC4,ASYNC900 --disable=ASYNC114,ASYNC124
    @find tests -name '*.py' -print0 | xargs -0 .venv/bin/python -m flake8_async \
        --enable=ASYNC1,ASYNC2,ASYNC3,ASYNC900 --disable=ASYNC114,ASYNC124,ASYNC128
    .venv/bin/mypy
    .venv/bin/lint-imports

# Format the code and mend what ruff can mend
format: setup
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# Run the benchmarks, or those named: just bench startup
[no-exit-message]
bench *names: setup
    @.venv/bin/python -m bench "$@"

# Make or update .venv; at once done when nothing changed
setup:
    @tools/setup.sh

# Compile requirements/*.txt anew from pyproject.toml, with the newest versions that fit
pins: setup
    tools/pins.sh
    tools/setup.sh

# Write the parts of docs/ that are made from the code
docs: setup
    .venv/bin/python -m tools.errors_page > docs/errors.md

# Remove everything that the recipes made
clean:
    rm -rf .venv .venv-clients .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
    find . -name __pycache__ -type d -prune -exec rm -rf {} +
