#!/usr/bin/env bash
# Twenty instances of the service, started at once on this machine:
#
#   ./demo.sh [good|kill|fail|broken] [BACKEND]
#
#   good    one migrates, all serve
#   kill    the one that migrates is killed half-way (kill -9), and another goes on
#   fail    the last migration fails twice, and works at the third attempt
#   broken  it never works: all give up, and say why
#
# BACKEND is any store, such as gs://acme-locks/demo; without it, files. The database is a file of its own
# each time. COUNT=100 starts more of them, ENTRYPOINT=1 starts entrypoint.sh, with leasehold the program.
set -euo pipefail
cd "$(dirname "$0")"

mode=${1:-good}
count=${COUNT:-20}
case $mode in
  good | fail | broken) rehearse=$mode ;;
  kill) rehearse=pause ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac

cargo build --quiet --package cloud-run-migrations --package leasehold-cli
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
PATH=$target/debug:$PATH
service=(cloud-run-migrations)
[ -z "${ENTRYPOINT:-}" ] || service=(sh entrypoint.sh)

dir=$(mktemp -d)
pids=()
finish() {
  kill "${pids[@]}" 2>/dev/null || true
  while anybody; do sleep 0.1; done
  rm -rf "$dir"
}
trap finish EXIT

export REHEARSE=$rehearse PORT=0 DATABASE=$dir/orders.db
export LEASEHOLD_BACKEND=${2:-file://$dir/locks}
# A new database deserves a new name: the store may remember the last one.
export LOCK=demo/$(date +%s)-$$

lines() { cat "$dir"/*.log | grep "$1" || true; }
anybody() { for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && return; done; false; }
# Waits until that many lines say it, or nobody is left to say it.
wait_for() {
  until [ "$(lines "$2" | wc -l)" -ge "$1" ]; do
    anybody || return 0
    sleep 0.1
  done
}

began=$(date +%s)
for n in $(seq "$count"); do
  # Its own process group, so that the kill below gets whatever belongs to the instance.
  setsid "${service[@]}" >"$dir/$n.log" 2>&1 &
  pids+=($!)
  disown
done
echo "$count instances are starting"

alive=$count
if [ "$mode" = kill ]; then
  wait_for 1 '^pausing'
  number=$(basename "$(grep -l '^pausing' "$dir"/*.log)" .log)
  kill -9 -- "-${pids[number - 1]}"
  echo "instance $number was migrating, and is killed"
  alive=$((count - 1))
fi
case $mode in
  broken) wait_for "$alive" ' failed 3 times' ;;
  *) wait_for "$alive" '^serving' ;;
esac

echo; echo "after $(($(date +%s) - began)) s, who migrated:"
# In the order of the attempts, and of those who took over.
for log in $(grep -H '^migrating' "$dir"/*.log | sort -t' ' -k3,3n -k5,5n | cut -d: -f1 | awk '!seen[$0]++'); do
  echo "  instance $(basename "$log" .log)"
  grep -e '^migrating' -e '^applied' -e '^migrated$' "$log" | sed 's/^/    /'
done
echo; echo "all others:"
grep -hv -e '^migrating' -e '^applied' -e '^serving' -e '^pausing' -e '^migrated$' "$dir"/*.log | sort | uniq -c

healthy=0
for port in $(lines '^serving' | grep -o '[0-9]*$'); do
  answer=$(curl --silent --max-time 10 "http://127.0.0.1:$port/") || answer="no answer"
  [ "$answer" != "3 orders, 200.00 EUR" ] || healthy=$((healthy + 1))
done
echo; echo "healthy: $healthy of $count"
