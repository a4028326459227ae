#!/usr/bin/env bash
# Gets what demo and tests need from Debian, and checks that Rust is there. Safe to run twice: what is there is left alone.
#
#   setup.sh rust         is there a Rust toolchain, new enough?
#   setup.sh rust demo    and what `make demo` needs
#   setup.sh rust test    and what `make test` needs
#   setup.sh bench        what `make bench` needs besides
#   setup.sh rust fuzz    and what `make fuzz` needs
#
# The compiler's library for WebAssembly is got by `upkeep plugin build --install`, which knows three ways.
set -euo pipefail
root=$(dirname "$0")/..

# program:package
build=(cc:gcc ld:binutils)
demo=("${build[@]}" sqlite3:sqlite3 restic:restic python3:python3)
test=("${build[@]}" /usr/sbin/logrotate:logrotate sqlite3:sqlite3 restic:restic strace:strace python3:python3 systemd-analyze:systemd git:git
    /usr/sbin/sshd:openssh-server ssh:openssh-client rclone:rclone curl:curl memcached:memcached
    swift-proxy-server:swift-proxy swift-account-server:swift-account swift-container-server:swift-container
    swift-object-server:swift-object
    pg_dump:postgresql pg_ctlcluster:postgresql mariadbd:mariadb-server mariadb-dump:mariadb-client redis-server:redis-server
    redis-cli:redis-tools setfattr:attr setfacl:acl openssl:openssl
    /lib/systemd/systemd-journal-remote:systemd-journal-remote /usr/sbin/nginx:nginx-light /usr/sbin/exim4:exim4-daemon-light)
# libFuzzer is in C++.
fuzz=(c++:g++)
bench=(/usr/sbin/nginx:nginx-light apprise:apprise rg:ripgrep goaccess:goaccess mawk:mawk zstd:zstd restic:restic borg:borgbackup python3:python3 sqlite3:sqlite3 tmpreaper:tmpreaper mkfs.ext4:e2fsprogs)

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

rust() {
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    # On a machine where rustup was just installed the shell may not know of it yet.
    if ! command -v cargo >/dev/null; then
        [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]] && fail "cargo is installed but not in PATH: run" \
            "  . \"${CARGO_HOME:-$HOME/.cargo}/env\""
        fail "Rust $needed or newer is needed, and there is no cargo. Install it from https://rustup.rs, then run this again."
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if [[ $(printf '%s\n' "$needed" "$found" | sort --version-sort | head -n 1) != "$needed" ]]; then
        fail "Rust $needed or newer is needed, this is $found ($(command -v rustc)). Run \`rustup update stable\`, then this again."
    fi
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 || missing_components+=" ${component/fmt/rustfmt}"
    done
}

debian() {
    local entry missing=()
    for entry in "$@"; do
        command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
    done
    [[ ${#missing[@]} -eq 0 ]] && return
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        fail "these are missing: ${missing[*]}. Install them as root, then run this again:" "  apt-get install ${missing[*]}"
    fi
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet --quiet || echo "setup: apt-get update failed; trying with the lists that are there" >&2
    # Packages such as mail servers exclude each other: none of what is there goes for them.
    apt-get install --quiet --quiet --yes --no-install-recommends --no-remove "${missing[@]}" </dev/null
}

missing_components=
for part in "$@"; do
    case $part in
    rust) rust ;;
    demo) debian "${demo[@]}" ;;
    bench) debian "${bench[@]}" ;;
    fuzz)
        command -v cargo-fuzz >/dev/null || fail "cargo-fuzz is not installed: run \`cargo install cargo-fuzz --locked\`, then this again."
        debian "${fuzz[@]}"
        ;;
    test)
        debian "${test[@]}"
        [[ -z $missing_components ]] || fail "cargo lacks$missing_components: run \`rustup component add$missing_components\`."
        ;;
    *) fail "unknown part: $part (rust, demo, test, bench, fuzz)" ;;
    esac
done
