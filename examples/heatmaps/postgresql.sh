#!/bin/sh
# Records a PostgreSQL backend process under pgbench, as for the picture in docs/heatmaps.md, as root.
# Needs: apt-get install postgresql
# Usage: postgresql.sh BACKEND FILE.parquet
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
folder=$(mktemp -d)
chown postgres "$folder"
as_postgres() { su postgres -c "cd '$folder' && $*"; }
query() { "$bin/psql" -h 127.0.0.1 -p 55432 -U postgres bench -qAtc "$1"; }
phase() { query "update phase set scan = $1, low = $2, high = $3"; }

as_postgres "$bin/initdb -D data -A trust" >/dev/null
cat >>"$folder/data/postgresql.conf" <<C
listen_addresses = '127.0.0.1'
port = 55432
unix_socket_directories = '$folder'
shared_buffers = 1GB
huge_pages = off
fsync = off
autovacuum = off
C
as_postgres "$bin/pg_ctl -D data -l log -w start" >/dev/null
trap 'as_postgres "$bin/pg_ctl -D data -w stop" >/dev/null; rm -r "$folder"' EXIT
"$bin/createdb" -h 127.0.0.1 -p 55432 -U postgres bench
"$bin/pgbench" -h 127.0.0.1 -p 55432 -U postgres -i -s 50 -q bench
query "create extension pg_prewarm"
as_postgres "$bin/pg_ctl -D data -l log -w restart" >/dev/null
query "select pg_prewarm('pgbench_accounts'), pg_prewarm('pgbench_accounts_pkey')"
query "create table phase as select 1 as scan, 1 as low, 1 as high"
cat >"$folder/script.sql" <<'S'
select scan, low, high from phase \gset
\if :scan = 1
select sum(abalance) from pgbench_accounts;
\else
\set aid random(:low, :high)
select abalance from pgbench_accounts where aid = :aid;
\endif
S
"$bin/pgbench" -h 127.0.0.1 -p 55432 -U postgres -n -c 1 -M prepared -T 100 \
	-f "$folder/script.sql" bench &
bench=$!
sleep 6
pid=$(query "select pid from pg_stat_activity
	where application_name = 'pgbench' and backend_type = 'client backend'")
rm -f "$2"
damon record --pid "$pid" --backend "$1" --sampling 100ms --aggregation 1s --cpu-budget 20% \
	--max-slowdown 5% --max-stall 500ms --for 72s -o "$2" &
record=$!
until [ -e "$2" ] || ! kill -0 $record; do sleep 0.1; done
sleep 8
phase 0 1 250000
sleep 14
phase 0 2500000 2750000
sleep 14
phase 0 4000000 4100000
sleep 12
phase 0 1 5000000
sleep 12
phase 1 1 1
wait $record $bench
