#!/bin/bash
# Installs what a fresh Debian 12 lacks, and nothing where everything is there.
#
#   ./deps.sh group …          groups: build test demo bench express live java fuzz (default: build test demo bench)
#   ./deps.sh --list group …   prints the packages of the groups and installs nothing
#
# Works as root or with sudo. Only apt packages; "express" is Debian's Node and npm for demo/express, whose own
# packages npm takes from its package.json; "live" is what the applications of t/live take from Debian, t/live/install.sh
# brings the rest; "java" is Tomcat's cookie parser and a JDK, for t/live-cookies.t. Rust is not among them: Debian 12 has 1.63, this module needs 1.88.
# No service is started: what is installed here is run by demo, tests and bench themselves, with their own files.
set -euo pipefail

readonly RUST_NEEDED=1.88

# package[:command], one row a group; where the command is found, whoever brought it, the package is not asked for.
declare -A GROUPS_OF=(
    [build]="ca-certificates nginx nginx-dev libclang-dev gcc make libpcre2-dev libssl-dev zlib1g-dev pkg-config:pkg-config"
    [test]="libtest-base-perl perl:perl redis-server:redis-server memcached:memcached nutcracker:nutcracker php-fpm php-redis curl:curl procps:ps openssl:openssl python3:/usr/bin/python3"
    [demo]="nginx redis-server:redis-server php-fpm php-redis python3:/usr/bin/python3 curl:curl"
    [bench]="nginx openssl:openssl redis-server:redis-server python3:/usr/bin/python3 nodejs:node wrk:wrk dpkg:dpkg-deb"
    [fuzz]="g++:c++ perl:perl"
    [express]="ca-certificates nodejs:node npm:npm"
    [live]="ca-certificates nodejs:node npm:npm python3-venv php-fpm php-redis php-igbinary php-msgpack php-memcached php-memcache memcached:memcached
        php-symfony-http-foundation php-symfony-security-core php-illuminate-auth php-illuminate-cache php-illuminate-config
        php-illuminate-cookie php-illuminate-encryption php-illuminate-pipeline php-illuminate-redis php-illuminate-session ruby:ruby ruby-rack ruby-webrick ruby-redis-rack ruby-redis-rails
        ruby-railties ruby-connection-pool ruby-dalli golang-go:go golang-github-boj-redistore-dev golang-github-gomodule-redigo-dev
        golang-github-gorilla-sessions-dev golang-github-valyala-fasthttp-dev"
    [java]="default-jdk-headless:javac libtomcat10-java"
)

main() {
    local list=no
    if [ "${1:-}" = --list ]; then list=yes; shift; fi
    [ $# -gt 0 ] || set -- build test demo bench

    local group row missing=() rust=no
    for group; do
        [ -n "${GROUPS_OF[$group]:-}" ] || die "no group \"$group\"; there are: ${!GROUPS_OF[*]}"
        [ "$group" != build ] || rust=yes
        for row in ${GROUPS_OF[$group]}; do
            if [ $list = yes ]; then echo "${row%%:*}"
            elif ! is_there "$row"; then missing+=("${row%%:*}")
            fi
        done
    done
    [ $list = no ] || exit 0

    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
    [ $rust = no ] || check_rust
}

is_there() {
    local package=${1%%:*} command=${1#*:}
    if [ "$command" != "$1" ] && command -v "$command" >/dev/null; then return 0; fi
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]
}

install_packages() {
    command -v apt-get >/dev/null || die "apt-get is not here; install by hand what these Debian packages hold: $*"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "not root, and no sudo; as root: apt-get install $*"

    echo "deps: installing $*"
    log=$(mktemp)
    trap clean_up EXIT
    hold_services
    as_root apt-get -qq update >>"$log" 2>&1 || true       # what matters is whether the packages can be had
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "apt-get could not install: $*"
    fi
}

# Debian starts a service as soon as it is installed, unless policy-rc.d forbids it. One that is already there stays.
hold_services() {
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    held=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
}

clean_up() {
    rm -f "$log"
    [ $held = no ] || as_root rm -f /usr/sbin/policy-rc.d
}

check_rust() {
    local found
    found=$(PATH="$PATH:$HOME/.cargo/bin" cargo --version 2>/dev/null | cut -d' ' -f2 || true)
    if [ -z "$found" ] || [ "$(printf '%s\n' $RUST_NEEDED "$found" | sort -V | head -1)" != $RUST_NEEDED ]; then
        cat >&2 <<MESSAGE
deps: Rust $RUST_NEEDED or newer is needed, ${found:-none} is here, and Debian 12 has none so new. Get it from https://rustup.rs:
          curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
          . "\$HOME/.cargo/env"
MESSAGE
        exit 1
    fi
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

die() { echo "deps: $*" >&2; exit 1; }

log='' held=no
main "$@"
