#!/bin/sh
# Makes the passwords that docker-compose.yml asks for, one in a file, as far as they are not there yet:
#
#   deploy/secrets.sh [FOLDER]        # deploy/secrets by default
#
# The folder is for its owner alone. The files can be read by all, since compose shows them to the containers as they
# are, and the users in there are others. A password that the database knows already is not changed by deleting its file.
set -eu

folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
for name in postgres owner relay projector console nightly grafana; do
    file=$folder/$name
    if [ ! -s "$file" ]; then
        password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
        printf '%s\n' "$password" >"$file.new"
        chmod 444 "$file.new"
        mv "$file.new" "$file"
        echo "made $file"
    fi
done
