# What a dump holds, as lines of tab-separated fields (escaped: \t \n \\); loaded after dump-lexer.awk:
#
#   format         pg_dumpall | pg_dump | unknown
#   dumped-from    server version            dumped-by     pg_dump version
#   restrict       1 if it has \restrict (then psql must be 15.14, 16.10, 17.6 or newer)
#   role           identifier                tablespace    identifier
#   database       name, identifier, created here (1 | 0), statements that make something, statements about
#                  the database as a whole (besides owner, comment and template), uncompressed bytes
#                  (a pg_dump file without --create does not say which database it is of: name and identifier are empty)
#   extension      database, name
#   table          database, qualified identifier, rows (null: not known, the rows are INSERT statements)
#   bytes          uncompressed size
#   complete       1 if the end marker is where only pg_dump can have written it, and nothing follows; else 0
#
# -v statements=FILE also writes the statements about roles, tablespaces and databases to FILE.
# -v users=FILE also writes the roles that each database of a pg_dumpall file names: database, role (once each).

BEGIN { format = "unknown"; marker = ""; complete = 0 }

function on_comment(text) {
  if (text == "--") return
  complete = text == marker
  if (complete) return
  if (format == "unknown") {
    if (text == "-- PostgreSQL database cluster dump") {
      format = "pg_dumpall"
      marker = "-- PostgreSQL database cluster dump complete"
    } else if (text == "-- PostgreSQL database dump") {
      format = "pg_dump"
      marker = "-- PostgreSQL database dump complete"
      database = add_database("", "")
    }
  } else if (dumped_from == "" && text ~ /^-- Dumped from database version /) {
    dumped_from = substr(text, 33)
  } else if (dumped_by == "" && text ~ /^-- Dumped by pg_dump version /) {
    dumped_by = substr(text, 30)
  }
}

function on_meta(text,    name) {
  if (text ~ /^\\unrestrict / && substr(text, 13) == restricted) { restricted = ""; return }
  complete = 0
  if (text ~ /^\\restrict /) {
    restricted = substr(text, 11)
    has_restrict = 1
  } else if (text ~ /^\\c(onnect)? /) {
    name = connected(text)
    count_bytes()
    database = add_database(name, connected_as)
  }
}

function on_piece(text, ends) { complete = 0 }

function on_statement(text,    at, name) {
  if (is_setting(text)) {
    if (text ~ /^SET SESSION AUTHORIZATION [^';]/) used_by(database, text, 27)
    return
  }
  if ((at = database_at(text)) > 0) {
    name = identifier(text, at)
    # --clean dumps drop a database under this name, nothing says yet that they hold it
    if (text !~ /^DROP /) {
      at = add_database(unquoted(name), name)
      if (text ~ /^CREATE /) created[at] = 1
      else if (text !~ /^COMMENT / && substr(text, identifier_end) !~ /^ (OWNER TO|IS_TEMPLATE) /) about[at]++
      if (users != "") find_users(at, text)
    }
    keep(text)
  } else if (format == "pg_dumpall" && is_global(text)) {
    if (text ~ /^CREATE ROLE /) roles[++role_count] = identifier(text, 13)
    else if (text ~ /^CREATE TABLESPACE /) tablespaces[++tablespace_count] = identifier(text, 19)
    keep(text)
  } else if (text !~ /^UPDATE pg_catalog\.pg_database /) {
    objects[database]++
    if (users != "") find_users(database, text)
    if (text ~ /^INSERT INTO /) add_table(qualified(text, 13), "null")
    else if (text ~ /^CREATE EXTENSION /) add_extension(text)
  }
}

# Where pg_dump writes the name of a role: owners, grantees, and whom settings, policies, mappings and default rights are for.
# The ends are looked at, because names and comments before them can spell anything.
function find_users(of, text,    rest) {
  if (text ~ /^(GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) /) {
    if (text ~ /^ALTER DEFAULT PRIVILEGES FOR ROLE /) used_by(of, text, 35)
    if (match(text, / (TO|FROM) ("([^"]|"")*"|[^" ;]+)( WITH GRANT OPTION)?;$/))
      used_by(of, text, RSTART + (substr(text, RSTART, 4) == " TO " ? 4 : 6))
  } else if (text ~ /^ALTER ROLE /) {
    used_by(of, text, 12)
  } else if (text ~ /^ALTER /) {
    if (match(text, / OWNER TO ("([^"]|"")*"|[^" ;]+);$/)) used_by(of, text, RSTART + 10)
  } else if (text ~ /^CREATE USER MAPPING FOR /) {
    used_by(of, text, 25)
  } else if (text ~ /^CREATE POLICY /) {
    identifier(text, 15)
    qualified(text, identifier_end + 4)
    rest = substr(text, identifier_end)
    if (!match(rest, /^( AS [A-Z]+)?( FOR [A-Z]+)? TO /)) return
    rest = substr(rest, RLENGTH + 1)
    do {
      used_by(of, rest, 1)
      rest = substr(rest, identifier_end)
    } while (sub(/^, /, "", rest))
  }
  rest = text
  while (match(rest, /'([^']|'')*'::(pg_catalog\.)?regrole/)) {
    add_user(of, unquoted(replaced(substr(rest, RSTART + 1, index(substr(rest, RSTART), "'::") - 2), "''", "'")))
    rest = substr(rest, RSTART + RLENGTH)
  }
}

