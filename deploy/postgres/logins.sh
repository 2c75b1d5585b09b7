#!/bin/sh
# Runs once, when the database of docker compose is made: the roles that rights are given to, and a login for each
# process, with the password of its secret and no more than one of those roles. The database belongs to `owner`, who
# migrates and loads and is no superuser; the superuser `postgres` is used here and by nobody else.
set -eu

secrets=${SECRETS:-/run/secrets}

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set database="$POSTGRES_DB" \
    --set owner="$(cat "$secrets/owner")" --set relay="$(cat "$secrets/relay")" \
    --set projector="$(cat "$secrets/projector")" --set console="$(cat "$secrets/console")" \
    --set nightly="$(cat "$secrets/nightly")" <<'SQL'
CREATE ROLE tollgate_app NOLOGIN;
CREATE ROLE tollgate_projector NOLOGIN;
CREATE ROLE tollgate_relay NOLOGIN;
CREATE ROLE tollgate_readonly NOLOGIN;

CREATE ROLE owner LOGIN PASSWORD :'owner';
CREATE ROLE relay LOGIN PASSWORD :'relay' IN ROLE tollgate_relay;
CREATE ROLE projector LOGIN PASSWORD :'projector' IN ROLE tollgate_projector;
CREATE ROLE console LOGIN PASSWORD :'console' IN ROLE tollgate_app;
CREATE ROLE nightly LOGIN PASSWORD :'nightly' IN ROLE tollgate_app;

ALTER DATABASE :"database" OWNER TO owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO owner, relay, projector, console, nightly, tollgate_readonly;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SQL
