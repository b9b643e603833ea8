#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
mkdir -p dir2/empty
