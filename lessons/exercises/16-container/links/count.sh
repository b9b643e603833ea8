# Counts the namespaces of a container that are not those of this shell.
# Usage: bash count.sh KEY
kinds="cgroup ipc mnt net pid time user uts"
cat > count.yaml << END
$1:
ipc:
command: [sh, -c, "for k in $kinds; do readlink /proc/self/ns/\$k; done"]
END
for kind in $kinds; do readlink "/proc/self/ns/$kind"; done | sort > outside
sandbox run -q count.yaml | sort | comm -13 outside - | wc -l
