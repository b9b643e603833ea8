# Makes the containers in a store of its own, and prints the number of upper directories and of unpacked layers.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sh > /dev/null
printf 'rootfs: lab\npid:\nuser: {map: root}\n' > box.yaml
for number in $(seq "$1"); do sandbox run --keep --name "box-$number" box.yaml -- sh -c 'echo > /file'; done
for number in $(seq "$2"); do sandbox rm "box-$number" > /dev/null; done
echo $(ls -d store/containers/*/upper | wc -l) $(find store/layers -name files | wc -l)
sandbox rm $(sandbox ps -aq) > /dev/null
