#!/bin/sh
# The record of docs/reports.md with kinds of memory: PostgreSQL, whose rows are read at random for
# 15 s, of which large sorts are asked for 15 s, and whose rows are written for 15 s. As root:
#
#   kinds.sh postgresql.parquet
set -eu
record=$1
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/postgres | tail -n 1)")
folder=$(mktemp -d)
chown postgres "$folder"

# Runs a command as postgres.
as() {
    setpriv --reuid postgres --regid postgres --clear-groups \
        env -i PATH="$bin:/usr/bin:/bin" HOME="$folder" PGHOST="$folder" PGUSER=postgres "$@"
}

as initdb -D "$folder/data" -A trust >"$folder/initdb"
cat >>"$folder/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$folder'
shared_buffers = 96MB
work_mem = 64MB
max_parallel_workers_per_gather = 0
autovacuum = off
END
# With malloc that asks for huge pages.
as GLIBC_TUNABLES=glibc.malloc.hugetlb=1 postgres -D "$folder/data" >"$folder/log" 2>&1 &
trap 'kill -INT "$(head -n 1 "$folder/data/postmaster.pid")"; wait; rm -r "$folder"' EXIT
until as pg_isready -q; do sleep 0.2; done
as createdb bench
as pgbench -q -i -s 12 bench 2>"$folder/pgbench"

damon record --kinds --descendants --pid "$(head -n 1 "$folder/data/postmaster.pid")" \
    --backend referenced --max-regions 10000 --cpu-budget 25% --aggregation 1s --for 60s -o "$record" &
damon=$!
until [ -e "$record" ]; do kill -0 "$damon"; sleep 0.2; done
sleep 4
as pgbench -n -S -c 4 -T 15 bench >"$folder/pgbench"
cat >"$folder/sort.sql" <<END
select count(*) from (
    select * from pgbench_accounts where aid < 400000 order by filler, bid, aid desc offset 0) t;
END
as pgbench -n -f "$folder/sort.sql" -c 2 -T 15 bench >"$folder/pgbench"
as pgbench -n -N -c 4 -T 15 bench >"$folder/pgbench"
wait "$damon"
