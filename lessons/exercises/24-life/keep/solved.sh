# A small supervisor: sh keep.sh SECONDS.
setsid --wait sleep "$1" < /dev/null > log 2>&1
echo "status $?" > state
