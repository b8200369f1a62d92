#!/bin/sh
# How long each of the analysts' questions takes, over a range of days: DATABASE_URL=... bench/questions.sh FROM TO
# A database to ask is made by: etl generate --into-database 30000000 --days 60
set -eu
folder=$(CDPATH='' cd -- "$(dirname -- "$0")/../sql" && pwd)
for question in "$folder"/queries/*.sql; do
    took=$(psql "$DATABASE_URL" -X -q -o /dev/null -v ON_ERROR_STOP=1 -v from="$1" -v to="$2" \
        -f "$folder/parameters.sql" -c '\timing on' -f "$question" | grep '^Time') || took=failed
    printf '%-42s %s\n' "$(basename "$question" .sql)" "$took"
done
