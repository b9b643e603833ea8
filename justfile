# An index of this project's commands: `just` lists them. The commands themselves are in scripts/, and work without
# just.

# List the commands
default:
    @just --list

# Install what building and testing need (root), or print what is missing
setup:
    scripts/setup

# Check formatting and lints, run all tests; as root, run the integration tests once more as an ordinary user
test:
    scripts/test

# Run a command as root in a VM that has only cgroup v2: just vm cat /sys/fs/cgroup/cgroup.controllers
vm *ARGS:
    scripts/vm {{ARGS}}

# Build one static binary to copy to other machines: dist/sandbox
release:
    scripts/release

# Compare with unshare(1), crun, runc, bwrap and minimal C programs: just bench --check 200
bench *ARGS:
    scripts/bench {{ARGS}}

# Make each system call of a start fail in turn, or kill starts at many moments: just faults --kill 1000
faults *ARGS:
    scripts/faults {{ARGS}}

# Make docs/*.svg again from real output
pictures:
    scripts/pictures
