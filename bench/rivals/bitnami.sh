# shellcheck shell=bash
# The command of Bitnami's chart `postgresql` 17.1.0, which is the whole of its backup:
# https://github.com/bitnami/charts/blob/5165628ae06697f8f68a670bef7739d93c4b7f44/bitnami/postgresql/values.yaml
# (backup.cronjob.command). PGPASSWORD is set by its CronJob; the chart has no retention and its Job no deadline.
pg_dumpall --clean --if-exists --load-via-partition-root --quote-all-identifiers --no-password \
  --file="${PGDUMP_DIR:?}/pg_dumpall-$(date '+%Y-%m-%d-%H-%M').pgdump"
