# Makes a root filesystem, and an empty directory for its changes.
mkdir -p lower/usr lower/changes changes
ln -sf usr/bin usr/lib usr/lib64 lower
