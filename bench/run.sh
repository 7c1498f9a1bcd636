#!/bin/bash
# Measures the module against bare proxy_pass and its peers; "bench/run.sh --help" lists the options, bench/bench.py says how.
#
#   MODULE   the module (default objs/ngx_http_session_redis_module.so)
#   NGINX_BINARY  nginx (default /usr/sbin/nginx), also of the peers: Debian's, for their modules
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec python3 -B "$here/bench.py" "$@"
