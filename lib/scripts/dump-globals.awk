# The roles of a dump in a form that a live server can take; loaded after dump-lexer.awk. Prints statements that can all
# run in one transaction (so nothing about CREATE TABLESPACE, which cannot; the restore wants tablespaces to exist).
#
#   -v existing=FILE       the roles that the server has, one per line (escaped: \t \n \\)
#   -v part=new            roles that the server lacks, with all that the dump says of them, passwords too, and every
#                          membership that one of them takes part in
#   -v part=stand-in       roles that the server lacks: their names alone, nobody can log in
#   -v created=FILE        the names of the roles that part=new or stand-in creates, one per line (escaped: \t \n \\)
#   -v needed=FILE         of the roles that the server lacks only these are made (escaped); without it all of them
#   -v part=needed         nothing but FILE, longer by the groups of the roles in it that the server lacks, whose rights they
#                          need: but never by a superuser
#   -v part=existing       for the roles that it has: attributes, settings, comments, memberships, but never the password
#                          nor its expiry (that would lock applications out); also rights on tablespaces and parameters
#   -v bootstrap=NAME      the server's first superuser: its attributes stay as they are
#   -v current=NAME        the role that runs the restore: the same
#   -v server_major=18     -v dumped_by_major=15

BEGIN {
  while ((getline entry < existing) > 0) exists[unescaped(entry)] = 1
  close(existing)
  while (needed != "" && (getline entry < needed) > 0) wanted[unescaped(entry)] = 1
  if (needed != "") close(needed)
}

function on_comment(text) {}
function on_meta(text) {}
function on_piece(text, ends) {}
function on_copy() { while ((getline) > 0) if (/^\\\.$/) return }

function on_statement(text,    name, is_new) {
  if (!is_global(text) || text ~ /^DROP / || text ~ /^CREATE TABLESPACE /) return
  if (part == "stand-in") { stand_in(text); return }
  if (text ~ /^GRANT / && text !~ /^GRANT [A-Z, ]+ ON /) { membership(text); return }
  if (text !~ /^(CREATE|ALTER) ROLE / && text !~ /^COMMENT ON ROLE / && text !~ /^SECURITY LABEL FOR .* ON ROLE /) {
    if (part == "existing") print text
    return
  }
  name = subject(text)
  is_new = !(name in exists)
  # A dump made after a restore that died: its mark would make the next restore drop the role.
  if (text ~ /^ALTER ROLE / && substr(text, identifier_end) ~ /^ SET "?cdk8s_postgres\.restoring"? /) return
  if (text ~ /^ALTER ROLE / && substr(text, identifier_end, 6) == " WITH ") {
    if (text ~ / SUPERUSER /) superuser[name] = 1
    if (!is_new) {
      if (name == bootstrap || name == current) return
      text = without_password(text)
    }
  } else if (text ~ /^CREATE ROLE / && !is_new) {
    return
  }
  if (part == "needed" || is_new != (part == "new") || (is_new && needed != "" && !(name in wanted))) return
  print text
  # Not to be read off the result: a comment on a role can spell CREATE ROLE in a line of its own.
  if (created != "" && text ~ /^CREATE ROLE /) print field(identifier(text, 13)) > created
}

function stand_in(text,    role) {
  if (text !~ /^CREATE ROLE /) return
  role = identifier(text, 13)
  if (unquoted(role) in exists || (needed != "" && !(unquoted(role) in wanted))) return
  print "CREATE ROLE " role " NOLOGIN;"
  if (created != "") print field(role) > created
}

# the role that a statement is about
function subject(text) {
  if (text ~ /^COMMENT ON ROLE /) return unquoted(identifier(text, 17))
  if (text !~ /^SECURITY LABEL /) return unquoted(identifier(text, text ~ /^CREATE / ? 13 : 12))
  identifier(text, 20)
  return unquoted(identifier(text, identifier_end + 9))
}

# ALTER ROLE x WITH … PASSWORD '…' VALID UNTIL '…';
function without_password(text,    head, rest) {
  head = substr(text, 1, identifier_end - 1)
  rest = substr(text, identifier_end)
  sub(/ PASSWORD '([^']|'')*'/, "", rest)
  sub(/ VALID UNTIL '([^']|'')*'/, "", rest)
  return head rest
}

# GRANT group TO member [WITH …] [GRANTED BY grantor];
function membership(text,    group, member, grantor, rest, at, is_new) {
  group = unquoted(identifier(text, 7))
  member = unquoted(identifier(text, identifier_end + 4))
  if (part == "needed") {
    groups[member] = groups[member] field(group) "\n"
    return
  }
  is_new = !(group in exists) || !(member in exists)
  if (is_new != (part == "new") || !will_exist(group) || !will_exist(member)) return
  rest = substr(text, identifier_end)
  if (match(rest, / GRANTED BY /)) {
    at = identifier_end + RSTART - 1
    grantor = unquoted(identifier(text, at + 12))
    # Since 16 a grantor must hold the role himself or be the first superuser; before, any superuser left his name there.
    if (!will_exist(grantor) || (server_major >= 16 && dumped_by_major < 16) || (grantor in superuser && grantor != bootstrap))
      text = substr(text, 1, at - 1) ";"
  }
  print text
}

function will_exist(name) { return name in exists || needed == "" || name in wanted }

# part=needed: groups of groups, too
function add_groups(member,    list, count, i, group) {
  count = split(groups[member], list, "\n")
  for (i = 1; i < count; i++) {
    group = unescaped(list[i])
    if (group in exists || group in wanted || group in superuser) continue
    wanted[group] = 1
    more = 1
  }
}

END {
  if (part == "needed") {
    do {
      more = 0
      for (name in wanted) if (!(name in exists)) add_groups(name)
    } while (more)
    for (name in wanted) print field(name)
  }
}
