#!/bin/bash
# The demo: a PHP application logs users in, nginx reads its sessions from Redis, and another application that knows
# nothing of either is told who the user is. Shows it with curl, then stays up for a browser until Ctrl-C.
#
#   demo/run.sh [--once] [--express]
#
#   --once      ends by itself after the checks
#   --express   the Express login must be there too; else it is when Node and its packages are
#   MODULE      the module (default objs/ngx_http_session_redis_module.so)
#   NGINX_BINARY  nginx (default /usr/sbin/nginx)
#   PORT        the port on 127.0.0.1 (default 8080)
#
# Ends with 0 only if everything was as expected. All it writes is in one folder under /tmp, removed at the end.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
MODULE=$(realpath -m "${MODULE:-$HERE/../objs/ngx_http_session_redis_module.so}")
NGINX=${NGINX_BINARY:-/usr/sbin/nginx}
PORT=${PORT:-8080}
BASE=http://127.0.0.1:$PORT
once=no express=auto dir='' failed=0 pids=()

main() {
    for argument; do
        case $argument in
            --once)    once=yes ;;
            --express) express=yes ;;
            *)         sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; [ "$argument" = --help ] && exit 0 || exit 2 ;;
        esac
    done
    [ -f "$MODULE" ] || die "no module at $MODULE; \"make\" builds it"
    [ -x "$NGINX" ]  || die "no nginx at $NGINX; \"make deps\" installs it"
    if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
        die "port $PORT of 127.0.0.1 is taken; choose another: make demo PORT=8090"
    fi

    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap stop_all EXIT
    prepare
    start_all

    say "The way of a user through PHP (A) and the application behind nginx (B), which only shows its request headers"
    check_php
    [ $express = no ] || check_express
    [ $failed = 0 ] || die "$failed of the checks failed; what nginx said:" "$(tail -n 20 "$dir/nginx.log")"

    say "All as expected."
    [ $once = no ] || exit 0
    echo "Now look yourself: $BASE/   (alice or bob, the password is the name; Ctrl-C ends it)"
    trap 'echo; exit 0' INT
    wait -n "${pids[@]}" || true
    die "one of the servers ended by itself:" "$(tail -n 20 "$dir"/*.log)"
}

# ---- Servers ----------------------------------------------------------------------------------------------------------

# Everything that a server reads is copied into one folder: as root the servers run as www-data, which could not look
# into root's home.
prepare() {
    dir=$(mktemp -d /tmp/session-redis-demo.XXXXXX)
    mkdir "$dir/tmp"
    cp -r "$HERE"/{php,backend.py,style.css,fastcgi.conf} "$dir"
    fill_in "$HERE/nginx.conf"   > "$dir/nginx.conf"
    fill_in "$HERE/php-fpm.conf" > "$dir/php-fpm.conf"
    prepare_express

    [ "$(id -u)" = 0 ] || return 0
    as_user=(--reuid=www-data --regid=www-data --clear-groups)
    printf 'user = www-data\ngroup = www-data\n' >> "$dir/php-fpm.conf"
    sed -i '1i user www-data;' "$dir/nginx.conf"
    chown -R www-data:www-data "$dir"
}

fill_in() { sed "s|@DIR@|$dir|g; s|@PORT@|$PORT|g; s|@MODULE@|$MODULE|g" "$1"; }

prepare_express() {
    [ $express != no ] || return 0
    if ! command -v node >/dev/null || ! { [ -d "$HERE/express/node_modules" ] || command -v npm >/dev/null; }; then
        [ $express = auto ] || die "--express needs Node and npm: ./deps.sh express"
        express=no
        return 0
    fi
    if ! { [ -d "$HERE/express/node_modules" ] || npm ci --prefix "$HERE/express" --no-audit --no-fund --loglevel=error; } >"$dir/npm.log" 2>&1; then
        [ $express = auto ] || die "npm could not install the packages of demo/express:" "$(tail -n 5 "$dir/npm.log")"
        express=no
        return 0
    fi
    express=yes
    cp -r "$HERE/express" "$dir"
    fill_in "$HERE/express/nginx.conf" > "$dir/express.conf"
    (umask 027 && head -c 32 /dev/urandom | base64 > "$dir/express.secret")
}

