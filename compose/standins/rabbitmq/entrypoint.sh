#!/bin/sh
# The server runs as its own user, whatever the container was started as.
set -e
[ "$(id -u)" = 0 ] || exec "$@"
chown -R rabbitmq: /var/lib/rabbitmq
exec setpriv --reuid rabbitmq --regid rabbitmq --init-groups "$@"
