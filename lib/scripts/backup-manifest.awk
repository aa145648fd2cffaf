# The "databases" part of a manifest: awk -f backup-manifest.awk SIZES INVENTORY
#   SIZES      lines of COPY … TO STDOUT: database, …, bytes (the last field)
#   INVENTORY  what dump-inventory.awk has written
# One table per line, so that sed can read what JSON tools are not there to read. LC_ALL=C; mawk, gawk or busybox awk.

BEGIN { FS = "\t" }

FNR == NR { size[plain($1)] = $NF; next }

$1 == "database" {
  name = plain($2)
  if (!(name in seen)) { seen[name] = 1; names[++count] = name }
}

$1 == "table" {
  name = plain($2)
  tables[name]++
  table[name, tables[name]] = "      {\"name\": " json(plain($3)) ", \"rows\": " $4 "}"
}

END {
  print "  \"databases\": ["
  for (i = 1; i <= count; i++) {
    name = names[i]
    printf "    {\"name\": %s, \"bytes\": %s, \"tables\": [", json(name), (name in size ? size[name] : "null")
    for (j = 1; j <= tables[name]; j++) printf "%s\n%s", (j > 1 ? "," : ""), table[name, j]
    if (tables[name]) printf "\n    "
    print "]}" (i < count ? "," : "")
  }
  print "  ]"
}

# Undoes the escapes of both inputs.
function plain(text,    result, at, next_one) {
  result = ""
  while ((at = index(text, "\\")) > 0) {
    next_one = substr(text, at + 1, 1)
    if (next_one == "t") next_one = "\t"
    else if (next_one == "n") next_one = "\n"
    else if (next_one == "r") next_one = "\r"
    else if (next_one == "b") next_one = "\b"
    else if (next_one == "f") next_one = "\f"
    else if (next_one == "v") next_one = "\v"
    result = result substr(text, 1, at - 1) next_one
    text = substr(text, at + 2)
  }
  return result text
}

function json(text,    result, i, char) {
  if (text !~ /["\\]/ && text !~ /[[:cntrl:]]/) return "\"" text "\""
  result = ""
  for (i = 1; i <= length(text); i++) {
    char = substr(text, i, 1)
    if (char == "\"" || char == "\\") char = "\\" char
    else if (char ~ /[[:cntrl:]]/) char = sprintf("\\u%04x", code(char))
    result = result char
  }
  return "\"" result "\""
}

function code(char,    i) {
  for (i = 1; i < 32; i++) if (sprintf("%c", i) == char) return i
  return 127
}
