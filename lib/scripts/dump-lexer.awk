# Reads what pg_dump and pg_dumpall write as plain SQL, and tells the file that is loaded after it what it sees:
#
#   awk -f dump-lexer.awk -f dump-….awk          (LC_ALL=C; mawk, gawk or busybox awk)
#
#   on_comment(line)      a -- comment outside a statement
#   on_meta(line)         a psql command: \connect, \restrict, …
#   on_piece(text, ends)  the next stretch of a statement, without its newline; ends: the statement's last
#   on_statement(text)    after the last piece: the statement (of what is no role, database or the like the first 64 kB,
#                         which is enough to know what it is)
#   on_copy()             the statement was COPY … FROM stdin: read its rows up to \. with `getline` (this is where nearly
#                         all of a dump's bytes are, so whoever reads them does so in the shortest loop it can have)
#
# Data, function bodies, comments and names can spell anything that looks like a command or an end marker. So each line is
# read in the state that the lines before it have left: the rules are those of psql's own scanner.
#
# No interval expressions and no sprintf on long text: mawk 1.3.4-20200120 (Debian 12) has neither.

BEGIN {
  state = ""            # "" SQL, ' string, e string with backslash escapes, " identifier, $ dollar quote, * comment
  open = 0              # inside a statement
  standard_strings = 1  # \ is an ordinary character in '…'
  bytes = 0
}

{
  bytes += length($0) + 1
  lex_line($0)
  if (copy_follows) {
    copy_follows = 0
    on_copy()
  }
}

function lex_line(text,    count, i) {
  if (state == "") {
    if (substr(text, 1, 1) == "\\") { on_meta(text); return }
    if (!open) {
      if (text == "") return
      if (substr(text, 1, 2) == "--") { on_comment(text); return }
    }
  }
  line = text
  if (!open) routine = is_routine(text)
  from = 1              # where the statement's text begins in this line
  position = 1          # where the part being scanned begins
  rest_is_comment = 0
  # Splitting at the quotes costs the same for every length of line; cutting them off one by one would not.
  count = split(line, pieces, "'")
  for (i = 1; i <= count && !rest_is_comment; i++) {
    if (state != "'" && state != "e") scan(pieces[i])
    position += length(pieces[i]) + 1
    if (i == count || rest_is_comment) break
    if (state == "") {
      opens_string(pieces[i])
    } else if (state == "'") {
      state = ""        # of '' the second one opens the string again
    } else if (state == "e" && !ends_in_backslash(pieces[i])) {
      if (pieces[i + 1] == "" && i + 1 < count) { i++; position++ } else state = ""
    }
  }
  if (copy_follows) return
  if (!open && state == "" && substr(line, from) ~ /^[ \t\r]*(--.*)?$/) return
  if (!lead_comment) extend(substr(line, from), 0)
}

# The quote after `before` opens a string: with backslash escapes if an E stands right before it.
function opens_string(before,    size) {
  open = 1
  size = length(before)
  state = "'"
  if (!standard_strings) state = "e"
  else if (substr(before, size) ~ /^[eE]$/ && !is_word(substr(before, size - 1, size > 1))) state = "e"
}

function ends_in_backslash(text) {
  return match(text, /\\+$/) && RLENGTH % 2
}

function is_word(character) {
  return character ~ /^[A-Za-z0-9_$]$/ || character > "~"
}

