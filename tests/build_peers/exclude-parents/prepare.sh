# git has no empty directories.
mkdir -p tree/sub/b
