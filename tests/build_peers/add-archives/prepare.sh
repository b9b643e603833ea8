#!/bin/bash
# Makes the files that a checkout cannot have.
set -eu
mkdir -p x/bin x/etc x/var
echo p > x/bin/program
chmod 4755 x/bin/program
ln -f x/bin/program x/etc/hard
ln -sfn ../bin/program x/etc/soft
ln -sfn /etc x/absolute
mkfifo x/var/fifo 2> /dev/null || true
chmod 1777 x/var
chown -R 21:22 x/etc
tar -C x --numeric-owner -cf plain.tar .
tar -C x --numeric-owner -czf packed.tar.gz bin etc
tar -C x --numeric-owner --zstd -cf zst.tar.zst bin
echo text > notatar.tar
echo text | gzip -n > file.gz
rm -r x
