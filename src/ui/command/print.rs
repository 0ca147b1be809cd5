//! Prints the table of commands: `pilothouse keys` and the README's table of keys.

use super::{COMMANDS, Command, Context};

/// The titles of the contexts that a command works in.
pub fn places(command: &Command) -> String {
    command.contexts.iter().map(|c| c.title()).collect::<Vec<_>>().join(", ")
}

/// `pilothouse keys`: plain text, a section for each context.
pub fn keys_text() -> String {
    let mut out = String::new();
    for context in Context::ALL {
        let rows: Vec<_> = COMMANDS.iter().filter(|c| c.contexts.contains(&context)).collect();
        if rows.is_empty() {
            continue;
        }
        out += format!("{}\n", context.title()).as_str();
        for command in rows {
            out += format!("  {:<26} {:<18} {}\n", command.keys.join(" "), command.id, command.doc).as_str();
        }
    }
    out
}

/// The README's table: a row for each command, first the commands that change the cluster.
pub fn keys_table_markdown() -> String {
    let mut out = String::from("| key | where | command | what it does |\n|---|---|---|---|\n");
    for command in COMMANDS {
        let keys: Vec<String> = command.keys.iter().map(|k| format!("`{k}`")).collect();
        out += format!("| {} | {} | `{}` | {} |\n", keys.join(" "), places(command), command.id, command.doc)
            .as_str();
    }
    out
}
