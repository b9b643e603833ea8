# An index of this project's commands: `just` lists them. What each does lies in scripts/, which needs no just.

# List the commands
default:
    @just --list

# Install what building and testing need (root), or say what is missing
setup:
    scripts/setup

# Formatting, lints, all tests; as root the integration tests once more as an ordinary user
test:
    scripts/test

# A command as root where cgroup v2 is all there is: just vm cat /sys/fs/cgroup/cgroup.controllers
vm *ARGS:
    scripts/vm {{ARGS}}

# One static binary to hand out: dist/sandbox
release:
    scripts/release

# Against unshare(1), crun, runc, bwrap and minimal C programs: just bench --check 200
bench *ARGS:
    scripts/bench {{ARGS}}

# Each system call of a start fails in turn, or starts are killed at many moments: just faults --kill 1000
faults *ARGS:
    scripts/faults {{ARGS}}

# Make docs/*.svg anew from real output
pictures:
    scripts/pictures
