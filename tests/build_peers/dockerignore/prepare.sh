#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
chmod 700 vendor
chmod 711 vendor/keep
chmod 750 docs
