#!/bin/sh
# with-postgres-password COMMAND...: runs COMMAND with a password file for libpq, the client library of PostgreSQL.
#
# The password is read from the secret mounted at POSTGRES_PASSWORD_FILE and stands in no command line, environment or
# URL. libpq refuses a file that others may read, and a mounted secret mostly is one, so a private copy is made.
set -eu
password=$(sed 's/[\\:]/\\&/g' "${POSTGRES_PASSWORD_FILE:-/run/secrets/postgres_password}")
PGPASSFILE=$(mktemp)
printf '*:*:*:*:%s\n' "$password" > "$PGPASSFILE"
export PGPASSFILE
exec "$@"
