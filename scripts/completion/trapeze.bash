# bash completion for trapeze. The options come from the program's own help, so that they are always those it has.

_trapeze() {
    local current=$2 previous=$3 command=
    COMPREPLY=()
    [ "$COMP_CWORD" -gt 1 ] && command=${COMP_WORDS[1]}

    case $previous in
    --kernel | --initrd | --flat | --dump-state)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --engine | -e)
        mapfile -t COMPREPLY < <(compgen -W 'auto kvm vtx soft' -- "$current")
        return
        ;;
    --cpu)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W 'host max x86-64-v2 x86-64-v3' -f -- "$current")
        return
        ;;
    --irqchip)
        mapfile -t COMPREPLY < <(compgen -W 'kernel split none' -- "$current")
        return
        ;;
    --trap)
        mapfile -t COMPREPLY < <(compgen -W 'shadow all' -- "$current")
        return
        ;;
    --mode)
        mapfile -t COMPREPLY < <(compgen -W 'real protected paged long' -- "$current")
        return
        ;;
    --console)
        mapfile -t COMPREPLY < <(compgen -W 'stdio none pty file:' -- "$current")
        return
        ;;
    --trace)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W 'code' -- "$current"; compgen -f -- "$current")
        return
        ;;
    --output | -o)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --append | --at | --memory | -m | --code-cache | --cpus | -c | --cpu-affinity | --timeout | -t | --debug-exit)
        return
        ;;
    esac

    case $command in
    '') mapfile -t COMPREPLY < <(compgen -W 'run probe report check-state --help --version' -- "$current") ;;
    run | probe | report | check-state)
        local options
        if [ "$command" = report ] && [[ $current != -* ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
        fi
        options=$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -o '^ .*--[a-z-]*' | grep -o -- '--[a-z-]*' | sort -u)
        mapfile -t COMPREPLY < <(compgen -W "$options --help" -- "$current")
        if [ "$command" = check-state ] && [[ $current != -* ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
        fi
        ;;
    esac
}

complete -F _trapeze trapeze
