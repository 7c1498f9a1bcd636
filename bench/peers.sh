#!/bin/bash
# Unpacks OpenResty Lua from Debian's packages into the folder given. Not installed: that would bring nginx-extras and
# put another LuaJIT under wrk.
set -euo pipefail
to=${1:?usage: peers.sh FOLDER}
packages=(libnginx-mod-http-lua libnginx-mod-http-ndk lua-resty-core lua-resty-lrucache lua-cjson lua-nginx-redis
          libluajit2-5.1-2 libluajit2-5.1-common libpcre3)

[ ! -f "$to/complete" ] || exit 0
rm -rf "$to"
mkdir -p "$to/deb"
cd "$to/deb"
apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}"
for package in *.deb; do dpkg-deb -x "$package" "$to"; done
rm -r "$to/deb"
touch "$to/complete"
