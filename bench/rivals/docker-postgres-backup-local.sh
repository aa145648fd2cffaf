# shellcheck shell=bash
# What the image prodrigestivill/postgres-backup-local does with its defaults, in our words, without its hooks:
# https://github.com/prodrigestivill/docker-postgres-backup-local/blob/d257e5ddb751c7592f8b3b5ee376c3cf7caf5e49/backup.sh
# One file for each named database in last/, hard links to it for the day, the week and the month, and four searches that
# remove by age: 1440 minutes, 7 days, 4 weeks, 6 months. Roles are not dumped. Its cron has no deadline.
set -Eeo pipefail
folder=${BACKUP_DIR:?}
suffix=.sql.gz
mkdir -p "$folder/last" "$folder/daily" "$folder/weekly" "$folder/monthly"

# shellcheck disable=SC2086 # the list is split at blanks and commas, as there
for database in ${POSTGRES_DB//,/ }; do
  last=$database-$(date +%Y%m%d-%H%M%S)$suffix
  day=$database-$(date +%Y%m%d)$suffix
  week=$database-$(date +%G%V)$suffix
  month=$database-$(date +%Y%m)$suffix
  pg_dump -d "$database" -f "$folder/last/$last" -Z1
  ln -f "$folder/last/$last" "$folder/daily/$day"
  ln -f "$folder/last/$last" "$folder/weekly/$week"
  ln -f "$folder/last/$last" "$folder/monthly/$month"
  ln -sf "$last" "$folder/last/$database-latest$suffix"
  ln -sf "$day" "$folder/daily/$database-latest$suffix"
  ln -sf "$week" "$folder/weekly/$database-latest$suffix"
  ln -sf "$month" "$folder/monthly/$database-latest$suffix"
  find "$folder/last" -maxdepth 1 -mmin +1440 -name "$database-*$suffix" -exec rm -rf '{}' ';'
  find "$folder/daily" -maxdepth 1 -mtime +7 -name "$database-*$suffix" -exec rm -rf '{}' ';'
  find "$folder/weekly" -maxdepth 1 -mtime +29 -name "$database-*$suffix" -exec rm -rf '{}' ';'
  find "$folder/monthly" -maxdepth 1 -mtime +187 -name "$database-*$suffix" -exec rm -rf '{}' ';'
done
