#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
mkdir -p root/tmp
chmod 1777 root/tmp
chmod 755 bin/app