# Everything but strings: goes through a part of the line that holds no single quote.
function scan(text,    at, token, before) {
  moved = 0            # how much of the part is behind us
  while (text != "") {
    if (state == "\"") {
      at = index(text, "\"")  # of "" the second one opens the identifier again
      if (!at) return
      state = ""
      text = step(text, at)
    } else if (state == "$") {
      at = index(text, tag)
      if (!at) return
      state = ""
      text = step(text, at + length(tag) - 1)
    } else if (state == "*") {
      if (!match(text, /\/\*|\*\//)) return
      token = substr(text, RSTART, 2)
      text = step(text, RSTART + 1)
      nesting += token == "/*" ? 1 : -1
      if (!nesting) {
        state = ""
        if (lead_comment) { lead_comment = 0; from = position + moved }
      }
    } else {
      if (!match(text, /["$;()]|--|\/\*/)) { words(text); break }
      at = RSTART
      token = substr(text, at, 1)
      before = substr(text, 1, at - 1)
      if (!open && before ~ /[^ \t\r]/) open = 1
      if (routine) words(token == "$" ? without_last_word(before) : before)
      if (token == "\"") {
        state = "\""
        open = 1
        text = step(text, at)
      } else if (token == "(") {
        parentheses++
        text = step(text, at)
      } else if (token == ")") {
        if (parentheses) parentheses--
        text = step(text, at)
      } else if (token == ";") {
        text = step(text, at)
        if (!parentheses && !begins) end_statement()
        if (copy_follows) { rest_is_comment = 1; break }
      } else if (token == "$") {
        text = dollar(text, at)
      } else if (token == "-") {
        rest_is_comment = 1
        break
      } else {
        state = "*"
        nesting = 1
        lead_comment = !open
        text = step(text, at + 1)
      }
    }
  }
}

# Drops the first `count` characters and remembers how many are gone.
function step(text, count) {
  moved += count
  return substr(text, count + 1)
}

# $tag$ opens a quote, unless the $ belongs to an identifier (a$b$c) or to a parameter ($1).
function dollar(text, at,    rest, close_at) {
  open = 1
  if (at > 1 && is_word(substr(text, at - 1, 1))) return step(text, at)
  rest = substr(text, at + 1)
  close_at = index(rest, "$")
  tag = substr(rest, 1, close_at - 1)
  if (!close_at || tag ~ /^[0-9]/ || tag ~ /[][ \t\r!"#%&'()*+,.\/:;<=>?@\\^`{|}~-]/) return step(text, at)
  tag = "$" tag "$"
  state = "$"
  return step(text, at + length(tag) - 1)
}

function is_routine(text) {
  return text ~ /^[ \t\r]*CREATE (OR REPLACE )?(FUNCTION|PROCEDURE) /
}

# CREATE FUNCTION … BEGIN ATOMIC …; …; END: its semicolons do not end it. Counted as psql does.
function words(text,    count, i, word) {
  if (!open && text ~ /[^ \t\r]/) open = 1
  if (!routine || parentheses) return
  count = split(text, word, /[][ \t\r!"#%&()*+,.\/:;<=>?@\\^`{|}~-]+/)
  for (i = 1; i <= count; i++) {
    word[i] = tolower(word[i])
    if (word[i] == "begin") begins++
    else if (begins && word[i] == "case") begins++
    else if (begins && word[i] == "end") begins--
  }
}

function without_last_word(text) {
  sub(/[A-Za-z0-9_]+$/, "", text)
  return text
}

function end_statement(    end) {
  end = position + moved
  extend(substr(line, from, end - from), 1)
  from = end
  copy_follows = statement ~ /^COPY / && statement ~ / FROM stdin;$/
  if (statement ~ /^SET standard_conforming_strings/) standard_strings = statement !~ /off/
  open = begins = parentheses = 0
  routine = is_routine(substr(line, from))
  on_statement(statement)
}

function extend(text, ends) {
  if (!started) {
    sub(/^[ \t\r]+/, "", text)
    statement = ""
    started = 1
    limit = text ~ /^COPY / ? 1048576 : 65536
    # These are printed as they were kept here: cut off inside a string, the rest of one would swallow the next.
    if (text ~ /^(CREATE|ALTER|COMMENT ON) (ROLE|DATABASE|TABLESPACE) /) limit = 1073741824
    if (text ~ /^(GRANT|REVOKE|SECURITY LABEL) /) limit = 1073741824
  }
  if (length(statement) < limit) statement = statement text (ends ? "" : "\n")
  open = !ends
  if (ends) started = 0
  on_piece(text, ends)
}

# ---- names -------------------------------------------------------------------------------------------------------

# identifier(text, at): the identifier that begins there, as it is written; identifier_end is where the text goes on
function identifier(text, at,    rest, size, next_quote) {
  rest = substr(text, at)
  if (substr(rest, 1, 1) != "\"") {
    size = match(rest, /[][ \t\r\n!"#%&'()*+,.\/:;<=>?@\\^`{|}~-]/) ? RSTART - 1 : length(rest)
  } else {
    size = 1
    while ((next_quote = index(substr(rest, size + 1), "\"")) > 0) {
      size += next_quote
      if (substr(rest, size + 1, 1) != "\"") break
      size++
    }
  }
  identifier_end = at + size
  return substr(rest, 1, size)
}

# schema.table, both as they are written
function qualified(text, at,    name) {
  name = identifier(text, at)
  while (substr(text, identifier_end, 1) == ".") name = name "." identifier(text, identifier_end + 1)
  return name
}

# the name itself
function unquoted(name) {
  if (substr(name, 1, 1) != "\"") return name
  name = substr(name, 2, length(name) - 2)
  gsub(/""/, "\"", name)
  return name
}

function quoted(name) {
  return "\"" replaced(name, "\"", "\"\"") "\""
}

# the database that \connect names: \connect x, \connect "X y", \connect -reuse-previous=on "dbname='x y'";
# connected_as is its identifier
function connected(command,    name) {
  name = command
  sub(/^\\c(onnect)?[ \t]+/, "", name)
  if (name !~ /^-reuse-previous=on[ \t]+"dbname='/) return unquoted(connected_as = identifier(name, 1))
  sub(/^-reuse-previous=on[ \t]+/, "", name)
  name = unquoted(identifier(name, 1))
  sub(/^dbname='/, "", name)
  sub(/'$/, "", name)
  name = without_escapes(name)
  connected_as = quoted(name)
  return name
}

function without_escapes(text,    result, at) {
  result = ""
  while ((at = index(text, "\\")) > 0) {
    result = result substr(text, 1, at - 1) substr(text, at + 1, 1)
    text = substr(text, at + 2)
  }
  return result text
}

# ---- kinds of statements -----------------------------------------------------------------------------------------

# database_at(statement): where the name stands in a statement about a database as a whole, 0 in any other
function database_at(text) {
  if (match(text, /^(CREATE|ALTER) DATABASE /)) return RLENGTH + 1
  if (match(text, /^DROP DATABASE (IF EXISTS )?/)) return RLENGTH + 1
  if (match(text, /^COMMENT ON DATABASE /)) return RLENGTH + 1
  if (match(text, /^(GRANT|REVOKE) [A-Z, ]+ ON DATABASE /)) return RLENGTH + 1
  if (text ~ /^ALTER ROLE /) {
    identifier(text, 12)
    if (substr(text, identifier_end, 13) == " IN DATABASE ") return identifier_end + 13
  }
  if (text ~ /^SECURITY LABEL FOR /) {
    identifier(text, 20)
    if (substr(text, identifier_end, 13) == " ON DATABASE ") return identifier_end + 13
  }
  return 0
}

# roles, memberships, tablespaces, rights on parameters: what belongs to no database
function is_global(text) {
  if (text ~ /^(CREATE|DROP) (ROLE|TABLESPACE) / || text ~ /^ALTER TABLESPACE / || text ~ /^COMMENT ON (ROLE|TABLESPACE) /) return 1
  if (text ~ /^ALTER ROLE /) return !database_at(text)
  if (text ~ /^(GRANT|REVOKE) [A-Z, ]+ ON (TABLESPACE|PARAMETER) /) return 1
  if (text ~ /^GRANT /) {
    identifier(text, 7)
    return substr(text, identifier_end, 4) == " TO "
  }
  if (text ~ /^SECURITY LABEL FOR /) {
    identifier(text, 20)
    return substr(text, identifier_end) ~ /^ ON (ROLE|TABLESPACE) /
  }
  return 0
}

# settings of the session that loads the dump: they make nothing
function is_setting(text) {
  return text ~ /^(SET|RESET) / || text ~ /^SELECT pg_catalog\.set_config\(/
}

# Lines of a result: tab, newline and backslash are escaped.
function field(text) {
  if (text !~ /[\\\t\n]/) return text
  return replaced(replaced(replaced(text, "\\", "\\\\"), "\t", "\\t"), "\n", "\\n")
}

# Every `old` becomes `new`: what gsub does to backslashes differs between mawk, gawk and busybox.
function replaced(text, old, new,    result, at) {
  result = ""
  while ((at = index(text, old)) > 0) {
    result = result substr(text, 1, at - 1) new
    text = substr(text, at + length(old))
  }
  return result text
}

# The other way round; also what COPY escapes besides.
function unescaped(text,    result, at, escape) {
  result = ""
  while ((at = index(text, "\\")) > 0) {
    escape = substr(text, at + 1, 1)
    if (escape ~ /[tnrbfv]/) escape = substr("\t\n\r\b\f\v", index("tnrbfv", escape), 1)
    result = result substr(text, 1, at - 1) escape
    text = substr(text, at + 2)
  }
  return result text
}
