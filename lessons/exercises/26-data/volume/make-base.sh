# Makes a directory with a root filesystem. Its programs are those of the host's /usr.
mkdir -p base/usr
ln -sf usr/bin usr/lib usr/lib64 base
