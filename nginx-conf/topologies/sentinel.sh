#!/bin/sh
# What nginx-conf/sentinel.conf asks, on this machine: a Redis master (6379), two replicas (6380, 6381) and three
# Sentinels (26379 to 26381), with the password in nginx-conf/redis.password. Runs until Ctrl-C; keeps nothing.
#
# Then, for instance, see the master change:
#   redis-cli -p 26379 SENTINEL GET-MASTER-ADDR-BY-NAME mymaster
#   redis-cli -p 26379 SENTINEL FAILOVER mymaster
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
password=$(cat "$here/redis.password")
dir=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || :; wait; rm -rf "$dir"' EXIT
trap 'exit 0' INT TERM

# run name file [--sentinel]
run() {
    mkdir "$dir/$1"
    (cd "$dir/$1" && exec redis-server "$2" ${3-} --logfile "$dir/$1/log") &
    pids="$pids $!"
}

for port in 6379 6380 6381; do
    {
        echo "port $port"
        echo 'bind 127.0.0.1'
        echo 'save ""'
        echo 'repl-diskless-sync-delay 0'      # else replicas have nothing for five seconds
        echo "requirepass \"$password\""
        echo "masterauth \"$password\""
        [ $port = 6379 ] || echo 'replicaof 127.0.0.1 6379'
    } >"$dir/redis.$port.conf"
    run "redis.$port" "$dir/redis.$port.conf"
done
for port in 26379 26380 26381; do
    {
        echo "port $port"
        echo 'bind 127.0.0.1'
        echo 'sentinel monitor mymaster 127.0.0.1 6379 2'
        echo "sentinel auth-pass mymaster \"$password\""
        echo 'sentinel down-after-milliseconds mymaster 1000'
        echo 'sentinel failover-timeout mymaster 10000'
    } >"$dir/sentinel.$port.conf"
    run "sentinel.$port" "$dir/sentinel.$port.conf" --sentinel
done

sleep 1
for pid in $pids; do
    kill -0 "$pid" 2>/dev/null || { echo "a server did not start, is its port in use? See:" >&2; tail -n 3 "$dir"/*/log >&2; exit 1; }
done
echo "master on 6379, replicas on 6380 and 6381, Sentinels on 26379 to 26381; Ctrl-C ends them"
wait
