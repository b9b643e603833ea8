# Makes the three images in a store of its own, and prints the number of its blobs.
export SANDBOX_HOME=$PWD/store
sandbox image from-host one "$1" > /dev/null
for number in $(seq "$3"); do sandbox tag one "name-$number"; done
sandbox image from-host two "$1" > /dev/null
sandbox image from-host three "$1" "$2" > /dev/null
ls store/images/blobs/sha256 | wc -l
