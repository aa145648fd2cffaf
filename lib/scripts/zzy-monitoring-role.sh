# shellcheck shell=bash
# Among the last of the init scripts, sourced by the image's entrypoint: makes the monitoring role on a new server. A server
# without metrics is better than none, and the mark of a first start that failed would keep this one from ever starting.
PGHOST=/var/run/postgresql PGPORT=${PGPORT:-5432} PGUSER=$POSTGRES_USER PGPASSWORD=$POSTGRES_PASSWORD PGDATABASE=postgres \
  bash /scripts/monitoring-role.sh ||
  echo "$(date -u +%FT%TZ) monitoring: warning: this server has no monitoring role, see above; when the cause is gone, run the Job of \`MonitoringRole\`" >&2
