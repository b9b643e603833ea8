# Starts a container several times, removes it, makes it again, and starts that several times. Its files have a line for
# each start. Prints how many lines they have at the end.
# Usage: bash measure.sh FIRST SECOND
mkdir -p base/usr data; ln -sf usr/bin usr/lib usr/lib64 base
cat > box.yaml << END
rootfs: {layers: [./base]}
mnt: {bind: [{source: /usr, target: /usr}, {source: ./data, target: /data}]}
pid:
user: {map: root}
END
for times in $1 $2; do
    sandbox rm twice > /dev/null 2>&1
    sandbox create --name twice box.yaml -- sh -c '
        echo x >> /count; echo x >> /data/count; echo $(cat /count | wc -l) $(cat /data/count | wc -l)' > /dev/null
    for start in $(seq $times); do last=$(sandbox start -a twice); done
done
echo $last
sandbox rm twice > /dev/null
