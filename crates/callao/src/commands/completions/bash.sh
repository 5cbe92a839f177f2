# Completion of callao for bash 3.2 and later: source <(callao completions bash)

_callao() {
    local rest="${COMP_LINE:0:COMP_POINT}" words=() count=0 index piece
    # The words as they were typed: bash cuts at $COMP_WORDBREAKS, so that `template:NAME` and URLs come in pieces.
    for (( index = 0; index <= COMP_CWORD; index++ )); do
        if (( index == 0 )) || [[ "$rest" == [[:space:]]* ]]; then
            rest="${rest#"${rest%%[![:space:]]*}"}"
            words[count]=""
            count=$(( count + 1 ))
        fi
        piece="${COMP_WORDS[index]}"
        if (( index == COMP_CWORD )); then
            piece="$rest"
        fi
        words[count - 1]="${words[count - 1]}$piece"
        rest="${rest#"$piece"}"
    done
    COMPREPLY=()
    local current="${words[count - 1]}" breaks="${COMP_WORDBREAKS//[^:=]/}" prefix="" line
    case "$current" in
        # Quoted: what bash itself does with files is best.
        *[\"\'\\]*) return ;;
    esac
    # What stands before the last piece is not to be replaced.
    if [[ -n "$breaks" ]]; then
        prefix="${current%"${current##*[$breaks]}"}"
    fi
    while IFS= read -r line; do
        line="${line#"$prefix"}"
        case "$line" in
            "") ;;
            "~/"*) COMPREPLY+=("~/$(printf '%q' "${line:2}")") ;;
            *) COMPREPLY+=("$(printf '%q' "$line")") ;;
        esac
    done < <(CALLAO_COMPLETE=bash callao -- "${words[@]}" 2>/dev/null)
    if (( ${#COMPREPLY[@]} == 1 )) && [[ "${COMPREPLY[0]}" == *[/:=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

# Without an answer the names of files complete. The order is callao's where bash can leave it.
complete -o bashdefault -o default -o nosort -F _callao callao 2>/dev/null ||
    complete -o bashdefault -o default -F _callao callao
