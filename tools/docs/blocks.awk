# Makes one shell script of a document's shell blocks: awk -f blocks.awk -v name=README.md -v host=0 README.md
# In ```console blocks the lines behind a prompt are commands, the others answers. A block below a comment
# "not run: WHY" is named and left out; those below "on the host" are taken with -v host=1, and only those.
BEGIN { at_host = 0 }
function quoted(text) { gsub(/'/, "'\\''", text); return "'" text "'" }
/^<!-- not run: .* -->$/ { why = $0; sub(/^<!-- not run: /, "", why); sub(/ -->$/, "", why); next }
/^<!-- on the host -->$/ { at_host = 1; next }
/^```(sh|console)$/ && !inside {
    inside = 1
    kind = substr($0, 4)
    is_mine = at_host == host
    if (!is_mine) next
    if (why != "") print "skipped " quoted(name ":" NR) " " quoted(why)
    else print "block " quoted(name ":" NR)
    next
}
/^```/ && inside { inside = 0; at_host = 0; why = ""; next }
/^```/ { other = !other; next }
inside && is_mine && why == "" {
    if (kind == "sh") print
    else if ($0 ~ /^[#$] /) print substr($0, 3)
}
