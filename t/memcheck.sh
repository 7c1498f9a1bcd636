#!/bin/sh
# The tests of the store side under valgrind, or with an nginx and a module that
# were built with AddressSanitizer (make asan): run from the root of the
# repository, with the environment of any other test. Fails where a memory error,
# a leak or a crash was seen. What a test says about times is not looked at:
# under valgrind all takes twenty times as long.
#
#     t/memcheck.sh valgrind|asan [t/x.t …]
set -u

how=$1
shift
[ $# -gt 0 ] || set -- t/down.t t/slow.t t/upstream.t t/auth.t t/pipelining.t t/resolver.t t/reload.t t/client_gone.t t/protocol.t t/tls.t t/cache.t t/sticky.t t/learn.t t/learn-held.t

case $how in
valgrind)
    # Names of functions even after nginx has unloaded the module, which it does before leaks are looked for.
    export TEST_NGINX_USE_VALGRIND=1 VALGRIND_OPTS=--keep-debuginfo=yes
    ;;
asan)
    # nginx itself keeps some of what it takes until it ends.
    export ASAN_OPTIONS=detect_leaks=1:detect_odr_violation=0
    export LSAN_OPTIONS=suppressions=$PWD/t/lsan.suppress:print_suppressions=0
    ;;
*)
    echo "usage: t/memcheck.sh valgrind|asan [t/x.t ...]" >&2
    exit 2
    ;;
esac

failed=0
for test in "$@"; do
    out=$(prove "$test" 2>&1)
    if printf '%s\n' "$out" | grep -q 'complaints of memory errors'; then
        failed=1
        printf '%s\n' "$out"
    else
        printf '%s: no memory errors (%s)\n' "$test" "$(printf '%s\n' "$out" | sed -n 's/^Result: //p')"
    fi
done
exit $failed