start_all() {
    "$NGINX" -t -q -e "$dir/nginx.log" -p "$dir" -c "$dir/nginx.conf" 2>"$dir/test.log" || die "nginx refuses the demo's configuration:" "$(cat "$dir/test.log")"
    rm -f "$dir/nginx.pid"   # -t leaves an empty one, which does not show that nginx is up

    start redis "$dir/redis.sock" redis-server --port 0 --unixsocket "$dir/redis.sock" --save '' --appendonly no --dir "$dir"
    start backend "$dir/backend.sock" /usr/bin/python3 "$dir/backend.py" "$dir/backend.sock"
    start_as_master php "$dir/php.sock" "$(php_fpm)" --fpm-config "$dir/php-fpm.conf" --nodaemonize
    if [ $express = yes ]; then
        start express "$dir/express.sock" node "$dir/express/app.js" "$dir/express.sock" "$dir/redis.sock" "$dir/express.secret"
    fi
    start_as_master nginx "$dir/nginx.pid" "$NGINX" -e "$dir/nginx.log" -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
}

php_fpm() { ls /usr/sbin/php-fpm* 2>/dev/null | sort -V | tail -n 1; }

# start name file-that-shows-it-is-up command …: in a process group of its own, which also ends if this script is killed.
start() { local name=$1 up=$2; shift 2; launch "$name" "$up" setpriv "${as_user[@]}" --pdeathsig TERM -- "$@"; }

# The same for a server that itself goes from root to www-data.
start_as_master() { local name=$1 up=$2; shift 2; launch "$name" "$up" setpriv --pdeathsig TERM -- "$@"; }

launch() {
    local name=$1 up=$2; shift 2
    set -m
    "$@" >"$dir/$name.out.log" 2>&1 </dev/null &
    set +m
    pids+=($!)
    local tries
    for tries in {1..200}; do
        [ ! -e "$up" ] || return 0
        kill -0 $! 2>/dev/null || break
        sleep 0.05
    done
    die "$name did not start:" "$(cat "$dir/$name"*.log)"
}

stop_all() {
    local pid
    trap - EXIT
    trap '' INT TERM HUP
    for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do
        timeout 5 tail --pid="$pid" -f /dev/null || kill -KILL -- "-$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    [ -z "$dir" ] || rm -rf "$dir"
}

# ---- Checks -----------------------------------------------------------------------------------------------------------

