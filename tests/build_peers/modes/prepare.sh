#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
chmod 700 tree/sub tree/sub/script
chmod 600 tree/file
