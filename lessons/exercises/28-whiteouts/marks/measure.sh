# Commits two containers in a store of its own, and prints the number of entries of the last layer.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sh rm > /dev/null
printf 'rootfs: lab\npid:\nuser: {map: root}\n' > box.yaml
sandbox run --keep --name one box.yaml -- sh -c "for n in $(seq -s ' ' "$1"); do echo > /\$n; done"
sandbox commit one two > /dev/null
sed -i s/lab/two/ box.yaml
sandbox run --keep --name two box.yaml -- sh -c "rm $(seq -s ' ' -f '/%g' "$2"); echo > /more"
sandbox commit two three > /dev/null
layer=$(sandbox image tree three | grep '^blob ' | tail -1 | grep -o '[0-9a-f]\{64\}')
tar tf store/images/blobs/sha256/$layer | wc -l
sandbox rm one two > /dev/null
