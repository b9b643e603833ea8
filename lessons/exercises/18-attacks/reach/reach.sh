# Run inside a container: which of four things outside can be reached?
# Usage: sh reach.sh PID SEGMENT FILE BOOT_ID
kill -0 "$1" 2> /dev/null && echo "1 process: reached"
ipcs -m -i "$2" 2> /dev/null | grep -q bytes=4096 && echo "2 segment: reached"
test -r "$3" && echo "3 file: reached"
grep -qx "$4" /proc/sys/kernel/random/boot_id && echo "4 kernel: reached"
