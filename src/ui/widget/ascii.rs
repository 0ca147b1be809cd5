//! LANG=C and `--ascii`: everything that was drawn, in ASCII. One pass over the finished frame, so that no view has to
//! know.

use ratatui::buffer::Buffer;

fn plain(symbol: &str) -> &'static str {
    match symbol {
        "─" | "━" | "–" | "—" | "═" => "-",
        "│" | "┃" => "|",
        "✓" | "╭" | "╮" | "╰" | "╯" | "┌" | "┐" | "└" | "┘" | "├" | "┤" | "┬" | "┴" | "┼" => {
            "+"
        }
        "✖" => "X",
        "…" => "~",
        "·" | "•" => ".",
        "→" | "▶" | "›" | "≥" => ">",
        "←" | "‹" => "<",
        "↑" | "▲" => "^",
        "↓" | "▼" => "v",
        "▁" | "▂" => ".",
        "▃" | "▄" => ":",
        "▅" | "▆" => "=",
        "▇" | "█" | "■" => "#",
        "□" => "o",
        _ => "?",
    }
}

/// Replaces what is not ASCII.
pub fn flatten(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let plain = plain(cell.symbol());
            cell.set_symbol(plain);
        }
    }
}