function used_by(of, text, at) { add_user(of, unquoted(identifier(text, at))) }

function add_user(of, name) {
  if (users == "" || (of, name) in user_index) return
  user_index[of, name] = 1
  print field(database_name[of]) "\t" field(name) > users
}

function keep(text) {
  if (statements != "") print text > statements
}

# NR counts the rows by itself; the comparison is all that a row costs, besides its length.
function on_copy(    first, size) {
  first = NR
  size = 0
  while ((getline) > 0) {
    size += length($0) + 1
    if (/^\\\.$/) {
      bytes += size
      add_table(qualified(statement, 6), NR - first - 1)
      return
    }
  }
  bytes += size
}

function add_table(name, rows,    key) {
  key = database SUBSEP name
  if (!(key in table_index)) {
    table_index[key] = ++table_count
    table_name[table_count] = name
    table_database[table_count] = database
    table_rows[table_count] = rows
  } else if (rows != "null") {
    table_rows[table_index[key]] += rows
  }
}

function add_extension(text,    at) {
  at = 18
  if (substr(text, at, 14) == "IF NOT EXISTS ") at += 14
  extension_name[++extension_count] = unquoted(identifier(text, at))
  extension_database[extension_count] = database
}

# add_database(name, identifier): its number; a pg_dump file's only database is number 1, also before its name is known
function add_database(name, written) {
  if (name in database_index) return database_index[name]
  if (format == "pg_dump" && database_count == 1 && database_name[1] == "") {
    database_name[1] = name
    database_identifier[1] = written
    return database_index[name] = 1
  }
  database_index[name] = ++database_count
  database_name[database_count] = name
  database_identifier[database_count] = written
  return database_count
}

# What the file says before the next \connect is of the database before it.
function count_bytes() {
  if (database) database_bytes[database] += bytes - counted_bytes
  counted_bytes = bytes
}

# print writes big numbers as 1e+10
function decimal(number) {
  return sprintf("%.0f", number)
}

END {
  count_bytes()
  print "format\t" format
  if (dumped_from != "") print "dumped-from\t" field(dumped_from)
  if (dumped_by != "") print "dumped-by\t" field(dumped_by)
  if (has_restrict) print "restrict\t1"
  for (i = 1; i <= role_count; i++) print "role\t" field(roles[i])
  for (i = 1; i <= tablespace_count; i++) print "tablespace\t" field(tablespaces[i])
  for (i = 1; i <= database_count; i++)
    print "database\t" field(database_name[i]) "\t" field(database_identifier[i]) "\t" (created[i] + 0) "\t" (objects[i] + 0) "\t" (about[i] + 0) "\t" decimal(database_bytes[i])
  for (i = 1; i <= extension_count; i++)
    print "extension\t" field(database_name[extension_database[i]]) "\t" field(extension_name[i])
  for (i = 1; i <= table_count; i++)
    print "table\t" field(database_name[table_database[i]]) "\t" field(table_name[i]) "\t" table_rows[i]
  print "bytes\t" decimal(bytes)
  print "complete\t" (complete && !open && state == "" && restricted == "" ? 1 : 0)
}
