#!/usr/bin/env bash
# Makes this machine ready: system packages (with root), the virtual environment, the project in it.
# Safe to run again; does nothing when nothing is missing. Without root it names what is missing and goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
STAMP=$VENV/.set-up-for
# What the engines need beyond Python: ip and tc; the tools that build the virtual-time kernel; what runs containers in it;
# its sources. No container engine: installing one starts it, and it changes the host's network; only where the tests are
# to have one (they start their own, which doesn't).
NEEDED="iproute2 iputils-ping util-linux gcc make patch flex bison bc libelf-dev libssl-dev xz-utils crun"
case ",${OAE_REQUIRE:-}," in *,engine,* | *,all,*) NEEDED="$NEEDED docker.io" ;; esac
case ",${OAE_REQUIRE:-}," in *,sshd,* | *,all,*) NEEDED="$NEEDED openssh-server openssh-client" ;; esac
case ",${OAE_REQUIRE:-}," in *,tshark,* | *,all,*) NEEDED="$NEEDED tshark" ;; esac
SOURCES="linux-source-6.12"

say() { printf 'setup: %s\n' "$*" >&2; }

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing_packages() {
    local package
    for package in $NEEDED python3-venv; do
        if [ "$package" = python3-venv ] && "$PYTHON" -c 'import ensurepip' 2>/dev/null; then continue; fi
        installed "$package" || printf '%s ' "$package"
    done
    for package in $SOURCES; do if installed "$package"; then return; fi; done
    for package in $SOURCES; do
        if apt-cache show "$package" >/dev/null 2>&1; then printf '%s ' "$package"; return; fi
    done
    printf '%s ' linux-source
}

system_packages() {
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian or Ubuntu system: install the equivalents of: $NEEDED, and a Linux 6.1 or 6.12 source tarball"
        return
    fi
    local missing
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "not root, so these system packages stay missing (the sim engine runs without them):"
        say "    apt-get install $missing"
        return
    fi
    say "installing: $missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || say "apt-get update failed; going on with the package lists at hand"
    missing=$(missing_packages)
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        say "some of these could not be installed: $missing (testbed doctor says what that means)"
}

install() {
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check "$@" -e '.[dev,bench]'
}

virtual_environment() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        say "Python 3.11 or newer is needed; $PYTHON: $("$PYTHON" -V 2>/dev/null || echo not found)." \
            "Name another with: make setup PYTHON=..."
        exit 2
    }
    local want here clear=
    here=$(pwd -P)
    want=$(cat pyproject.toml requirements.lock testbed/setup.sh | sha256sum | cut -d' ' -f1)
    if [ -x "$VENV/bin/testbed" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$want $here" ]; then return; fi
    # The scripts in an environment name its place: in a clone that was moved or copied they would run the code over there.
    if [ -f "$STAMP" ] && [ "$(cut -d' ' -f2- "$STAMP")" != "$here" ]; then clear=--clear; fi
    say "making the virtual environment in $VENV (once)"
    "$PYTHON" -m venv $clear "$VENV"
    if ! install -c requirements.lock; then
        say "the versions in requirements.lock can't be had for $("$VENV/bin/python" -V) here (pip's reasons stand above);" \
            "taking the newest that pyproject.toml allows"
        install
    fi
    printf '%s' "$want $here" >"$STAMP"
    compile_in_background
}

# Here, and not when something is first run: whoever sets up expects work, and whoever runs something does not expect a
# process that outlives it. Once for an environment, so that developers don't pay for each change. It yields to all
# else, nothing waits for it, and what is half done when it is killed is never used.
compile_in_background() {
    if [ "${OAE_COMPILED:-}" = 0 ] || ! command -v gcc >/dev/null; then return; fi
    say "compiling the simulator in the background (40 s of CPU time; what is run until then runs as plain Python)"
    setsid nice -n 19 "$VENV/bin/python" -m testbed.compiled </dev/null >/dev/null 2>&1 &
}

# What pip would take today, without any lock, in an environment that is thrown away.
write_lock() {
    scratch=$(mktemp -d) # not local: the trap outlives the function
    trap 'rm -rf "$scratch"' EXIT
    "$PYTHON" -m venv "$scratch/venv"
    VENV=$scratch/venv install
    {
        echo "# Exact versions of all that \`make setup\` installs. Written by \`make lock\`; what is wanted stands in pyproject.toml."
        "$scratch/venv/bin/python" -m pip freeze --disable-pip-version-check --exclude-editable | LC_ALL=C sort -f
    } >"$scratch/lock"
    mv "$scratch/lock" requirements.lock
    say "requirements.lock names $(grep -c == requirements.lock) packages"
}

if [ "${1:-}" = lock ]; then
    write_lock
    exit
fi
system_packages
virtual_environment
