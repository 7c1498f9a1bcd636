#!/bin/bash
# Fetches and builds what the applications here need beyond Debian's packages (deps.sh live): npm's packages beside
# node/, a virtual environment of Python and the Go program below objs/live. Does nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")"
readonly TO=../../objs/live
mkdir -p $TO

# A stamp holds what was asked for: another request installs anew.
is_done() { cmp -s "$TO/$1.stamp" <(cat "${@:2}"); }
done_now() { cat "${@:2}" >"$TO/$1.stamp"; }

node_packages() {
    is_done node node/package-lock.json && [ -d node/node_modules ] && return
    (cd node && npm ci --silent --no-audit --no-fund --no-progress)
    done_now node node/package-lock.json
}

# Flask-Session 0.5 cannot stand beside 0.8: it has a directory of its own.
python_packages() {
    is_done python python/requirements*.txt && return
    rm -rf $TO/python $TO/python-old
    /usr/bin/python3 -m venv $TO/python
    $TO/python/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-input -r python/requirements.txt
    $TO/python/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-input --no-deps --target $TO/python-old -r python/requirements-old.txt
    done_now python python/requirements*.txt
}

go_programs() {
    is_done go go/*.go cookies/*.go && return
    local -x GOPATH=/usr/share/gocode GO111MODULE=off CGO_ENABLED=0 GOCACHE=$PWD/$TO/go-cache
    go build -o $TO/redistore go/redistore.go
    go build -o $TO/cookies cookies/cookies.go
    done_now go go/*.go cookies/*.go
}

node_packages &
pid=$!
go_programs
python_packages
wait $pid
