#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
echo linked > tree/one
ln -f tree/one tree/two
ln -f tree/one tree/sub/three
ln -sfn one tree/soft
truncate -s 20M tree/big.img
printf end >> tree/big.img
touch -d @1000000000 tree/sub/s