check_php() {
    jar=$dir/alice.cookies

    step "without a session" "curl $BASE/app/"
    expect_user "$(ask /app/)" ""
    step "a stranger who writes the header himself" "curl -H 'X-User-Id: 1' $BASE/app/"
    expect_user "$(ask /app/ -H 'X-User-Id: 1' -H 'X-User-Roles: admin')" ""
    step "a cookie that no session belongs to" "curl -b PHPSESSID=0123456789abcdefghijklmnop -H 'X-User-Id: 1' $BASE/app/"
    expect_user "$(ask /app/ -b PHPSESSID=0123456789abcdefghijklmnop -H 'X-User-Id: 1')" ""

    step "alice logs in" "curl -c jar -d user=alice -d password=alice $BASE/login"
    expect "$(status /login -c "$jar" -d user=alice -d password=alice)" 303
    local key
    key=PHPREDIS_SESSION:$(awk '$6 == "PHPSESSID" { print $7 }' "$jar")
    echo "      PHP wrote to Redis: $(redis-cli -s "$dir/redis.sock" --raw get "$key")"

    step "alice at B" "curl -b jar $BASE/app/"
    local seen
    seen=$(ask /app/ -b "$jar")
    expect_user "$seen" 'X-User-Id: 1001
X-User-Name: Alice%20%C5%81ukasik
X-User-Roles: admin,editor'
    expect "$(grep -ic '^cookie:.*PHPSESSID' <<<"$seen" || true)" 0 "the session's cookie stays at nginx"
    step "alice pretends to be somebody else" "curl -b jar -H 'X-User-Id: 1' -H 'x-user-id: 2' $BASE/app/"
    expect_user "$(ask /app/ -b "$jar" -H 'X-User-Id: 1' -H 'x-user-id: 2' -H 'X-User-Name: root')" 'X-User-Id: 1001
X-User-Name: Alice%20%C5%81ukasik
X-User-Roles: admin,editor'

    step "who is not logged in is sent to the login page" "curl -H 'Accept: text/html' '$BASE/members/?page=2'"
    local login
    login=$(status '/members/?page=2' -H 'Accept: text/html')
    expect "${login%%\?*}" "302 $BASE/login"
    expect "$(ask "${login#*"$BASE"}" | grep -o 'name="next" value="[^"]*"')" 'name="next" value="/members/?page=2"' "the login form"
    step "bob has no role admin, alice has" "curl -b jar $BASE/admin/"
    expect "$(status /login -c "$dir/bob.cookies" -d user=bob -d password=bob)" 303
    expect "$(status /admin/ -b "$dir/bob.cookies")" 403
    expect "$(status /admin/ -b "$jar")" 200

    step "alice logs out, her old cookie opens nothing" "curl -b jar -X POST $BASE/logout"
    expect "$(status /logout -b "$jar" -d '')" 303
    expect_user "$(ask /app/ -b "$jar" -H 'X-User-Id: 1001')" ""
}

check_express() {
    jar=$dir/express.cookies
    step "bob logs in to Express, his cookie is signed" "curl -c jar -d user=bob -d password=bob $BASE/express/login"
    expect "$(status /express/login -c "$jar" -d user=bob -d password=bob)" 303
    expect_user "$(ask /express/app/ -b "$jar" -H 'X-User-Id: 1')" 'X-User-Id: 1002
X-User-Name: Bob
X-User-Roles: editor'
    step "the same cookie with another signature" "curl -b 'connect.sid=s%3A….forged' $BASE/express/app/"
    local cookie
    cookie=$(awk '$6 == "connect.sid" { print $7 }' "$jar")
    expect_user "$(ask /express/app/ -b "connect.sid=${cookie%.*}.$(printf 'A%.0s' {1..43})" -H 'X-User-Id: 1')" ""
}

ask() { local path=$1; shift; curl -sS -m 10 "$@" "$BASE$path"; }

# The status code and, where there is one, the Location, as an absolute URL without nginx's own port.
status() {
    local path=$1; shift
    curl -sS -m 10 -o /dev/null -w '%{http_code} %{redirect_url}' "$@" "$BASE$path" | sed "s| $BASE/[a-z/]*\$||; s| \$||"
}

step() { printf '\n  %s\n      %s\n' "$1" "$2"; }

# expect_user headers-that-B-saw expected: the lines X-User-… among them, and none else.
expect_user() {
    local seen
    seen=$(grep -i '^x[-_]user[-_]' <<<"$1" | sort || true)
    if grep -q '^Host:' <<<"$1"; then expect "${seen:-(no X-User-… header)}" "${2:-(no X-User-… header)}" "B saw"
    else expect "$1" "an answer of B"
    fi
}

expect() {
    local got=$1 wanted=$2 label=${3:-answer}
    if [ "$got" = "$wanted" ]; then
        printf '  %s   %s: %s\n' "$good" "$label" "${got//$'\n'/, }"
    else
        failed=$((failed + 1))
        printf '  %s   %s: %s\n      expected: %s\n' "$bad" "$label" "${got//$'\n'/, }" "${wanted//$'\n'/, }"
    fi
}

say() { printf '\n%s\n' "$1"; }

die() { printf 'demo: %s\n' "$1" >&2; shift; [ $# -eq 0 ] || printf '%s\n' "$@" >&2; exit 1; }

as_user=()
good=✓ bad=✗
if [ -t 1 ]; then good=$'\e[32m✓\e[0m' bad=$'\e[31m✗\e[0m'; fi
main "$@"
