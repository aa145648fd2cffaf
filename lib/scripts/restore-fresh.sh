# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # what the parts of a restore know, they know through variables
# INTO=fresh: each database of the dump goes beside the live one, as <database>_restored_<time>. What differs from a restore
# that swaps. Sourced by logical-restore.sh.

# What restores have made or kept is no database of its own: a copy of a copy is of no use.
is_copy() { [[ $1 =~ _(restoring|restored|before_restore)_[0-9]{14}$ ]]; }

# One copy of a database at a time. A forgotten one takes its space on the server and again in every dump; who presses
# the button is the one who can say whether it is still needed.
check_copies() {
  local target begins=() found
  [ "$INTO" = fresh ] && ((${#targets[@]})) || return 0
  for target in "${targets[@]}"; do begins+=("${target%"$stamp"}"); done
  sql_list "${begins[@]}"
  found=$(run_psql -c "SELECT string_agg(format('DROP DATABASE %I;', datname), ' ' ORDER BY datname) FROM pg_database, unnest($sql_list) AS b
    WHERE right(datname, 14) ~ '^[0-9]{14}\$' AND datname = b || right(datname, 14)")
  [ -z "$found" ] ||
    add_problem "there is a copy from an earlier restore; when nobody needs it any more: $found to keep it, rename it (ALTER DATABASE … RENAME TO …)"
}

# add_reserve: raises need. A full volume stops the server, which is worse than no copy: what the load writes into the WAL,
# and a tenth, must be free as well.
add_reserve() {
  local wal
  wal=$(run_psql -c "SELECT least($need, greatest(0, pg_size_bytes(current_setting('max_wal_size'))
    - (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir())))::bigint")
  need=$((need + need / 10 + wal))
}

# ---- roles -------------------------------------------------------------------------------------------------------
# Owners and grantees that the server lacks must exist while the dump is loaded. Stand-ins take their names, and nothing
# else: nobody can log in as one, it is member of nothing, and it is no superuser. They may not keep the names: a later
# restore would take them for the real ones, and leave out the passwords. Nor may what they own go to the superuser, who
# would then be the one that functions of theirs run as.

# stand_in_statements: with the swap they get names of their own, or go if they own nothing; sets stand_ins
stand_in_statements() {
  local i role plain needed
  stand_ins=()
  ((${#created_roles[@]})) || return 0
  sql_list "${created_roles[@]}"
  needed=$(run_psql -c "SELECT string_agg(i::text, ' ') FROM unnest($sql_list) WITH ORDINALITY AS t(role, i)
    WHERE EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = to_regrole(role))") ||
    fail swap 'the roles of the new databases cannot be listed' "look at the server's log, then run it again"
  for i in "${!created_roles[@]}"; do
    role=${created_roles[i]}
    if [[ " $needed " != *" $((i + 1)) "* ]]; then
      printf 'DROP ROLE %s;\n' "$role"
      continue
    fi
    plain=$role
    if [[ $plain == \"* ]]; then
      plain=${plain:1:-1}
      plain=${plain//\"\"/\"}
    fi
    dated_name "$plain" _restored_
    identifier "$dated"
    stand_ins+=("$identifier")
    printf 'ALTER ROLE %s RENAME TO %s;\n' "$role" "$identifier"
  done
}

# ---- the end -----------------------------------------------------------------------------------------------------

tell_what_is_fresh() { # SECONDS
  local target role list='' drop=''
  for target in "${targets[@]}"; do
    identifier "$target"
    list+="${list:+, }$identifier"
    drop+=" DROP DATABASE $identifier;"
  done
  for role in "${stand_ins[@]}"; do drop+=" DROP ROLE $role;"; done
  log finished "restored $list from $chosen in $1 s, beside the live ones, which were not touched; when nobody needs it any more:$drop"
}
