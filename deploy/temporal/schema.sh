#!/bin/sh
# Brings Temporal's two databases to this version's schema; harmless when repeated.
set -eu

tool() {
  database=$1
  shift
  temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p "$DB_PORT" -u "$POSTGRES_USER" \
    --db "$database" "$@"
}

# A database without a version yet is set up first; one that has a version is never set back.
update() {
  tool "$1" update-schema -d "$2" && return
  tool "$1" setup-schema -v 0.0
  tool "$1" update-schema -d "$2"
}

versions=/etc/temporal/schema/postgresql/v12
update temporal $versions/temporal/versioned
update temporal_visibility $versions/visibility/versioned
