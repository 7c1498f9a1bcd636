#!/bin/bash
# Runs tests with prove; what fails is run once more, alone. Real servers are killed, frozen and timed out here, and a
# machine that stands still for a moment looks like one of these faults. What fails twice has failed; what fails once is
# named at the end, and is worth a look. A crash or an alert of nginx's has no second chance.
#
#     t/run.sh t/ nginx-conf/        # arguments as prove takes them, and the environment of any other test
set -u

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# Runs prove; keeps what it prints as $1.
tests() {
    prove "${@:2}" 2>&1 | tee "$dir/$1"
    return "${PIPESTATUS[0]}"
}

tests first "$@" && exit
mapfile -t failed < <(sed -n 's/ *(Wstat: .*//p' "$dir/first")
# Without tests prove itself has said why.
[ ${#failed[@]} -gt 0 ] || exit 1
options=()
for argument in "$@"; do [[ $argument != -* ]] || options+=("$argument"); done

printf '\nOnce more, what has failed:\n'
if tests again "${options[@]}" "${failed[@]}" && ! grep -Eq 'exited on signal|panicked at|\[alert\]' "$dir/first"; then
    result=PASS
    printf '\nFailed once, passed when run again: %s\n' "${failed[*]}"
else
    result=FAIL
    # The last lines are those that are read: what went wrong is told once more.
    printf '\nFailed twice, or with an alert:\n'
    grep -hE 'exited on signal|panicked at|\[alert\]' "$dir/first" "$dir/again" | head -n 5
    grep -A 4 'Failed test' "$dir/again" | grep '#' | head -n 20
    grep -B 2 'your test exited' "$dir/again"
    grep -h '(Wstat: ' "$dir/first"
fi
grep '^Files=' "$dir/first"
echo "Result: $result"
[ $result = PASS ]
