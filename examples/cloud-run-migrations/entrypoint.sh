#!/bin/sh
# The service with leasehold as a program: it knows nothing of locks, and could be in any language.
set -e
leasehold once "${LOCK:-schema}" --key-file migrations/ --wait 230s -- cloud-run-migrations migrate
exec cloud-run-migrations serve
