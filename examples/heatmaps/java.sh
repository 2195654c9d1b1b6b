#!/bin/sh
# Records the heap of a Java program, as for the picture in docs/heatmaps.md.
# Needs: apt-get install default-jdk-headless
# Usage: java.sh BACKEND FILE.parquet
set -eu
folder=$(mktemp -d)
javac -d "$folder" "$(dirname "$0")/Shop.java"
mkfifo "$folder/start"
java -cp "$folder" -XX:+UseSerialGC -Xms640m -Xmx640m -Xmn160m -XX:-UsePerfData Shop \
	<"$folder/start" >"$folder/out" &
program=$!
exec 3>"$folder/start"
until grep -q ready "$folder/out"; do sleep 0.2; done
rm -f "$2"
damon record --pid $program --backend "$1" --sampling 20ms --aggregation 500ms \
	--cpu-budget 20% --max-slowdown 5% --max-stall 500ms -o "$2" &
record=$!
until [ -e "$2" ] || ! kill -0 $record; do sleep 0.1; done
sleep 2
echo go >&3
wait
rm -r "$folder"
