# Locks for POSIX shell scripts. Source it:
#
#     . /usr/share/leasehold/leasehold.sh
#
#     lock deploy -w 5m || exit       # the options are those of `leasehold acquire`
#     ./deploy.sh
#     unlock deploy
#
# A script may hold several locks at once, each by its name. A lock is released by `unlock` or when
# the script ends, however it ends; one that was taken in a subshell, `( ... )`, when that ends. If a
# lock is lost meanwhile, the script gets SIGTERM.
# Both functions return a status, that of `leasehold acquire` and `leasehold release`, and never exit.

# lock NAME [OPTION...]: take a lock. Sets LEASEHOLD_NAME, LEASEHOLD_TOKEN and so on.
lock() {
    # Not `eval "$(...)"`: that succeeds, without a lock, where leasehold is killed or not installed.
    leasehold_code=$(leasehold acquire "$@") && eval "${leasehold_code:-false}"
}

# unlock NAME: release a lock that this script took.
unlock() {
    leasehold release --pid "$$" "$@"
}
