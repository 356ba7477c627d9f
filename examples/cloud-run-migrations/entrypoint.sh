#!/bin/sh
# The service with leasehold as a program: it knows nothing of locks, and could be in any language.
set -e

# A shell passes no signal on, and this one is the container's first process: what Cloud Run asks for has
# to reach leasehold, which then gives its turn to another instance.
trap 'kill "$once"; wait "$once" || true; exit 143' TERM
leasehold once "${LOCK:-schema}" --key-file migrations/ --wait 230s -- cloud-run-migrations migrate &
once=$!
wait "$once"
trap - TERM

exec cloud-run-migrations serve
