#!/bin/sh
# Puts a release into a directory, from wherever it is called: a laptop, a build server, two of them at once.
#
#     DEPLOY_DIR=/srv/shop leasehold run deploy -- ./deploy.sh RELEASE SOURCE
#
# Copies the directory SOURCE to $DEPLOY_DIR/releases/TOKEN, TOKEN being the lock's fencing token. The release
# with the highest token is live. DEPLOY_CHECK, if it is set, is a command that is called with the new
# release's directory before it goes live; if it fails, nothing has changed.
#
# The lock keeps two deployments apart. The token is for the case that no lock can exclude: this script stands
# still half-way (a laptop's lid, a paused machine), loses its lock, and goes on when another has deployed.
# What it then writes has the lower token: it is refused here, and could not become live if it were not.
set -eu

die() {
    echo "deploy: $*" >&2
    exit 1
}

# newest: the token of the live release, 0 if there is none. All have 16 digits, so their order by name is
# their order by number.
newest() {
    newest_token=0000000000000000
    for newest_path in "$DEPLOY_DIR"/releases/[0-9]*; do
        if [ -d "$newest_path" ]; then
            newest_token=${newest_path##*/}
        fi
    done
    echo "$newest_token"
}

# refuse_if_late: ends the script if somebody with a higher token has deployed, or we have already.
refuse_if_late() {
    live=$(newest)
    if [ "$live" -gt "$token" ]; then
        die "refused: token $live is live, ours is $token. Somebody deployed after us"
    fi
    if [ -e "$DEPLOY_DIR/releases/$token" ]; then
        die "refused: token $token has deployed. Take the lock again for another release"
    fi
}

[ $# -eq 2 ] || die "usage: leasehold run deploy -- ./deploy.sh RELEASE SOURCE"
release=$1
source=$2
[ -d "$source" ] || die "$source is not a directory"
[ -n "${DEPLOY_DIR:-}" ] || die "DEPLOY_DIR is not set: the directory to deploy to"
case ${LEASEHOLD_TOKEN:-} in
    '' | 0* | *[!0-9]*) die "no lock: call me as leasehold run deploy -- ./deploy.sh $release $source" ;;
esac
token=$(printf '%016d' "$LEASEHOLD_TOKEN")

mkdir -p "$DEPLOY_DIR/releases"
refuse_if_late

# Made under a name that is not live, and taken away again if this ends early.
staged=$DEPLOY_DIR/releases/.new-$token
trap 'rm -rf "$staged"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf "$staged"
mkdir "$staged"
cp -R "$source/." "$staged"
printf 'release %s\ntoken %s\nby %s@%s\n' "$release" "$token" "$(id -un)" "$(uname -n)" \
    >"$staged/RELEASE"

if [ -n "${DEPLOY_CHECK:-}" ]; then
    $DEPLOY_CHECK "$staged" || die "$DEPLOY_CHECK failed: release $release is not deployed"
fi

refuse_if_late
# One rename makes it live. Whoever is late all the same only adds a release that is not the newest.
mv "$staged" "$DEPLOY_DIR/releases/$token"
echo "deploy: release $release is live, token $token"
