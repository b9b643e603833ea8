#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
chmod 600 tree/t
chmod 2775 tree/sub
chmod 4755 tree/sub/s
chown 77:88 tree/t tree/sub
