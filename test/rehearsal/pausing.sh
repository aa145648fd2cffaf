#!/bin/bash
# Stands in for psql and sha256sum of a restore: stops at the moment that PAUSE names, so that a test can do something to it
# right then, and then end the pause. The test knows the moment by the running `sleep`, whose odd seconds nobody else asks
# for. bash acts on a signal only after a command that it waits for in the foreground: there the pause is short, as the query is.

real=$(echo /usr/lib/postgresql/*/bin/psql)
[ "${0##*/}" = psql ] || real=/usr/bin/sha256sum
long=60.25
short=2.25

# Before the COMMIT, by psql itself, which then has an open transaction.
inside_swap() {
  sed "s|^COMMIT;\$|\\\\! sleep $long\\nCOMMIT;|" "${*: -1}" >/tmp/paused.sql
  exec "$real" "${@:1:$#-1}" /tmp/paused.sql
}

case "$PAUSE ${0##*/} $*" in
  'while it reads the dump sha256sum '*) sleep $long ;;
  'during the preflight psql '*pg_prepared_xacts*) sleep $short ;;
  'before it creates roles psql '*roles.new.sql) sleep $short ;;
  'before it loads psql '*' -o /dev/null') sleep $long ;;
  # The comparison's query comes as input; its encoding tells it.
  'while it counts rows psql '*) [ "$PGCLIENTENCODING" != SQL_ASCII ] || sleep $long ;;
  'while it analyzes psql '*'-c ANALYZE') sleep $long ;;
  'right before the swap psql '*swap.sql) sleep $long ;;
  'inside the swap psql '*swap.sql) inside_swap "$@" ;;
  'right after the swap psql '*swap.sql)
    "$real" "$@" || exit
    sleep $long
    exit ;;
  'after the swap, the answer is lost psql '*swap.sql)
    "$real" "$@" || exit
    sleep $long
    exit 2 ;;
esac
exec "$real" "$@"
