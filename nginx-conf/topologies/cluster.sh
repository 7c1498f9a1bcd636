#!/bin/sh
# Starts a Redis Cluster on 127.0.0.1, three masters on 7000 to 7002 and a replica of each on 7003 to 7005, for
# ../cluster.conf. It keeps nothing and ends with Ctrl-C.
#
# PASSWORD: of the cluster; by default that in ../redis.password. FIRST: the first port (7000).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
first=${FIRST:-7000}
password=${PASSWORD:-$(cat "$here/../redis.password")}
umask 077
dir=$(mktemp -d)
export REDISCLI_AUTH="$password"

pids=
cleanup() {
    trap - EXIT INT TERM
    # shellcheck disable=SC2086
    kill $pids 2>/dev/null || :
    wait
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 0' INT TERM

nodes=
for n in 0 1 2 3 4 5; do
    port=$((first + n))
    mkdir "$dir/$port"
    cat >"$dir/$port/redis.conf" <<END
port $port
bind 127.0.0.1
dir $dir/$port
logfile $dir/$port/log
save ""
cluster-enabled yes
cluster-node-timeout 2000
requirepass "$password"
masterauth "$password"
END
    redis-server "$dir/$port/redis.conf" &
    pids="$pids $!"
    nodes="$nodes 127.0.0.1:$port"
done
for n in 0 1 2 3 4 5; do
    until redis-cli -p $((first + n)) ping >/dev/null 2>&1; do sleep 0.1; done
done

# shellcheck disable=SC2086
redis-cli --cluster create $nodes --cluster-replicas 1 --cluster-yes >"$dir/create.log" || { cat "$dir/create.log"; exit 1; }
until redis-cli -p "$first" cluster info | grep -q cluster_state:ok; do sleep 0.1; done
echo "a cluster of$nodes; for instance: redis-cli -c -p $first"
wait
