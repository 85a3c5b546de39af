# shellcheck shell=bash
# Sourced by ./run and ./test: installs the Debian packages that they need and that are missing.
#
#   packages_require PROGRAM PACKAGE...    PROGRAM is who speaks
#
# As root, or through sudo. Only what is missing is fetched, so that a second run asks dpkg and nothing
# else. Servers among the packages are wanted as programs, not as services: none is started, neither
# now nor when this machine boots the next time. On systems other than Debian it only says what is
# wanted; there the build tells what it does not find.

packages_services=(redis-server memcached)

packages_say() { printf '%s: %s\n' "$packages_program" "$*" >&2; }

packages_as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# Whether this user may install: sudo that asks for a password needs a terminal to ask at.
packages_can_install() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

# packages_missing PACKAGE...: those that are not installed, one per line.
packages_missing() {
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
        awk -v wanted="$*" '
            $1 == "installed" { installed[$2] = 1 }
            END { count = split(wanted, names, " ")
                  for (i = 1; i <= count; i++) if (!(names[i] in installed)) print names[i] }'
}

packages_apt_get() {
    packages_as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

# A server is not started with the next boot. (This is what "systemctl disable" comes to, and it also
# works where systemd is not running.)
packages_disable_service() {
    packages_as_root deb-systemd-helper disable "$1.service" || true
    packages_as_root update-rc.d "$1" disable || true
}

# packages_install PACKAGE...: in a subshell, so that its traps are its own.
packages_install() (
    packages_as_root true || exit 1 # a password that is not given is asked for once
    policy=/usr/sbin/policy-rc.d made_policy="" log=$(mktemp)
    clean_up() {
        rm -f "$log"
        [ -z "$made_policy" ] || packages_as_root rm -f "$policy"
    }
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    if [ ! -e "$policy" ]; then
        made_policy=1
        printf '#!/bin/sh\nexit 101\n' | packages_as_root tee "$policy" >/dev/null
        packages_as_root chmod 755 "$policy"
    fi
    # What cannot be updated may still be good enough to install from.
    if ! { packages_apt_get update || true
        packages_apt_get install -y --no-install-recommends "$@"; } </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        packages_say "apt-get could not install them"
        exit 1
    fi
    for service in "${packages_services[@]}"; do
        case " $* " in *" $service "*) packages_disable_service "$service" ;; esac
    done >"$log" 2>&1
)

packages_require() {
    packages_program=$1
    shift
    local missing
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        packages_say "no Debian: going on without a look for $*"
        return 0
    fi
    mapfile -t missing < <(packages_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! packages_can_install; then
        packages_say "missing packages, and neither root nor sudo to install them. As root:"
        packages_say "    apt-get install --no-install-recommends ${missing[*]}"
        return 1
    fi
    packages_say "installing (minutes, the first time): ${missing[*]}"
    packages_install "${missing[@]}"
}
