# shellcheck shell=bash
# The script that most how-tos end with: a pipe into the final name, then the newest seven by time of change stay.
# Two common mistakes are left out for fairness: the list is of its own names only, and xargs does nothing for nothing.
pg_dumpall | gzip >"${BACKUP_DIR:?}/postgres-backup-$(date +%Y-%m-%d-%H%M%S).sql.gz"
# shellcheck disable=SC2012 # that it goes by what ls says is the point
ls -t "$BACKUP_DIR"/postgres-backup-*.sql.gz | tail -n +8 | xargs -r rm --
