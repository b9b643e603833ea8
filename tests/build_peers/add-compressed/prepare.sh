#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
tar --numeric-owner -cJf a.tar.xz x
tar --numeric-owner -cjf a.tar.bz2 x
echo text | xz >text.xz
echo BZh >name.bz2
rm -r x
