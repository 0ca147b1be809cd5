//! Completion scripts. The contexts after `--context` are those of the kubeconfig and the config when they are completed.

use clap_complete::Shell;

use super::help::grammar;

/// Completes a context, or as the rest of the script does. Bash ends a word at a colon, which the contexts of EKS have,
/// so the line is looked at, and only what follows the last colon is replaced.
const BASH: &str = r#"_pilothouse_or_context() {
    local line="${COMP_LINE:0:COMP_POINT}" name typed
    if [[ ! "${line}" =~ [[:space:]]--context[[:space:]=][^[:space:]]*$ ]]; then
        _pilothouse "$@"
        return
    fi
    typed="${line##*[[:space:]=]}"
    COMPREPLY=()
    while IFS= read -r name; do
        if [[ "${name}" == "${typed}"* ]]; then
            COMPREPLY+=("${name#"${typed%"${typed##*:}"}"}")
        fi
    done < <(command pilothouse config contexts 2> /dev/null)
}

"#;

const ZSH: &str = r#"_pilothouse_contexts() {
    local -a names
    names=(${(f)"$(command pilothouse config contexts 2> /dev/null)"})
    compadd -a names
}

"#;

const FISH: &str = r#" -f -a "(command pilothouse config contexts 2> /dev/null)""#;

/// Returns the completion script for a shell.
pub fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "pilothouse", &mut script);
    with_contexts(shell, &String::from_utf8_lossy(&script))
}

/// Lets a script complete contexts, in the shells that can ask a program.
fn with_contexts(shell: Shell, script: &str) -> String {
    let mut out = String::with_capacity(script.len() + script.len() / 8);
    for line in script.lines() {
        match shell {
            Shell::Bash if line == "_pilothouse() {" => out.push_str(&format!("{BASH}{line}")),
            Shell::Bash => {
                out.push_str(
                    &line.replace("complete -F _pilothouse ", "complete -F _pilothouse_or_context "),
                );
            }
            Shell::Zsh if line == "_pilothouse() {" => out.push_str(&format!("{ZSH}{line}")),
            Shell::Zsh if line.contains("--context=[") => {
                out.push_str(&line.replace(":NAME:_default'", ":NAME:_pilothouse_contexts'"));
            }
            Shell::Fish if line.contains(" -l context ") && line.ends_with(" -r") => {
                out.push_str(line);
                out.push_str(FISH);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_completed_wherever_the_option_is() {
        for (shell, option, call) in [
            (Shell::Zsh, "--context=[", ":_pilothouse_contexts'"),
            (Shell::Fish, " -l context ", "config contexts"),
        ] {
            let script = script(shell);
            let count = |text: &str| script.matches(text).count();
            assert!(count(option) > 10, "{shell}: the option is global");
            assert_eq!(count(call), count(option), "{shell}");
        }
        assert_eq!(script(Shell::Zsh).matches("_pilothouse_contexts() {").count(), 1);
        // what bash does is tried in tests/it
        assert_eq!(script(Shell::Bash).matches("complete -F _pilothouse ").count(), 0);
        assert!(!script(Shell::PowerShell).contains("_pilothouse_contexts"));
    }
}
