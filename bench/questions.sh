#!/bin/sh
# Times each of the analysts' queries over a range of days:
#   DATABASE_URL=... bench/questions.sh FROM TO
# etl generate --into-database 30000000 --days 60 fills a database.
set -eu
folder=$(CDPATH='' cd -- "$(dirname -- "$0")/../sql" && pwd)
for question in "$folder"/queries/*.sql; do
    took=$(psql "$DATABASE_URL" -X -q -o /dev/null -v ON_ERROR_STOP=1 -v from="$1" -v to="$2" \
        -f "$folder/parameters.sql" -c '\timing on' -f "$question" | grep '^Time') || took=failed
    printf '%-42s %s\n' "$(basename "$question" .sql)" "$took"
done
