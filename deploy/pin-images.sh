#!/bin/sh
# Prints each image that docker-compose.yml and the Dockerfile name, by the digest it has now, as lines for
# .env. Run it where the registries can be reached; then start with those, and again to take newer ones.
set -eu
cd "$(dirname "$0")/.."
sed -n 's/.*\${\([A-Z_]*_IMAGE\):-\([^}]*\)}.*/\1 \2/p' docker-compose.yml | sort -u |
while read -r name image; do
    docker pull --quiet "$image" > /dev/null
    echo "$name=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image")"
done
