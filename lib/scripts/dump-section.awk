# Cuts databases out of a dump and sends each to another database; loaded after dump-lexer.awk. Prints a psql script.
#
#   -v map=FILE          lines of two tab-separated fields (escaped: \t \n \\): name in the dump, name of the new database.
#                        An empty first field is the database of a pg_dump file, which does not say which one it is.
#   -v server_major=17   the server that the script is for
#   -v mark=TEXT         marks each new database right behind its CREATE DATABASE, so that a run that dies can be told
#   -v beside=1          the live databases go on: no subscriptions, which would share their slot on the publisher with them
#   -v stay=1            psql is connected to the one database that is wanted: no \connect, no CREATE DATABASE
#
# A statement belongs to the database that it names (CREATE DATABASE, ALTER DATABASE, GRANT … ON DATABASE, …), any other to
# the database that psql would be connected to. What belongs to none (roles, tablespaces) is left to dump-globals.awk.

BEGIN {
  while ((getline entry < map) > 0) {
    split(entry, fields, "\t")
    wanted[unescaped(fields[1])] = unescaped(fields[2])
  }
  close(map)
  active = 0            # psql is connected to a new database
  current = ""
  # A pg_dump file without --create never says \connect.
  if ("" in wanted) enter("")
}

function enter(name) {
  current = name
  settings = ""
  active = name in wanted
  creating = 0
  if (active && !stay) print "\\encoding SQL_ASCII\n\\connect " connection(wanted[name])
}

# In psql's words: the name as a conninfo value, and that as one quoted argument.
function connection(name) {
  name = replaced(replaced(name, "\\", "\\\\"), "'", "\\'")
  return "-reuse-previous=on \"dbname='" replaced(name, "\"", "\"\"") "'\""
}

function on_comment(text) {
  # The session that psql has at the beginning of a section, before its \connect.
  if (text == "-- PostgreSQL database dump") settings = ""
}

function on_meta(text) {
  if (text ~ /^\\c(onnect)? /) enter(connected(text))
  # Only these two pass. Nothing in a dump that psql could take for a command does.
  else if (active && text ~ /^\\(un)?restrict [A-Za-z0-9]+$/) print text
}

# Statements that may have to be changed or dropped are held until they are complete; the others pass line by line.
function on_piece(text, ends) {
  if (!held && !passing && !skipping) {
    held = text ~ /^(SET|RESET|SELECT pg_catalog\.set_config|GRANT|REVOKE|UPDATE pg_catalog\.pg_database) ?/ || \
      text ~ /^(CREATE|ALTER|DROP) (DATABASE|ROLE|TABLESPACE) / || text ~ /^COMMENT ON (DATABASE|ROLE|TABLESPACE) / || \
      text ~ /^SECURITY LABEL /
    if (text ~ /^CREATE /) creating = 1
    # What --clean puts first would fail: the new database is empty.
    skipping = !held && !creating && text ~ /^(DROP |ALTER .* DROP [A-Z]|SELECT pg_catalog\.lo_unlink)/
    if (beside && text ~ /^(CREATE|ALTER|COMMENT ON) SUBSCRIPTION /) skipping = 1
    # Large objects come in a transaction of their own, which would end the one that psql is in.
    if (stay && text ~ /^(BEGIN|COMMIT);$/) skipping = 1
    passing = !held && !skipping
    whole = ""
  }
  if (held) whole = whole text (ends ? "" : "\n")
  else if (active && passing) print text
  if (ends) passing = skipping = 0
}

function on_statement(text,    at, name) {
  if (!held) return
  held = 0
  if (is_setting(text)) {
    if (text ~ /^SET transaction_timeout / && server_major < 17) return
    if (active) print whole
    else settings = settings whole "\n"
  } else if ((at = database_at(text)) > 0) {
    name = identifier(text, at)
    if (!(unquoted(name) in wanted) || text ~ /^DROP / || (stay && text ~ /^CREATE /)) return
    # Before the first \connect: encoding and kind of strings are those that the dump has set.
    if (!active) printf "%s", settings
    settings = ""
    print substr(whole, 1, at - 1) quoted(wanted[unquoted(name)]) substr(whole, at + length(name))
    if (mark != "" && text ~ /^CREATE /)
      print "ALTER DATABASE " quoted(wanted[unquoted(name)]) " SET cdk8s_postgres.restoring = '" mark "';"
  } else if (active && !is_global(text) && text !~ /^UPDATE pg_catalog\.pg_database /) {
    print whole
  }
}

function on_copy() {
  if (active) {
    while ((getline) > 0) {
      print
      if (/^\\\.$/) return
    }
  } else {
    while ((getline) > 0) if (/^\\\.$/) return
  }
}
